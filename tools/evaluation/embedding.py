"""Measure an embedding on simulated views of held-out cards: how many are nearest to themselves, and refused when not indexed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.recognition.embedding import EmbeddingMatrix
from edge.recognition.model import MeasuredView
from edge.vision.frame import RgbImage
from tools.reports.markdown import table
from tools.simulation.camera import PRESETS, degrade
from tools.simulation.card_images import CardImages

Embed: TypeAlias = Callable[[Sequence[RgbImage]], EmbeddingMatrix]

FALSE_ACCEPTANCE: Final = 0.01
"""Share of the views of unindexed cards that are accepted, by which all measurements set their bound."""

_COLUMNS: Final = ("view", "n", "top-1 %", "accepted % at 1 % false acceptance", "median cosine", "p99 cosine of unknown")


class SimilarityFlags(NamedTuple):
    """Per view whether its own artwork is nearest, and accepted too; ``bound`` is the similarity from which a card is accepted."""

    nearest: NDArray[np.bool_]
    accepted: NDArray[np.bool_]
    bound: float


def flags_by_similarity(own: NDArray[np.floating], impostor: NDArray[np.floating]) -> SimilarityFlags:
    """Return what similarity alone decides about views of indexed cards.

    ``own`` (n,) are the similarities to the nearest entry of the view's artwork, ``impostor`` (n,) to the nearest of any other. The bound
    is the similarity that ``FALSE_ACCEPTANCE`` of the views exceed when their artwork is not indexed.
    """
    bound = float(np.quantile(impostor, 1.0 - FALSE_ACCEPTANCE))
    nearest = own > impostor
    return SimilarityFlags(nearest, nearest & (own > bound), bound)


def measure_views(
    embed: Embed,
    cards: CardImages,
    held_out: NDArray[np.bool_],
    backgrounds: Sequence[RgbImage],
    *,
    views_per_card: int = 2,
    seed: int = 2026,
    presets: Sequence[str] = tuple(PRESETS),
) -> list[MeasuredView]:
    """Index the clean images of all cards, query degraded views of the held-out ones, and return the figures of each preset.

    ``held_out`` (n,) has a flag per card. The nearest entry counts as right if it shows the same artwork.
    """
    gallery = embed(list(cards.pixels))
    queried = np.repeat(np.flatnonzero(held_out), views_per_card)
    rows = []
    for name in presets:
        views = []
        for number, row in enumerate(queried):
            rng = np.random.default_rng((seed, number))
            background = backgrounds[int(rng.integers(len(backgrounds)))]
            views.append(degrade(cards.pixels[row], PRESETS[name], rng, background))
        rows.append(measured_view(name, embed(views), gallery, cards.groups[queried], cards.groups))
    return rows


def measured_view(
    name: str, queries: EmbeddingMatrix, gallery: EmbeddingMatrix, query_groups: NDArray[np.int64], gallery_groups: NDArray[np.int64]
) -> MeasuredView:
    """Return the figures of the queries (n, dim) against the gallery (m, dim), by cosine; groups are artwork numbers per row."""
    similarities = queries @ gallery.T
    same = query_groups[:, None] == gallery_groups[None, :]
    own = np.where(same, similarities, -1.0).max(axis=1)
    impostor = np.where(same, -1.0, similarities).max(axis=1)
    flags = flags_by_similarity(own, impostor)
    return MeasuredView(
        view=name,
        count=len(queries),
        top1=float(np.mean(flags.nearest)),
        accepted=float(np.mean(flags.accepted)),
        median_similarity=float(np.median(own)),
        unknown_p99_similarity=flags.bound,
    )


def as_table(rows: Sequence[MeasuredView]) -> str:
    """Return the rows as a Markdown table."""
    return table(
        _COLUMNS,
        [
            (
                row.view,
                str(row.count),
                f"{100 * row.top1:.1f}",
                f"{100 * row.accepted:.1f}",
                f"{row.median_similarity:.3f}",
                f"{row.unknown_p99_similarity:.3f}",
            )
            for row in rows
        ],
    )
