"""Export the network that looks closer into the model folder of the locator whose proposals it was trained on."""

from __future__ import annotations

import copy
import hashlib
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from edge.errors import DataError
from edge.recognition.model import read_model_json
from edge.system.files import replacement
from edge.vision.corner_crops import CROP_SIZE
from tools.exporting.locator import MAX_DIFFERENCE, write_manifest
from tools.exporting.onnx_format import OPSET
from tools.network.contract import parameter_count
from tools.network.corners import CornerNetwork, CornerOutput
from tools.training.checkpoint import load
from tools.training.corners import trained_corners

CORNERS_FILE: Final = "corners.onnx"


class _Deployed(nn.Module):
    """uint8 (n, 128, 96, 3) → the outputs of a folded network."""

    def __init__(self, network: CornerNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.network(pixels.permute(0, 3, 1, 2).float()))


def export_corners(checkpoint: Path, folder: Path, *, card: float) -> None:
    """Write the network of ``checkpoint`` into the locator's ``folder``, beside the network that proposes; ``card`` is its threshold.

    Raises ``DataError`` if the checkpoint cannot be read or the ONNX file does not agree with it, ``ModelError`` if the folder is none.
    """
    record: dict[str, Any] = read_model_json(folder)
    state = load(checkpoint)
    network = trained_corners(state)
    with replacement(folder / CORNERS_FILE, durable=False) as path:
        write_corners_onnx(network, path)
        require_corner_agreement(network, path)
        content = path.read_bytes()
    record["closer"] = {
        "network": asdict(network.settings),
        "parameters": parameter_count(network),
        "input": {"height": CROP_SIZE.height, "width": CROP_SIZE.width, "color_order": "RGB", "dtype": "uint8"},
        "outputs": list(CornerOutput._fields),
        "artifacts": {"onnx": {"file": CORNERS_FILE, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}},
        "card": card,
        "trained_on": {
            "held_out": list(state["held_out"]),
            "steps": int(state["step"]),
            "stages": [dict(stage) for stage in state["stages"]],
        },
    }
    write_manifest(folder, record)


def write_corners_onnx(network: CornerNetwork, path: Path) -> None:
    """Write the folded network as an ONNX file for any number of crops; ``network`` stays as it is."""
    folded = copy.deepcopy(network).eval()
    folded.fold()
    names = list(CornerOutput._fields)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the tracing exporter being deprecated; it keeps the names of the weights
        torch.onnx.export(
            _Deployed(folded),
            (torch.zeros(2, CROP_SIZE.height, CROP_SIZE.width, 3, dtype=torch.uint8),),
            str(path),
            opset_version=OPSET,
            input_names=["crops"],
            output_names=names,
            dynamic_axes={name: {0: "n"} for name in ("crops", *names)},
            dynamo=False,
        )
    onnx.checker.check_model(onnx.load(str(path)), full_check=True)


@torch.no_grad()
def require_corner_agreement(network: CornerNetwork, path: Path) -> None:
    """Raise ``DataError`` unless the ONNX file gives what the network gives, on noise of any contrast."""
    generator = np.random.default_rng(1)
    noise = generator.integers(0, 256, (4, CROP_SIZE.height, CROP_SIZE.width, 3)) * np.array([0.1, 0.4, 0.7, 1.0])[:, None, None, None]
    crops = noise.astype(np.uint8)
    expected = network.eval()(torch.from_numpy(crops).permute(0, 3, 1, 2).float())
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(list(CornerOutput._fields), {"crops": crops})
    for name, wanted, got in zip(CornerOutput._fields, expected, found, strict=True):
        difference = float((wanted - torch.from_numpy(got)).abs().max() / wanted.abs().max().clamp_min(1.0))
        if difference > MAX_DIFFERENCE:
            raise DataError(f"{path}: `{name}` differs by {difference:.1e} from the trained network (at most {MAX_DIFFERENCE:g})")
