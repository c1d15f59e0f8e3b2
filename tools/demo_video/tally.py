"""The ground truth of a video, and the evaluation of a scanner's events against it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from edge.errors import DataError
from edge.schema import Schema
from edge.vision.card import Quad, overlap

Corners = tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]
"""Corners clockwise from the card's own top-left, in pixels of the frame."""

SAME_PLACE: Final = 0.3
"""Minimum overlap for matching an event's outline to that of an appearance."""

MAX_DELAY_S: Final = 1.5
"""Maximum delay of an event after its card has left, because recognition takes time."""


class TruePosition(Schema):
    """The outline of an appearance at one time."""

    at_s: float
    quad: Corners


class TrueAppearance(Schema):
    """The ground truth of one appearance. ``card_id`` is null for an unknown card and for an object.

    ``quad`` is the outline at rest (for an object: a box around it); ``path`` has key frames from ``from_s`` to ``to_s``.
    """

    kind: Literal["card", "unknown-card", "object"]
    card_id: str | None
    name: str
    from_s: float
    rests_from_s: float
    rests_to_s: float
    to_s: float
    quad: Corners
    path: tuple[TruePosition, ...]


class Truth(Schema):
    """The ground truth of a video."""

    width: int = Field(gt=0)
    height: int = Field(gt=0)
    fps: float = Field(gt=0)
    seconds: float = Field(gt=0)
    appearances: tuple[TrueAppearance, ...]


class ReportedEvent(BaseModel):
    """The fields of an event that are evaluated; events of ``replay --json`` have ``at_s``, those from MQTT only ``at``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Literal["identified", "uncertain", "unknown", "removed", "corrected"]
    card_id: str | None = None
    printings: tuple[str, ...] = ()
    quad: Corners | None = None
    at_s: float | None = None
    at: AwareDatetime | None = None


class Verdict(StrEnum):
    """Result of the scanner for one appearance."""

    RIGHT = "identified right"
    WRONG = "identified wrong"
    MISSED = "missed"
    REFUSED = "unknown refused"
    FALSE_ALARM = "false alarm"
    IGNORED = "rightly ignored"


@dataclass(frozen=True, slots=True)
class Tally:
    """Result of comparing events with the ground truth.

    ``verdicts``: one per appearance, in the order of the ground truth; ``stray_alarms``: identifications without an appearance;
    ``stray_unknowns``: other events without a card.
    """

    verdicts: tuple[Verdict, ...]
    stray_alarms: int
    stray_unknowns: int

    def count(self, verdict: Verdict) -> int:
        """Return the number of appearances with a verdict; false alarms include the stray ones."""
        stray = self.stray_alarms if verdict is Verdict.FALSE_ALARM else 0
        return self.verdicts.count(verdict) + stray

    @property
    def is_right(self) -> bool:
        """Whether every known card was identified, every unknown one rejected, and nothing else identified."""
        return all(self.count(verdict) == 0 for verdict in (Verdict.WRONG, Verdict.MISSED, Verdict.FALSE_ALARM))

    def summary(self) -> str:
        """Return the counts of all verdicts, as one line of text."""
        shown = (Verdict.RIGHT, Verdict.WRONG, Verdict.MISSED, Verdict.REFUSED, Verdict.FALSE_ALARM)
        return " · ".join(f"{verdict} {self.count(verdict)}" for verdict in shown)


def tally(truth: Truth, events: Iterable[Mapping[str, object]], started_at: datetime | None = None) -> Tally:
    """Compare events with the ground truth.

    An event belongs to the appearance in view at its time (or gone for at most ``MAX_DELAY_S``) whose outline it overlaps; if there is
    none, to the one whose card it identifies, else to any. A card is identified right if it was identified at least once and no other card
    in its place; another printing of the artwork is right if the event lists the true card among its ``printings``. ``started_at`` is the
    start of the video, required for events that have only ``at``. Raises ``DataError`` for an invalid event.
    """
    reported: list[list[ReportedEvent]] = [[] for _ in truth.appearances]
    stray: list[ReportedEvent] = []
    for number, line in enumerate(events, start=1):
        event = _parsed(line, number)
        if event.type in ("removed", "corrected"):
            continue
        place = appearance_of(truth, event, _video_time_s(event, started_at, number))
        (stray if place is None else reported[place]).append(event)
    verdicts = tuple(_verdict(appearance, seen) for appearance, seen in zip(truth.appearances, reported, strict=True))
    objects = [event for appearance, seen in zip(truth.appearances, reported, strict=True) if appearance.kind == "object" for event in seen]
    return Tally(
        verdicts=verdicts,
        stray_alarms=sum(event.type == "identified" for event in stray),
        stray_unknowns=sum(event.type != "identified" for event in stray + objects),
    )


def appearance_of(truth: Truth, event: ReportedEvent, at_s: float) -> int | None:
    """Return the number of the appearance that an event belongs to, or None if nothing was in view at ``at_s``."""
    best: tuple[tuple[bool, bool, float], int] | None = None
    for number, appearance in enumerate(truth.appearances):
        if not appearance.from_s <= at_s <= appearance.to_s + MAX_DELAY_S:
            continue
        shared = overlap(Quad.from_array(event.quad), Quad.from_array(appearance.quad)) if event.quad else 0.0
        rank = (shared >= SAME_PLACE, _identifies(event, appearance), shared)
        if best is None or rank > best[0]:
            best = (rank, number)
    return None if best is None else best[1]


def _identifies(event: ReportedEvent, appearance: TrueAppearance) -> bool:
    return appearance.card_id is not None and (event.card_id == appearance.card_id or appearance.card_id in event.printings)


def _verdict(appearance: TrueAppearance, events: list[ReportedEvent]) -> Verdict:
    identified = [event for event in events if event.type == "identified"]
    if appearance.kind == "card":
        if not identified:
            return Verdict.MISSED
        return Verdict.RIGHT if all(_identifies(event, appearance) for event in identified) else Verdict.WRONG
    if identified:
        return Verdict.FALSE_ALARM
    if appearance.kind == "object":
        return Verdict.IGNORED
    return Verdict.REFUSED if events else Verdict.MISSED


def _parsed(line: Mapping[str, object], number: int) -> ReportedEvent:
    try:
        return ReportedEvent.model_validate(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DataError(f"event {number}: field {field!r}: {first['msg']}; expected a line of `replay --json` or an MQTT event") from error


def _video_time_s(event: ReportedEvent, started_at: datetime | None, number: int) -> float:
    if event.at_s is not None:
        return event.at_s
    if event.at is None or started_at is None:
        raise DataError(f"event {number} has no 'at_s'; its 'at' can only be used with the start time of the video")
    return (event.at - started_at).total_seconds()
