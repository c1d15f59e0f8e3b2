"""A table under a camera for the tracker: frames at some rate, decisions some time later."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from edge.recognition.decision import Candidate, Identified, RejectReason, Uncertain, Unknown
from edge.tracking.tracker import ChangeKind, Tracker
from edge.vision.card import LocatedCard, Point, Quad

S = 1_000_000_000
IDENTIFIED, UNCERTAIN, UNKNOWN, REMOVED = ChangeKind.IDENTIFIED, ChangeKind.UNCERTAIN, ChangeKind.UNKNOWN, ChangeKind.REMOVED


def card_at(x: float, y: float = 0.0, *, turned: int = 0, sharpness: float = 100.0, pattern: bytes = b"") -> LocatedCard:
    quad = Quad(Point(x, y), Point(x + 126, y), Point(x + 126, y + 176), Point(x, y + 176))
    return LocatedCard(quad.rotated(turned), (0, 180), sharpness, pattern=pattern)


def candidate(group: str, verification: float, card_id: str | None = None) -> Candidate:
    return Candidate(card_id or f"{group}-1", group, 0.8, verification, 0)


def named(group: str, verification: float = 0.7, *, card_id: str | None = None, rival: float = 0.1) -> Identified:
    best = candidate(group, verification, card_id)
    return Identified(best, 0.2, (best.card_id,), (best, candidate("other", rival)))


def strong(group: str) -> Identified:
    return named(group, 0.95)


def unsure(group: str) -> Uncertain:
    best = candidate(group, 0.55)
    return Uncertain(best, 0.02, (best.card_id,), (best,), RejectReason.FAILED_VERIFICATION)


def nothing(nearest: str = "other") -> Unknown:
    return Unknown(RejectReason.FAILED_VERIFICATION, 0.01, (candidate(nearest, 0.2),))


@dataclass
class Table:
    """A table under a camera, frame by frame; the recognizer answers after ``latency_s``."""

    tracker: Tracker = field(default_factory=lambda: Tracker(map("t{}".format, count()).__next__))
    fps: float = 15.0
    latency_s: float = 0.05
    at_s: float = 0.0
    changes: list = field(default_factory=list)
    requested: list = field(default_factory=list)
    pending: list = field(default_factory=list)

    def show(self, seconds: float, *cards: LocatedCard, recognize: Callable | None = None) -> list:
        """Show the cards for ``seconds``; ``recognize(located)`` decides. Return the changes."""
        before = len(self.changes)
        for _ in range(round(seconds * self.fps)):
            self.frame(*cards, recognize=recognize or (lambda _: nothing()))
        return self.changes[before:]

    def frame(self, *cards: LocatedCard, recognize: Callable) -> None:
        self.at_s += 1.0 / self.fps
        at_ns = round(self.at_s * S)
        while self.pending and self.pending[0][0] <= self.at_s:
            _, track_id, decision, quad, captured_ns = self.pending.pop(0)
            self.changes += self.tracker.conclude(track_id, decision, quad, captured_ns)
        observation = self.tracker.observe(cards, at_ns)
        self.changes += observation.changes
        self.requested += [(self.at_s, request) for request in observation.requests]
        for request in observation.requests:
            located = request.located
            self.pending.append((self.at_s + self.latency_s, request.track_id, recognize(located), located.quad, at_ns))


def kinds(changes) -> list[ChangeKind]:
    return [change.kind for change in changes]


def groups(changes) -> list[tuple[ChangeKind, str]]:
    return [(change.kind, change.decision.best.artwork_group) for change in changes]


def always(decision):
    return lambda _: decision


def in_turn(*decisions):
    rest = iter(decisions)
    return lambda _: next(rest, decisions[-1])
