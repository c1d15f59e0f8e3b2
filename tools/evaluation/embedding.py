"""Measure an embedding on simulated views of cards that took part in no training: naming them, and refusing them when not indexed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.recognition.embedding import EmbeddingMatrix
from edge.vision.frame import RgbImage
from tools.simulation.camera import PRESETS, degrade
from tools.simulation.card_images import CardPictures

Embed: TypeAlias = Callable[[Sequence[RgbImage]], EmbeddingMatrix]

FALSE_ACCEPTANCE = 0.01


@dataclass(frozen=True, slots=True)
class ViewFigures:
    """One row: shares 0..1 over ``count`` views. ``accepted`` is by the raw cosine, at 1 % acceptance of cards that are not indexed."""

    view: str
    count: int
    top1: float
    accepted: float
    median_similarity: float
    unknown_p99_similarity: float


def measure_views(
    embed: Embed,
    cards: CardPictures,
    held_out: NDArray[np.bool_],
    backgrounds: Sequence[RgbImage],
    *,
    views_per_card: int = 2,
    seed: int = 2026,
    presets: Sequence[str] = tuple(PRESETS),
) -> list[ViewFigures]:
    """Index all cards from their clean pictures, ask for degraded views of the held-out ones, a row per preset.

    Same-artwork cards count as right. For refusal the same views are asked against the index without their artwork.
    """
    gallery = embed(list(cards.pixels))
    asked = np.repeat(np.flatnonzero(held_out), views_per_card)
    rows = []
    for name in presets:
        views = []
        for number, row in enumerate(asked):
            rng = np.random.default_rng((seed, number))
            background = backgrounds[int(rng.integers(len(backgrounds)))]
            views.append(degrade(cards.pixels[row], PRESETS[name], rng, background))
        rows.append(view_figures(name, embed(views), gallery, cards.groups[asked], cards.groups))
    return rows


def view_figures(
    name: str, queries: EmbeddingMatrix, gallery: EmbeddingMatrix, query_groups: NDArray[np.int64], gallery_groups: NDArray[np.int64]
) -> ViewFigures:
    """Compare queries (n, dim) with the gallery (m, dim) by cosine."""
    similarities = queries @ gallery.T
    own = query_groups[:, None] == gallery_groups[None, :]
    true = np.where(own, similarities, -1.0).max(axis=1)
    impostor = np.where(own, -1.0, similarities).max(axis=1)
    bound = float(np.quantile(impostor, 1.0 - FALSE_ACCEPTANCE))
    return ViewFigures(
        view=name,
        count=len(queries),
        top1=float(np.mean(true > impostor)),
        accepted=float(np.mean((true > bound) & (true > impostor))),
        median_similarity=float(np.median(true)),
        unknown_p99_similarity=bound,
    )


def as_table(rows: Sequence[ViewFigures]) -> str:
    """Return the rows as a Markdown table."""
    head = "| view | n | top-1 % | accepted % at 1 % false acceptance | median cosine | p99 cosine of unknown |"
    lines = [head, "|---|---|---|---|---|---|"]
    lines += [
        f"| {row.view} | {row.count} | {100 * row.top1:.1f} | {100 * row.accepted:.1f} "
        f"| {row.median_similarity:.3f} | {row.unknown_p99_similarity:.3f} |"
        for row in rows
    ]
    return "\n".join(lines)
