"""Cards over time: outlines of successive frames become tracks, decisions about them become changes.

Recognition is asynchronous, so a frame is told in two steps. ``Tracker.observe`` matches the outlines of a frame to tracks and says
which of them are worth recognising; ``Tracker.conclude`` takes the decision about one of them, some frames later. Time is an argument
of both and every age is a time, so the frame rate does not change what is told. This file owns every transition of a track.

**Matching.** Pairs of track and outline are taken greedily, largest overlap first, none below ``min_overlap``. Cards do not lie inside
each other, so two good pairs hardly ever compete and an optimal assignment would answer the same.

**Claims.** What was told about a track only grows stronger, hence nothing is told twice. What the evidence carries is the business of
``edge.tracking.evidence``; here is what follows from it::

    told, evidence     a group leads    mostly uncertain    mostly unknown    away too long    another card proven in its place
    tentative          identified       uncertain           unknown           (forgotten)      -
    unknown            identified       uncertain           -                 removed          -
    uncertain          identified       -                   -                 removed          -
    identified         -                -                   -                 removed          removed, a new track begins

An identified card is not doubted for pictures that merely fail to confirm it. It is **disturbed** when its outline jumped or was away
for a moment: then another card may lie there, so it is re-checked at once, and a card that stops resembling itself is taken for another.

**Asking.** A track's picture is due ``evidence_interval_s`` after the last one while nothing was told or while an identified card is
disturbed or contradicted; else after ``retry_s`` (unknown, uncertain) or ``recheck_s`` (identified). A due track is asked about when its
outline is still and sharp, or has waited ``unready_wait_s`` for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import dist
from typing import Final, NewType

from edge.recognition.decision import Decision, Identified, Uncertain
from edge.tracking.evidence import Claim, Evidence, EvidencePolicy, best_artwork_group
from edge.vision.card import LocatedCard, Quad, Rotation, overlap

TrackId = NewType("TrackId", str)

_NS_PER_S: Final = 1_000_000_000
_ROTATIONS: Final[tuple[Rotation, ...]] = (0, 90, 180, 270)


class ChangeKind(StrEnum):
    """What happened to a card in view; each at most once per appearance, and once more after a person asked to decide afresh."""

    IDENTIFIED = "identified"
    UNCERTAIN = "uncertain"
    UNKNOWN = "unknown"
    REMOVED = "removed"


_TOLD: Final = {Claim.UNKNOWN: ChangeKind.UNKNOWN, Claim.UNCERTAIN: ChangeKind.UNCERTAIN, Claim.IDENTIFIED: ChangeKind.IDENTIFIED}


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


@dataclass(frozen=True, slots=True)
class RecognitionRequest:
    """A located card worth recognising now; ``track_id`` goes back with the decision to ``conclude``, or to ``abandon``."""

    track_id: TrackId
    located: LocatedCard


@dataclass(frozen=True, slots=True)
class Observation:
    """What one frame brought: changes to tell, and cards to recognise, most urgent first."""

    changes: tuple[TrackChange, ...]
    requests: tuple[RecognitionRequest, ...]


@dataclass(frozen=True, slots=True)
class Outline:
    """Where a track is now, for whoever wants to draw it; ``quad`` starts at the card's own top-left once it was identified."""

    track_id: TrackId
    quad: Quad


@dataclass(frozen=True, slots=True)
class TrackPolicy:
    """How cards are matched, missed and asked about. Lengths are ratios of the card's size, the square root of its area."""

    min_overlap: float = 0.2
    """Outlines that overlap less are never one card; 0.2 is a shift by two thirds of a card's width between two frames."""
    removed_after_s: float = 2.5
    """A card not seen for this long is gone; a hand passing over it takes one to two seconds."""
    forgotten_after_s: float = 0.7
    """The same for an outline about which nothing was told yet."""
    blink_s: float = 0.4
    """A card out of sight for this long is disturbed: nobody swaps a card faster."""
    evidence_interval_s: float = 0.1
    """Between two pictures of a card that is not settled; closer ones are near copies."""
    retry_s: float = 1.0
    """Between two pictures of a card told unknown or uncertain."""
    recheck_s: float = 5.0
    """Between two pictures of an identified card."""
    unready_wait_s: float = 0.5
    """A card due for so long is recognised even though it moves or is blurred (held in a hand)."""
    jitter_ratio: float = 0.02
    """An outline is still when no corner moved further than this ..."""
    speed_ratio_per_s: float = 0.5
    """... plus this much per second since the last frame."""
    sharpness_ratio: float = 0.5
    """An outline is sharp when it reaches this part of the track's best sharpness."""
    max_requests_per_frame: int = 8
    max_pending_per_track: int = 2
    evidence: EvidencePolicy = field(default_factory=EvidencePolicy)


@dataclass(slots=True)
class _Track:
    """One card in view; ``told`` is the decision last told, ``quad`` keeps its first corner from frame to frame."""

    track_id: TrackId
    quad: Quad
    evidence: Evidence
    began_ns: int
    seen_ns: int
    best_sharpness: float
    claim: Claim = Claim.TENTATIVE
    told: Decision | None = None
    missing_since_ns: int | None = None
    disturbed_ns: int | None = None
    asked_ns: int | None = None
    pending: int = 0
    forced: bool = False

    @property
    def unsettled(self) -> bool:
        """Whether its next picture is urgent."""
        if self.claim is Claim.IDENTIFIED:
            return self.disturbed_ns is not None or self.evidence.votes
        return self.claim is Claim.TENTATIVE


class Tracker:
    """Follows the cards in view; one state machine per track, no clock of its own.

    ``new_track_id`` is called once per track. Times are nanoseconds of one clock; a time before an earlier one counts as that one.
    One thread at a time.
    """

    def __init__(self, new_track_id: Callable[[], TrackId], policy: TrackPolicy | None = None) -> None:
        self._new_track_id = new_track_id
        self._policy = policy or TrackPolicy()
        self._tracks: dict[TrackId, _Track] = {}
        self._now_ns = 0

    def observe(self, located: Sequence[LocatedCard], at_ns: int, *, asking: bool = True) -> Observation:
        """Take the outlines of the frame captured at ``at_ns``; without ``asking`` no card is requested, and those due stay due."""
        self._now_ns = max(at_ns, self._now_ns)
        matches = _match(self._tracks.values(), located, self._policy.min_overlap)
        seen = {track.track_id for track in matches.values()}
        changes = self._miss([track for track in self._tracks.values() if track.track_id not in seen])
        due = [(track, located[index]) for index, track in matches.items() if self._see(track, located[index])]
        for index, card in enumerate(located):
            if index not in matches:
                self._begin(card)
        return Observation(changes, self._requests(due) if asking else ())

    def conclude(self, track_id: TrackId, decision: Decision, quad: Quad, at_ns: int) -> tuple[TrackChange, ...]:
        """Take the decision about a request; ``quad`` starts at the card's own top-left, its frame was captured at ``at_ns``.

        A decision about a track that is gone is ignored.
        """
        track = self._tracks.get(track_id)
        if track is None:
            return ()
        track.pending -= 1
        if track.claim is Claim.IDENTIFIED:
            return self._recheck(track, decision, quad, at_ns)
        track.evidence.add(decision, at_ns)
        return self._judge(track, quad, at_ns)

    def revise(self, track_id: TrackId, decision: Identified | Uncertain) -> None:
        """Replace what was told about an identified card: its collector number said more. The artwork stays settled, and is re-checked.

        A track that is gone, or no longer identified, is left alone.
        """
        track = self._tracks.get(track_id)
        if track is not None and track.claim is Claim.IDENTIFIED:
            track.told = decision

    def abandon(self, track_id: TrackId) -> None:
        """Take back a request that got no decision; the card is asked about again at its next turn."""
        if track := self._tracks.get(track_id):
            track.pending -= 1

    def outlines(self) -> tuple[Outline, ...]:
        """Return the tracks that the newest frame shows, oldest first."""
        return tuple(Outline(track.track_id, track.quad) for track in self._tracks.values() if track.missing_since_ns is None)

    def force_recheck(self) -> None:
        """Doubt every card: what decides about them has changed. Only what turns out different is told."""
        for track in self._tracks.values():
            self._disturb(track)
            track.forced = True

    def decide_afresh(self) -> int:
        """Forget what was decided, ask about every card at the next frame, moving or not, and tell it again; return how many there are."""
        for track in self._tracks.values():
            track.claim, track.forced, track.disturbed_ns = Claim.TENTATIVE, True, None
            track.evidence.clear()
        return len(self._tracks)

    def clear(self, at_ns: int) -> tuple[TrackChange, ...]:
        """Forget every track, because nobody is looking any more; return the removals."""
        self._now_ns = max(at_ns, self._now_ns)
        return self._remove(list(self._tracks.values()), self._now_ns)

    def _begin(self, card: LocatedCard) -> None:
        now_ns, evidence = self._now_ns, Evidence(self._policy.evidence)
        track = _Track(self._new_track_id(), card.quad, evidence, began_ns=now_ns, seen_ns=now_ns, best_sharpness=card.sharpness)
        self._tracks[track.track_id] = track

    def _see(self, track: _Track, card: LocatedCard) -> bool:
        """Move the track to its new outline and return whether to ask about it now."""
        policy, away_s = self._policy, (self._now_ns - track.seen_ns) / _NS_PER_S
        quad, moved = _followed(track.quad, card.quad)
        still = moved <= (policy.jitter_ratio + policy.speed_ratio_per_s * away_s) * abs(quad.area()) ** 0.5
        if not still or away_s >= policy.blink_s:
            self._disturb(track)
        track.quad, track.seen_ns, track.missing_since_ns = quad, self._now_ns, None
        track.best_sharpness = max(track.best_sharpness, card.sharpness)
        late_s = (self._now_ns - self._due_ns(track)) / _NS_PER_S
        ready = still and card.sharpness >= policy.sharpness_ratio * track.best_sharpness
        asks = track.forced or (late_s >= 0.0 and ready) or late_s >= policy.unready_wait_s
        return asks and track.pending < policy.max_pending_per_track

    def _disturb(self, track: _Track) -> None:
        if track.disturbed_ns is None and track.claim is Claim.IDENTIFIED:
            track.evidence.clear()  # from here on it is about whatever lies there now
        track.disturbed_ns = self._now_ns
        track.best_sharpness = 0.0

    def _due_ns(self, track: _Track) -> int:
        if track.asked_ns is None:
            return track.began_ns
        if track.unsettled:
            interval_s = self._policy.evidence_interval_s
        else:
            interval_s = self._policy.recheck_s if track.claim is Claim.IDENTIFIED else self._policy.retry_s
        return track.asked_ns + round(interval_s * _NS_PER_S)

    def _requests(self, due: list[tuple[_Track, LocatedCard]]) -> tuple[RecognitionRequest, ...]:
        """Return the most urgent requests: asked for by a person, then unsettled, then weakest claim, then longest due."""
        due.sort(key=lambda pair: (not pair[0].forced, not pair[0].unsettled, pair[0].claim, self._due_ns(pair[0])))
        chosen = due[: self._policy.max_requests_per_frame]
        for track, _ in chosen:
            track.asked_ns, track.forced = self._now_ns, False
            track.pending += 1
        return tuple(RecognitionRequest(track.track_id, card) for track, card in chosen)

    def _miss(self, tracks: Iterable[_Track]) -> tuple[TrackChange, ...]:
        """Age tracks this frame does not show; absence counts from the first frame without them, so a stalled camera removes nothing."""
        gone = []
        for track in tracks:
            if track.missing_since_ns is None:
                track.missing_since_ns = self._now_ns
            bound_s = self._policy.forgotten_after_s if track.told is None else self._policy.removed_after_s
            if self._now_ns - track.missing_since_ns >= bound_s * _NS_PER_S:
                gone.append(track)
        return self._remove(gone, self._now_ns)

    def _remove(self, tracks: Iterable[_Track], at_ns: int) -> tuple[TrackChange, ...]:
        changes = []
        for track in tracks:
            del self._tracks[track.track_id]
            if track.told is not None:
                changes.append(TrackChange(ChangeKind.REMOVED, track.track_id, track.told, track.quad, at_ns))
        return tuple(changes)

    def _judge(self, track: _Track, quad: Quad, at_ns: int) -> tuple[TrackChange, ...]:
        """Tell the claim the evidence carries when it is stronger than what was told."""
        verdict = track.evidence.verdict(track.claim)
        if verdict is None or verdict[0] <= track.claim:
            return ()
        track.claim, track.told = verdict
        if track.claim is Claim.IDENTIFIED:
            track.evidence.clear()  # from here on it collects what speaks against the name
            track.quad, _ = _followed(quad, track.quad)
        return (TrackChange(_TOLD[track.claim], track.track_id, track.told, quad, at_ns),)

    def _recheck(self, track: _Track, decision: Decision, quad: Quad, at_ns: int) -> tuple[TrackChange, ...]:
        """Weigh one more picture of an identified card."""
        if track.told is not None and best_artwork_group(decision) == best_artwork_group(track.told):
            track.evidence.clear()
            if track.disturbed_ns is not None and at_ns >= track.disturbed_ns:
                track.disturbed_ns = None
            return ()
        track.evidence.add(decision, at_ns)
        if not track.evidence.shows_another_card(disturbed=track.disturbed_ns is not None):
            return ()
        removed = self._remove((track,), at_ns)
        heir = replace(track, track_id=self._new_track_id(), claim=Claim.TENTATIVE, told=None, disturbed_ns=None, pending=0)
        self._tracks[heir.track_id] = heir
        return removed + self._judge(heir, quad, at_ns)


def _followed(before: Quad, now: Quad) -> tuple[Quad, float]:
    """Return ``now`` started at the corner that follows ``before``'s first one, and how far its farthest corner moved in pixels."""
    return min(((turned, _movement(before, turned)) for turned in map(now.turned, _ROTATIONS)), key=lambda pair: pair[1])


def _movement(before: Quad, now: Quad) -> float:
    pairs = (
        (before.top_left, now.top_left),
        (before.top_right, now.top_right),
        (before.bottom_right, now.bottom_right),
        (before.bottom_left, now.bottom_left),
    )
    return max(dist(corner, moved) for corner, moved in pairs)


def _match(tracks: Iterable[_Track], located: Sequence[LocatedCard], min_overlap: float) -> dict[int, _Track]:
    """Return which track each outline (by its index) continues: greedily, largest overlap first."""
    pairs = [
        (shared, index, track)
        for track in tracks
        for index, card in enumerate(located)
        if _boxes_meet(track.quad, card.quad) and (shared := overlap(track.quad, card.quad)) >= min_overlap
    ]
    pairs.sort(key=lambda pair: -pair[0])
    matches: dict[int, _Track] = {}
    taken: set[TrackId] = set()
    for _, index, track in pairs:
        if index not in matches and track.track_id not in taken:
            matches[index] = track
            taken.add(track.track_id)
    return matches


def _boxes_meet(first: Quad, second: Quad) -> bool:
    """Say whether the bounding boxes meet; cheap, for the many pairs far apart."""
    ax, ay = zip(first.top_left, first.top_right, first.bottom_right, first.bottom_left, strict=True)
    bx, by = zip(second.top_left, second.top_right, second.bottom_right, second.bottom_left, strict=True)
    return max(ax) >= min(bx) and max(bx) >= min(ax) and max(ay) >= min(by) and max(by) >= min(ay)
