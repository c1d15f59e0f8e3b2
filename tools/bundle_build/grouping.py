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
from tools.bundle_build.stages import Examined


def gallery_of(entries: Examined, *, groups_given: bool) -> Gallery:
    """Return the gallery; artwork groups are those of the list if it has them, otherwise detected from the images."""
    cards: dict[CardId, Card] = {}
    owners = [picture.card.card_id for picture in entries.pictures]
    first = {} if groups_given else _first_of_artwork(entries)
    for card in (picture.card for picture in entries.pictures):
        group = (card.artwork_group or card.card_id) if groups_given else first[card.card_id]
        cards.setdefault(card.card_id, replace(card, artwork_group=group))
    signatures = [reference.signature for reference in entries.references]
    return Gallery(cards, tuple(owners), np.stack(signatures) if signatures else np.empty((0, SIGNATURE_BYTES), dtype=np.uint8))


def _first_of_artwork(entries: Examined) -> dict[CardId, CardId]:
    """Return for each card the first card that shares its artwork. Backs count only for cards that have no front."""
    fronts = {picture.card.card_id for picture in entries.pictures if picture.face == "front"}
    told = [picture.face == "front" or picture.card.card_id not in fronts for picture in entries.pictures]
    owners = [picture.card.card_id for picture, tells in zip(entries.pictures, told, strict=True) if tells]
    found = same_artwork([reference.artwork for reference, tells in zip(entries.references, told, strict=True) if tells], owners)
    return {owner: owners[first] for owner, first in zip(owners, found, strict=True)}


def shown_pictures(entries: Examined) -> Iterator[tuple[CardId, bytes]]:
    """Yield an image of each card: the first usable front, or the first back if it has no front."""
    shown: dict[CardId, bytes] = {}
    for face in FACES:
        for picture, reference in zip(entries.pictures, entries.references, strict=True):
            if picture.face == face:
                shown.setdefault(picture.card.card_id, reference.picture)
    yield from shown.items()
