"""The last stage of a training: whiten the network's output, so that cards are not similar merely because they share a layout.

Over the known cards, the embedding varies between cards and between views of one card. Directions of large variance carry little
information: those that cards of a layout share, and those that light and corner errors change. Dividing by the square root of the summed
covariances (as in within-class covariance normalization and PCA whitening) does not affect identification and makes it easier to reject
unknown cards. The map is linear, so it is folded into the last layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, cast

import numpy as np
import torch
from numpy.typing import NDArray

from edge.recognition.embedding import EmbeddingMatrix
from edge.vision.frame import RgbImage
from tools.network.contract import EmbeddingNetwork
from tools.network.embed_images import embed_images
from tools.simulation.camera import degrade, training_view_settings
from tools.simulation.card_images import CardImages
from tools.training.checkpoint import TrainedNetwork

FLOOR: Final = 3.0
"""Added to the eigenvalues, whose mean is 1: directions that hardly vary must not be blown up into noise."""


def whitening(clean: EmbeddingMatrix, views: EmbeddingMatrix) -> NDArray[np.float64]:
    """Return the whitening matrix, symmetric (dim, dim), from embeddings of clean cards and of one degraded view of each, row by row."""
    within, between = views - clean, clean - clean.mean(axis=0)
    eigenvalues, axes = np.linalg.eigh((within.T @ within + between.T @ between).astype(np.float64))
    eigenvalues /= eigenvalues.mean()
    return np.asarray((axes / np.sqrt(eigenvalues + FLOOR)) @ axes.T, dtype=np.float64)


@torch.no_grad()
def apply_to_output(network: EmbeddingNetwork, matrix: NDArray[np.float64]) -> None:
    """Change ``network`` to return ``matrix @ output``, normalized, instead of its output."""
    layer = network.output_layer
    weight, bias = layer.weight, cast(torch.Tensor, layer.bias)
    factor = torch.from_numpy(matrix)
    weight.copy_((factor @ weight.double().flatten(1)).view_as(weight))
    bias.copy_(factor @ bias.double())


def whitened(trained: TrainedNetwork, cards: CardImages, backgrounds: Sequence[RgbImage]) -> TrainedNetwork:
    """Return ``trained`` with its output whitened over the known ``cards``; changes its network in place."""
    network = trained.network
    rng = np.random.default_rng(trained.seed)
    views = [
        degrade(card, training_view_settings(rng), rng, backgrounds[number % len(backgrounds)]) for number, card in enumerate(cards.pixels)
    ]
    clean = embed_images(network, list(cards.pixels), trained.side)
    apply_to_output(network, whitening(clean, embed_images(network, views, trained.side)))
    return replace(trained, whitened=True)
