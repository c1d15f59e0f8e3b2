"""The last step of a training: whiten the network's output, so that cards of one layout no longer look alike by their layout.

    python -m tools.whiten_head --checkpoint runs/first/last.pt --data DIR --out runs/first/final.pt

Over the known cards, the embedding varies between cards and between views of one card. Directions in which it varies much say little:
those in which all cards of a kind agree, and those which light and corner errors move. Dividing by the root of the summed covariances
(as in within-class covariance normalisation and PCA whitening) leaves naming as it was and makes refusing unknown cards easier. The
map is linear, so it disappears into the last convolution. ``tools/train.py`` does this at the end of a run.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray

from edge.embedding import EmbeddingMatrix
from edge.frame import RgbImage
from tools.checkpoint import load, network_of, save
from tools.network import EmbeddingNetwork
from tools.simulated_camera import degrade, resized, training_view_settings
from tools.training_data import CardPictures, read_backgrounds, read_cards

FLOOR: Final = 1.0
"""Added to the eigenvalues, whose mean is 1: directions that hardly vary must not be blown up into noise."""

BATCH: Final = 16


def embed_at(network: EmbeddingNetwork, pictures: Sequence[RgbImage], side: int) -> EmbeddingMatrix:
    """Return the embeddings of pictures of any size at the picture size of the training."""
    rows = []
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        for start in range(0, len(pictures), BATCH):
            batch = np.stack([resized(picture, (side, side)) for picture in pictures[start : start + BATCH]])
            rows.append(network(torch.from_numpy(batch).permute(0, 3, 1, 2).float()).float().numpy())
    return cast(EmbeddingMatrix, np.concatenate(rows))


def whitening(clean: EmbeddingMatrix, views: EmbeddingMatrix) -> NDArray[np.float64]:
    """Return the symmetric map (dim, dim) from embeddings of clean cards and of one degraded view of each, row by row."""
    within, between = views - clean, clean - clean.mean(axis=0)
    eigenvalues, axes = np.linalg.eigh((within.T @ within + between.T @ between).astype(np.float64))
    eigenvalues /= eigenvalues.mean()
    return np.asarray((axes / np.sqrt(eigenvalues + FLOOR)) @ axes.T, dtype=np.float64)


@torch.no_grad()
def apply_to_head(network: EmbeddingNetwork, matrix: NDArray[np.float64]) -> None:
    """Make ``network`` answer ``matrix @ output``, normalised, instead of its output."""
    weight, bias = network.head.weight, cast(torch.Tensor, network.head.bias)
    factor = torch.from_numpy(matrix)
    weight.copy_((factor @ weight.double().flatten(1)).view_as(weight))
    bias.copy_(factor @ bias.double())


def whiten_head(state: dict[str, Any], cards: CardPictures, backgrounds: Sequence[RgbImage]) -> dict[str, Any]:
    """Return the final checkpoint of ``state``: its averaged network, whitened over the known ``cards``, nothing to train on with."""
    network = network_of(state)
    side = int(state["settings"]["stages"][-1]["side"])
    rng = np.random.default_rng(state["settings"]["seed"])
    views = [
        degrade(card, training_view_settings(rng), rng, backgrounds[number % len(backgrounds)]) for number, card in enumerate(cards.pixels)
    ]
    apply_to_head(network, whitening(embed_at(network, list(cards.pixels), side), embed_at(network, views, side)))
    kept = {name: value for name, value in state.items() if name not in {"network", "optimizer"}}
    return {**kept, "average": network.state_dict(), "whitened": True}


def main() -> None:
    """Read a run's checkpoint and the cards it knew; write the final one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="last.pt of a run")
    parser.add_argument("--data", type=Path, required=True, help="the folder the run was trained on")
    parser.add_argument("--out", type=Path, required=True, help="where the final checkpoint goes")
    arguments = parser.parse_args()
    state = load(arguments.checkpoint)
    cards = read_cards(arguments.data)
    known = cards.chosen(~np.isin(cards.card_sets, state["settings"]["hold_out"]))
    save(arguments.out, whiten_head(state, known, read_backgrounds(arguments.data / "negatives", half=0)))
    print(f"{arguments.out}: whitened over {len(known.card_ids)} cards")


if __name__ == "__main__":
    main()
