"""The last step of training: whiten the network's output, so that cards of one layout are not similar merely because of their layout.

Over the known cards, the embedding varies between cards and between views of one card. Directions of large variance carry little
information: they separate groups of cards of one layout, or follow light and corner errors. Dividing by the square root of the summed
covariances (as in within-class covariance normalization and PCA whitening) does not change identification and makes unknown cards easier to
reject. The map is linear and is folded into the last layer.
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
"""Added to the eigenvalues, whose mean is 1, so that directions of small variance are not amplified into noise."""


def whitening(clean: EmbeddingMatrix, views: EmbeddingMatrix) -> NDArray[np.float64]:
    """Return the symmetric whitening matrix (dim, dim).

    ``clean`` and ``views`` (n, dim) are the embeddings of clean cards and of one degraded view of each, in the same order.
    """
    within, between = views - clean, clean - clean.mean(axis=0)
    eigenvalues, axes = np.linalg.eigh((within.T @ within + between.T @ between).astype(np.float64))
    eigenvalues /= eigenvalues.mean()
    return np.asarray((axes / np.sqrt(eigenvalues + FLOOR)) @ axes.T, dtype=np.float64)


@torch.no_grad()
def apply_to_output(network: EmbeddingNetwork, matrix: NDArray[np.float64]) -> None:
    """Multiply the output of ``network`` by ``matrix`` before it is normalized, by changing its last layer in place."""
    layer = network.output_layer
    weight, bias = layer.weight, cast(torch.Tensor, layer.bias)
    factor = torch.from_numpy(matrix)
    weight.copy_((factor @ weight.double().flatten(1)).view_as(weight))
    bias.copy_(factor @ bias.double())


def whitened(trained: TrainedNetwork, cards: CardImages, backgrounds: Sequence[RgbImage]) -> TrainedNetwork:
    """Return ``trained`` with its output whitened over ``cards``, those it was trained on; its network is changed in place."""
    network = trained.network
    rng = np.random.default_rng(trained.seed)
    views = [
        degrade(card, training_view_settings(rng), rng, backgrounds[number % len(backgrounds)]) for number, card in enumerate(cards.pixels)
    ]
    clean = embed_images(network, list(cards.pixels), trained.side)
    apply_to_output(network, whitening(clean, embed_images(network, views, trained.side)))
    return replace(trained, whitened=True)
