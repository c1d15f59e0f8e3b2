"""Findings of the inspection of images."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tools.bundle_build.card_list import ListedImage


class FindingKind(StrEnum):
    """The kind of a finding. The value is printed, and scripts compare it."""

    NOT_TEXT = "not text"
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


KEPT: Final = frozenset({FindingKind.TWO_NAMES, FindingKind.DUPLICATE, FindingKind.NEAR_DUPLICATE, FindingKind.SAME_ARTWORK})
"""Reported, but part of the gallery: the cards form one artwork group, and every answer names them all."""

NO_MISTAKE: Final = frozenset({FindingKind.DUPLICATE, FindingKind.NEAR_DUPLICATE, FindingKind.SAME_ARTWORK})
"""What a faultless list may hold: reprints look alike, and some catalogues show them all by one scan."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Reason why one image cannot be used, judged by itself. ``thumbnail`` is a JPEG, empty if nothing could be decoded."""

    kind: FindingKind
    reason: str
    thumbnail: bytes = b""


@dataclass(frozen=True, slots=True)
class ImageFinding:
    """A finding about one row of the card list."""

    row: ListedImage
    kind: FindingKind
    reason: str
    thumbnail: bytes = b""

    @property
    def left_out(self) -> bool:
        """Whether the image is left out of the bundle."""
        return self.kind not in KEPT

    @property
    def mistake(self) -> bool:
        """Whether the list or the image should be corrected; ``--strict`` fails for these."""
        return self.kind not in NO_MISTAKE

    @property
    def reason_without_name(self) -> str:
        """Return the reason without the image's name, for output that shows the name separately."""
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
