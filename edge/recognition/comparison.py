"""Which cards of the gallery a picture is compared with, pixel by pixel: as few as its evidence needs.

A picture that agrees clearly with the nearest card is held against two other entries and done. An ordinary one is compared with
the five nearest. One that agrees with none of them gets more: under a bad outline the true card stands further down the list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from edge.recognition.decision import Comparison
from edge.recognition.gallery import Gallery
from edge.recognition.neighbors import CardId, Neighbors
from edge.recognition.verification import Reference, View, patch_weights, prepare_reference, prepare_view, verify
from edge.vision.card import Rotation
from edge.vision.frame import RgbImage

CLEAR_AGREEMENT: Final = 0.80
"""No unindexed card of the 1,440 measured views came nearer than 0.74."""
DOUBTFUL_AGREEMENT: Final = 0.65
COMPARED_WHEN_CLEAR: Final = 3
COMPARED: Final = 5
COMPARED_IN_DOUBT: Final = 12
LOOK_ALIKES: Final = 10
"""Nearest entries that the telling patches of a candidate are found against."""
_PRINTINGS_COMPARED: Final = 2
"""Printings of one artwork look alike: comparing more of them would crowd out the other artworks the margin needs."""


@dataclass(frozen=True, eq=False)
class Reading:
    """One way to read a located card, the ``card``-th of its frame: rectified upright under ``rotation``."""

    card: int
    rotation: Rotation
    pixels: RgbImage


class _Pair(NamedTuple):
    """A reading and an entry near it."""

    similarity: float
    entry: int
    card_id: CardId
    reading: Reading


def compare(readings: Sequence[tuple[Reading, Neighbors]], gallery: Gallery) -> tuple[Comparison, ...]:
    """Compare one located card with its nearest entries over all its readings, nearest first. Empty only without neighbours."""
    nearest = _nearest_pairs(readings, gallery)
    look_alikes = {pair.entry: prepare_reference(gallery.signatures[pair.entry]) for pair in nearest[:LOOK_ALIKES]}
    references = dict(look_alikes)
    views: dict[Rotation, View] = {}
    comparisons: list[Comparison] = []
    for number, (similarity, entry, card_id, reading) in enumerate(nearest):
        if number >= _enough(comparisons):
            break
        if reading.rotation not in views:
            views[reading.rotation] = prepare_view(reading.pixels)
        if entry not in references:
            references[entry] = prepare_reference(gallery.signatures[entry])
        group = gallery.artwork_group(card_id)
        weights = patch_weights(references[entry], _others(group, look_alikes, gallery))
        agreement = verify(views[reading.rotation], references[entry], weights)
        comparisons.append(Comparison(card_id, group, similarity, agreement, reading.rotation))
    return tuple(comparisons)


def _enough(comparisons: Sequence[Comparison]) -> int:
    """Return how many entries to compare with, after what came out so far."""
    best = max((comparison.agreement for comparison in comparisons), default=0.0)
    if best >= CLEAR_AGREEMENT:
        return COMPARED_WHEN_CLEAR
    return COMPARED if best >= DOUBTFUL_AGREEMENT else COMPARED_IN_DOUBT


def _nearest_pairs(readings: Sequence[tuple[Reading, Neighbors]], gallery: Gallery) -> list[_Pair]:
    """Return the nearest entries of all readings, few per artwork and reading, nearest first."""
    pairs = [_Pair(near.similarity, near.entry, near.card_id, reading) for reading, neighbors in readings for near in neighbors]
    pairs.sort(key=lambda pair: (-pair.similarity, pair.entry, pair.reading.rotation))
    taken: dict[tuple[str, Rotation], int] = {}
    kept = []
    for pair in pairs:
        key = (gallery.artwork_group(pair.card_id), pair.reading.rotation)
        taken[key] = taken.get(key, 0) + 1
        if taken[key] <= _PRINTINGS_COMPARED:
            kept.append(pair)
    return kept


def _others(group: str, references: Mapping[int, Reference], gallery: Gallery) -> list[Reference]:
    return [reference for entry, reference in references.items() if gallery.artwork_group(gallery.entry_card_ids[entry]) != group]
