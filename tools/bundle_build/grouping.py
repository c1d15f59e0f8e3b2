"""Build the gallery from usable images: cards, their artwork groups, and one reference image of each card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from edge.recognition.artwork import same_artwork
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId
from edge.recognition.verification import SIGNATURE_BYTES
from tools.bundle_build.card_list import FACES
from tools.bundle_build.stages import ExaminedImages


def gallery_of(entries: ExaminedImages, *, groups_given: bool) -> Gallery:
    """Return the gallery; artwork groups are those of the list if it has them, otherwise detected from the images."""
    cards: dict[CardId, Card] = {}
    owners = [row.card.card_id for row in entries.rows]
    first = {} if groups_given else _first_of_artwork(entries)
    for card in (row.card for row in entries.rows):
        group = (card.artwork_group or card.card_id) if groups_given else first[card.card_id]
        cards.setdefault(card.card_id, replace(card, artwork_group=group))
    signatures = [reference.signature for reference in entries.references]
    return Gallery(cards, tuple(owners), np.stack(signatures) if signatures else np.empty((0, SIGNATURE_BYTES), dtype=np.uint8))


def _first_of_artwork(entries: ExaminedImages) -> dict[CardId, CardId]:
    """Return for each card the first card that shares its artwork. Backs count only for cards that have no front."""
    fronts = {row.card.card_id for row in entries.rows if row.face == "front"}
    counted = [row.face == "front" or row.card.card_id not in fronts for row in entries.rows]
    owners = [row.card.card_id for row, counts in zip(entries.rows, counted, strict=True) if counts]
    found = same_artwork([reference.artwork for reference, counts in zip(entries.references, counted, strict=True) if counts], owners)
    return {owner: owners[first] for owner, first in zip(owners, found, strict=True)}


def reference_images(entries: ExaminedImages) -> Iterator[tuple[CardId, bytes]]:
    """Yield an image of each card: the first usable front, or the first back if it has no front."""
    shown: dict[CardId, bytes] = {}
    for face in FACES:
        for row, reference in zip(entries.rows, entries.references, strict=True):
            if row.face == face:
                shown.setdefault(row.card.card_id, reference.jpeg)
    yield from shown.items()
