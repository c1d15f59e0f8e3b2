"""Training of a text model against the frozen embeddings of a picture model.

The pictures' embeddings never change (locked-image tuning: Zhai et al., "LiT: Zero-Shot Transfer with Locked-image text Tuning", CVPR
2022); only the text network learns, by the symmetric contrastive loss of CLIP (Radford et al., "Learning Transferable Visual Models From
Natural Language Supervision", ICML 2021): in a batch each description must be nearer to its own picture than to the others, and the
reverse.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from edge.recognition.description import to_text_input
from edge.recognition.embedding import EmbeddingMatrix
from tools.drawing.wording import Attributes, random_description
from tools.network.text_onnx import Weights

_CHUNK: Final = 512


@dataclass(frozen=True, slots=True)
class TextSettings:
    """Sizes of the network and the course of training. ``descriptions`` are made of each card beforehand and drawn from at random."""

    buckets: int = 4096
    width: int = 256
    descriptions: int = 6
    steps: int = 160
    batch: int = 384
    learning_rate: float = 4e-3
    weight_decay: float = 1e-4
    dropout: float = 0.3
    first_scale: float = 14.0
    first_bias: float = 0.1
    seed: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class PictureSet:
    """The cards to learn from: a row of ``embeddings`` (n, dim), an artwork number and the attributes for each."""

    embeddings: EmbeddingMatrix
    artworks: NDArray[np.int64]
    cards: Sequence[Attributes]


class TextTower(nn.Module):
    """Counts of hashed words to an embedding: one hidden layer and a linear output of unit length."""

    def __init__(self, settings: TextSettings, dim: int) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(settings.buckets, settings.width, mode="sum")
        nn.init.zeros_(self.words.weight)  # a column that training never sees adds nothing
        self.bias = nn.Parameter(torch.rand(settings.width) * settings.first_bias)
        self.dropout = nn.Dropout(settings.dropout)
        self.output = nn.Linear(settings.width, dim)
        self.scale = nn.Parameter(torch.tensor(settings.first_scale).log())

    def forward(self, places: Tensor, offsets: Tensor, counts: Tensor) -> Tensor:
        """Return unit rows for a batch of sparse rows: ``places`` and ``counts`` of the nonzero columns, ``offsets`` of the rows."""
        hidden = functional.relu(self.words(places, offsets, per_sample_weights=counts) + self.bias)
        return functional.normalize(self.output(self.dropout(hidden)), dim=1)

    def weights(self) -> Weights:
        """Return the parameters of the deployed network."""
        named = {"words": self.words.weight, "bias": self.bias, "output": self.output.weight.T, "output_bias": self.output.bias}
        return {name: np.ascontiguousarray(value.detach().numpy(), dtype=np.float32) for name, value in named.items()}


class SparseTexts:
    """Prepared descriptions, as the nonzero columns of ``to_text_input``."""

    def __init__(self, texts: Sequence[str], buckets: int) -> None:
        self._rows: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
        for start in range(0, len(texts), _CHUNK):
            for row in to_text_input(texts[start : start + _CHUNK], buckets):
                places = np.flatnonzero(row)
                self._rows.append((places, row[places]))

    def batch(self, rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return places, offsets and counts of some rows."""
        places = [self._rows[row][0] for row in rows]
        offsets = np.cumsum([0, *(len(part) for part in places[:-1])])
        counts = np.concatenate([self._rows[row][1] for row in rows])
        return torch.from_numpy(np.concatenate(places)), torch.from_numpy(offsets), torch.from_numpy(counts)


def train_text_tower(pictures: PictureSet, settings: TextSettings) -> TextTower:
    """Return the trained network; equal arguments give equal weights on one kind of machine. Shows progress on standard error."""
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    tower = TextTower(settings, pictures.embeddings.shape[1])
    texts = SparseTexts(descriptions(pictures.cards, settings, rng), settings.buckets)
    targets, artworks = torch.from_numpy(pictures.embeddings), torch.from_numpy(pictures.artworks)
    optimizer = torch.optim.AdamW(tower.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=settings.steps)
    batch = min(settings.batch, len(pictures.cards))
    tower.train()
    for _ in tqdm(range(settings.steps), desc="text model", unit="step", file=sys.stderr, disable=None):
        chosen = rng.permutation(len(pictures.cards))[:batch]
        rows = chosen * settings.descriptions + rng.integers(settings.descriptions, size=batch)
        loss = contrastive_loss(tower(*texts.batch(rows.tolist())), targets[chosen], artworks[chosen], tower.scale.exp())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    return tower.eval()


def descriptions(cards: Sequence[Attributes], settings: TextSettings, rng: np.random.Generator) -> list[str]:
    """Return ``settings.descriptions`` random descriptions of each card, card by card."""
    return [random_description(card, rng) for card in cards for _ in range(settings.descriptions)]


def contrastive_loss(texts: Tensor, pictures: Tensor, artworks: Tensor, scale: Tensor) -> Tensor:
    """Return the mean cross-entropy of finding each text's picture and each picture's text; rows of one artwork are not opponents."""
    same = artworks[:, None] == artworks[None]
    opponents = same & ~torch.eye(len(texts), dtype=torch.bool)
    logits = (scale * texts @ pictures.T).masked_fill(opponents, -torch.inf)
    own = torch.arange(len(texts))
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2


def use_threads(count: int) -> None:
    """Set the number of threads of a training."""
    torch.set_num_threads(count)
