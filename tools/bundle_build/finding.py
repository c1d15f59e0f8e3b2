"""What inspection has to say about an image."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tools.bundle_build.card_list import CardPicture


class Kind(StrEnum):
    """Why an image is named. The value is the word people read and scripts compare."""

    UNREADABLE = "unreadable"
    TOO_SMALL = "too small"
    SIDEWAYS = "sideways"
    ODD_SHAPE = "odd shape"
    UNCROPPED = "uncropped"
    BLANK = "blank"
    BLURRED = "blurred"
    PLACEHOLDER = "placeholder"
    REPEATED = "repeated"
    TWO_NAMES = "two names"
    DUPLICATE = "duplicate"
    NEAR_DUPLICATE = "near duplicate"
    SAME_ARTWORK = "same artwork"


KEPT: Final = frozenset({Kind.TWO_NAMES, Kind.DUPLICATE, Kind.NEAR_DUPLICATE, Kind.SAME_ARTWORK})
"""Reported, but part of the gallery: the cards form one artwork group, and every answer names them all."""

NO_MISTAKE: Final = frozenset({Kind.DUPLICATE, Kind.NEAR_DUPLICATE, Kind.SAME_ARTWORK})
"""What a faultless list may hold: reprints look alike, and some catalogues show them all by one scan."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one image cannot be used, told by itself alone. ``thumbnail`` is a JPEG, empty where nothing could be decoded."""

    kind: Kind
    reason: str
    thumbnail: bytes = b""


@dataclass(frozen=True, slots=True)
class ImageFinding:
    """A row of the card list that the report names."""

    row: CardPicture
    kind: Kind
    reason: str
    thumbnail: bytes = b""

    @property
    def left_out(self) -> bool:
        """Whether the bundle does without this image."""
        return self.kind not in KEPT

    @property
    def mistake(self) -> bool:
        """Whether somebody should mend the list or the image; what ``--strict`` fails for."""
        return self.kind not in NO_MISTAKE

    @property
    def told(self) -> str:
        """Return the reason without the image's name, for where that stands beside it."""
        _, found, rest = self.reason.partition(f"{self.row.image}: ")
        return rest if found else self.reason

    def as_record(self) -> dict[str, object]:
        """Return the finding for JSON."""
        row = self.row
        return {
            "line": row.line,
            "card_id": row.card.card_id,
            "image": row.image,
            "kind": str(self.kind),
            "left_out": self.left_out,
            "reason": self.reason,
        }
