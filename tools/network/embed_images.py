"""Embed images of any size with a network in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import numpy as np
import torch

from edge.recognition.embedding import EmbeddingMatrix
from edge.vision.frame import RgbImage
from tools.network.contract import EmbeddingNetwork
from tools.simulation.camera import resize

BATCH: Final = 16


def embed_images(network: EmbeddingNetwork, images: Sequence[RgbImage], side: int) -> EmbeddingMatrix:
    """Return the embeddings (n, dim) of ``images``, resized to ``side``, on the network's device; leave the network in eval mode."""
    network.eval()
    device = network.mean.device
    rows = []
    with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16):
        for start in range(0, len(images), BATCH):
            batch = np.stack([resize(image, (side, side)) for image in images[start : start + BATCH]])
            pixels = torch.from_numpy(batch).to(device).permute(0, 3, 1, 2).float()
            rows.append(network(pixels).float().cpu().numpy())
    return cast(EmbeddingMatrix, np.concatenate(rows))
