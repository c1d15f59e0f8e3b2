"""What inspection has to say about a picture."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tools.card_list import CardPicture


class Kind(StrEnum):
    """Why a picture is named. The value is the word people read and scripts compare."""

    UNREADABLE = "unreadable"
    TOO_SMALL = "too small"
    SIDEWAYS = "sideways"
    ODD_SHAPE = "odd shape"
    BLANK = "blank"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one picture cannot be used, told by itself alone. ``thumbnail`` is a JPEG, empty where nothing could be decoded."""

    kind: Kind
    reason: str
    thumbnail: bytes = b""


@dataclass(frozen=True, slots=True)
class Finding:
    """A row of the card list that is named in the report; ``left_out`` says that the bundle does without its picture."""

    line: int
    card_id: str
    image: str
    kind: Kind
    reason: str
    left_out: bool
    thumbnail: bytes = b""


def fault_of(row: CardPicture, fault: Fault) -> Finding:
    """Return the finding about a row whose picture has a fault."""
    return Finding(row.line, row.card.card_id, row.image, fault.kind, fault.reason, left_out=True, thumbnail=fault.thumbnail)
