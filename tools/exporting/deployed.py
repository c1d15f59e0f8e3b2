"""A trained network in the form in which it is deployed: folded, with 8-bit images as input."""

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
    """A folded copy of a trained network: RGB uint8 (n, side, side, 3) → unit vectors float32 (n, dim).

    ``side``, that of the deployed images, must be a multiple of the side in training (else ``ModelError``); the network averages them down.
    """

    def __init__(self, trained: TrainedNetwork, side: int) -> None:
        super().__init__()
        if side % trained.side:
            raise ModelError(f"the network was trained with side {trained.side}; {side} is not a multiple of it; choose another --side")
        self.side = side
        self.shrink = side // trained.side
        self.network: EmbeddingNetwork = copy.deepcopy(trained.network).eval()
        self.network.fold(self.shrink)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return unit vectors (n, dim) of images uint8 (n, side, side, 3)."""
        return self.network.embed(pixels.permute(0, 3, 1, 2).float())


def embed_as_trained(trained: TrainedNetwork, shrink: int, batch: InputBatch) -> EmbeddingMatrix:
    """Return the embeddings of the unfolded network in single precision, for images averaged down by ``shrink``."""
    vectors = []
    with torch.inference_mode():
        for start in range(0, len(batch), _ROWS_AT_ONCE):
            pixels = torch.from_numpy(batch[start : start + _ROWS_AT_ONCE]).permute(0, 3, 1, 2).float()
            vectors.append(trained.network(nn.functional.avg_pool2d(pixels, shrink)))
    return cast(EmbeddingMatrix, torch.cat(vectors).numpy())


def weights_id(network: EmbeddingNetwork) -> str:
    """Return the first 64 bits of the SHA-256 of all trained values in the order of their names, as hex digits."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
