"""Cards over time: outlines of successive frames become tracks, decisions about them become changes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from edge.card import Quad
from edge.decision import Decision

TrackId = NewType("TrackId", str)


class ChangeKind(StrEnum):
    """What happened to a card in view; each at most once per appearance."""

    IDENTIFIED = "identified"
    UNCERTAIN = "uncertain"
    UNKNOWN = "unknown"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class TrackChange:
    """A change worth telling. ``decision`` is the evidence behind it (for ``removed``: what the card was last taken for).

    ``captured_ns`` is the capture time of the frame that settled it, ``quad`` the outline there.
    """

    kind: ChangeKind
    track_id: TrackId
    decision: Decision
    quad: Quad
    captured_ns: int
