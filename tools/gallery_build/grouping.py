"""From usable pictures to the gallery: cards, their artwork groups, and one picture of each to show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from edge.gallery import Card, Gallery
from edge.neighbors import CardId
from tools.artwork import same_artwork
from tools.gallery_build.stages import Entries


def gallery_of(entries: Entries, *, groups_given: bool) -> Gallery:
    """Return the gallery; artwork groups are those of the list, else found in the pictures."""
    cards: dict[CardId, Card] = {}
    owners = [picture.card.card_id for picture in entries.pictures]
    found = [] if groups_given else same_artwork([reference.artwork for reference in entries.references], owners)
    for entry, picture in enumerate(entries.pictures):
        card = picture.card
        group = (card.artwork_group or card.card_id) if groups_given else owners[found[entry]]
        cards.setdefault(card.card_id, replace(card, artwork_group=group))
    signatures = np.stack([reference.signature for reference in entries.references])
    return Gallery(cards, tuple(owners), signatures)


def shown_pictures(entries: Entries) -> Iterator[tuple[CardId, bytes]]:
    """Yield the first usable picture of each card."""
    seen: set[CardId] = set()
    for picture, reference in zip(entries.pictures, entries.references, strict=True):
        if picture.card.card_id not in seen:
            seen.add(picture.card.card_id)
            yield picture.card.card_id, reference.picture
