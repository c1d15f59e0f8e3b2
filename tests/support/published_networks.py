"""timm for tests: skip without it, and tiny versions of its networks."""

import importlib

import pytest
import torch

from tools.network.settings import PublishedSettings

TINY_VIT = PublishedSettings(
    model="vit_small_patch16_224", side=64, patch=16, dim=32, hidden=32, dropout=0.1, options={"embed_dim": 32, "depth": 3, "num_heads": 2}
)


def import_timm():
    """Import timm or skip with the reason.

    Where torch has no CUDA, only torchvision's CUDA build may be at hand; its compiled operators do not load then. timm uses none of
    them, but torchvision names two of them when it is imported, so they are declared here.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", "(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor")
    except ImportError:
        pytest.skip("timm is not installed: .venv/bin/pip install -e '.[teacher]'")
    return pytest.importorskip("timm", reason="timm is not installed: .venv/bin/pip install -e '.[teacher]'")
