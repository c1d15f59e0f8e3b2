"""A trained network as it is deployed: folded, with images in interleaved 8-bit RGB as input."""

from __future__ import annotations

import copy
import hashlib
from typing import cast

import torch
from torch import Tensor, nn

from edge.errors import ModelError
from edge.recognition.embedding import EmbeddingMatrix, InputBatch
from tools.network.contract import EmbeddingNetwork
from tools.training.checkpoint import TrainedNetwork

_ROWS_AT_ONCE = 8


class DeployedNetwork(nn.Module):
    """uint8 (n, side, side, 3) NHWC RGB → unit vectors float32 (n, dim), by a folded copy of a trained network.

    ``side`` is the size of the deployed images, an integer multiple of the size in training; they are downscaled by ``shrink``.
    """

    def __init__(self, trained: TrainedNetwork, side: int) -> None:
        super().__init__()
        if side % trained.side:
            raise ModelError(f"the training ended with side {trained.side}; the deployed {side} must be a whole multiple of it (--side)")
        self.side = side
        self.shrink = side // trained.side
        self.network: EmbeddingNetwork = copy.deepcopy(trained.network).eval()
        self.network.fold(self.shrink)

    def forward(self, pixels: Tensor) -> Tensor:
        """Embed images, uint8 NHWC."""
        return self.network.embed(pixels.permute(0, 3, 1, 2).float())


def embed_as_trained(trained: TrainedNetwork, shrink: int, batch: InputBatch) -> EmbeddingMatrix:
    """Return the embeddings of the trained network itself, unfolded and in single precision, of images downscaled by ``shrink``."""
    vectors = []
    with torch.inference_mode():
        for start in range(0, len(batch), _ROWS_AT_ONCE):
            pixels = torch.from_numpy(batch[start : start + _ROWS_AT_ONCE]).permute(0, 3, 1, 2).float()
            vectors.append(trained.network(nn.functional.avg_pool2d(pixels, shrink)))
    return cast(EmbeddingMatrix, torch.cat(vectors).numpy())


def weights_id(network: EmbeddingNetwork) -> str:
    """Return the first 64 bits of a SHA-256 over all trained values, in the order of their names."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
