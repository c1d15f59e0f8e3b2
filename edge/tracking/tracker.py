"""Cards over time: outlines of successive frames become tracks, decisions about them become changes.

Recognition is asynchronous, so a frame is processed in two steps. ``Tracker.observe`` matches the outlines of a frame to tracks and
returns which of them to recognize; ``Tracker.conclude`` receives the decision about one of them, some frames later. Both take the time as
an argument and every age is a time, so the results do not depend on the frame rate. This module contains every transition of a track.

**Matching.** Pairs of track and outline are matched greedily, largest overlap first, none below ``min_overlap``. Cards do not lie inside
each other, so two good pairs hardly ever compete, and an optimal assignment would give the same result.

**Claims.** The claim published about a track only grows stronger, hence nothing is published twice. ``edge.tracking.evidence`` decides
which claim the evidence supports; the transitions are::

    published, evidence  a group leads    mostly uncertain    mostly unknown    absent too long    another card proven in its place
    tentative            identified       uncertain           unknown           see below          -
    unknown              identified       uncertain           -                 removed            removed, a new track begins
    uncertain            identified       -                   -                 removed            removed, a new track begins
    identified           -                -                   -                 removed            removed, a new track begins

An identified card stays identified if later images merely fail to confirm it. It is **disturbed** when its outline jumped, was absent for
a moment, or shows another pattern: another card may be there now, so it is re-checked at once, and a card that stops resembling itself
counts as another one. A card has **returned** if it was absent for longer than an outline is missed by chance, or for any time if its
pattern is another one now, as when cards are dealt quickly. One without a name is judged anew then, and counts as another one if it is
identified and was not the best candidate before, or if none of its images comes closest to a former candidate.

A tentative track that is absent too long is forgotten, unless a card was there: then what the evidence supports is published, and its
removal. So is the card that was in the place of another, with too few images to notice it. A card that is taken away too early, or for
which a busy machine had too little time, is not lost.

**Requests.** The next image of a track is due ``evidence_interval_s`` after the last one while nothing is published about it, while an
identified card is disturbed or contradicted, or while a card that returned is judged anew; otherwise after ``retry_s`` (unknown, uncertain)
or ``recheck_s`` (identified). A due track is recognized when its outline is still and sharp, or has waited ``unready_wait_s`` for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, NewType

from edge.recognition.decision import Decision, Identified, Uncertain, Unknown
from edge.system.clock import NS_PER_S
from edge.tracking.evidence import Claim, Evidence, EvidencePolicy, best_artwork_group
from edge.tracking.outlines import aligned, is_other_picture, matches, starting_at
from edge.vision.card import LocatedCard, Quad

TrackId = NewType("TrackId", str)


class ChangeKind(StrEnum):
    """What happened to a card in view: each at most once per track, and once more after ``reset_decisions``."""

    IDENTIFIED = "identified"
    UNCERTAIN = "uncertain"
    UNKNOWN = "unknown"
    REMOVED = "removed"


_KINDS: Final = {Claim.UNKNOWN: ChangeKind.UNKNOWN, Claim.UNCERTAIN: ChangeKind.UNCERTAIN, Claim.IDENTIFIED: ChangeKind.IDENTIFIED}


@dataclass(frozen=True, slots=True)
class TrackChange:
    """A change to publish. ``decision`` is the best evidence for it; for ``removed`` the decision published last.

    ``captured_ns`` is the capture time of the frame that decided it, ``quad`` the outline in that frame.
    """

    kind: ChangeKind
    track_id: TrackId
    decision: Decision
    quad: Quad
    captured_ns: int


@dataclass(frozen=True, slots=True)
class RecognitionRequest:
    """A located card to recognize now; pass its ``track_id`` to ``conclude`` with the decision, or to ``abandon``.

    ``located`` starts at the card's own top-left corner, as far as earlier decisions tell.
    """

    track_id: TrackId
    located: LocatedCard


@dataclass(frozen=True, slots=True)
class Observation:
    """The result of one frame: changes to publish, and cards to recognize, most urgent first."""

    changes: tuple[TrackChange, ...]
    requests: tuple[RecognitionRequest, ...]


@dataclass(frozen=True, slots=True)
class Outline:
    """Where a track is now, for display; ``quad`` starts at the card's own top-left corner once it was identified."""

    track_id: TrackId
    quad: Quad


@dataclass(frozen=True, slots=True)
class TrackPolicy:
    """When cards are matched, removed and recognized. Lengths are ratios of the card's size, the square root of its area."""

    min_overlap: float = 0.2
    """Outlines that overlap less are different cards; 0.2 is a shift by two thirds of a card's width between two frames."""
    removed_after_s: float = 2.5
    """A card absent for this long is removed; a hand passing over it takes one to two seconds."""
    forgotten_after_s: float = 0.7
    """The same for an outline about which nothing was published."""
    blink_s: float = 0.4
    """A card absent for this long has returned, even if it looks the same; an outline is missed for less by chance."""
    evidence_interval_s: float = 0.1
    """Between two images of a card without a claim; images closer in time are nearly copies."""
    retry_s: float = 1.0
    """Between two images of an unknown or uncertain card."""
    recheck_s: float = 5.0
    """Between two images of an identified card."""
    unready_wait_s: float = 0.5
    """A card due for this long is recognized even if it moves or is blurred (held in a hand)."""
    jitter_ratio: float = 0.02
    """An outline is still if no corner moved farther than this ..."""
    speed_ratio_per_s: float = 0.5
    """... plus this much per second since the last frame."""
    sharpness_ratio: float = 0.5
    """An outline is sharp if it reaches this share of the track's best sharpness."""
    max_requests_per_frame: int = 8
    max_pending_per_track: int = 2
    evidence: EvidencePolicy = field(default_factory=EvidencePolicy)


@dataclass(slots=True)
class _Track:
    """One card in view. ``published`` is the decision published last; ``quad`` keeps its first corner from frame to frame.

    It is the card's own top-left corner if the track ``is_upright``.
    """

    track_id: TrackId
    quad: Quad
    evidence: Evidence
    began_ns: int
    seen_ns: int
    best_sharpness: float
    pattern: bytes
    claim: Claim = Claim.TENTATIVE
    published: Decision | None = None
    missing_since_ns: int | None = None
    disturbed_ns: int | None = None
    returned: bool = False
    requested_ns: int | None = None
    pending: int = 0
    forced: bool = False
    is_upright: bool = False

    @property
    def is_urgent(self) -> bool:
        """Whether its next image is due soon."""
        if self.claim is Claim.IDENTIFIED:
            return self.disturbed_ns is not None or self.evidence.has_identification
        return self.claim is Claim.TENTATIVE or self.returned


class Tracker:
    """Tracks the cards in view; one state machine per track, no clock of its own.

    ``new_track_id`` is called once per track. Times are nanoseconds of one clock; a time before an earlier one counts as that one.
    Used by one thread at a time.
    """

    def __init__(self, new_track_id: Callable[[], TrackId], policy: TrackPolicy | None = None) -> None:
        self._new_track_id = new_track_id
        self._policy = policy or TrackPolicy()
        self._tracks: dict[TrackId, _Track] = {}
        self._now_ns = 0

    def observe(self, located: Sequence[LocatedCard], at_ns: int, *, may_request: bool = True) -> Observation:
        """Update the tracks by the outlines of a frame captured at ``at_ns``; without ``may_request``, due cards stay due."""
        self._now_ns = max(at_ns, self._now_ns)
        known = list(self._tracks.values())
        found = matches([track.quad for track in known], [card.quad for card in located], self._policy.min_overlap)
        continued = {index: known[row] for index, row in found.items()}
        seen = {track.track_id for track in continued.values()}
        changes = self._age([track for track in self._tracks.values() if track.track_id not in seen])
        due = [(track, located[index]) for index, track in continued.items() if self._update(track, located[index])]
        for index, card in enumerate(located):
            if index not in continued:
                self._begin(card)
        return Observation(changes, self._requests(due) if may_request else ())

    def conclude(self, track_id: TrackId, decision: Decision, quad: Quad, at_ns: int) -> tuple[TrackChange, ...]:
        """Apply the decision about a request and return the changes; ``()`` if the track is gone.

        ``quad`` is the outline in the frame captured at ``at_ns``, starting at the card's own top-left corner.
        """
        track = self._tracks.get(track_id)
        if track is None:
            return ()
        track.pending -= 1
        if not isinstance(decision, Unknown):
            track.quad, _ = aligned(quad, track.quad)
            track.is_upright = True
        removed: tuple[TrackChange, ...] = ()
        if track.claim is not Claim.IDENTIFIED:
            track.evidence.add(decision, at_ns)
        elif self._recheck(track, decision, at_ns):
            removed, track = self._replace(track, at_ns)
        else:
            return ()
        verdict = track.evidence.verdict(track.claim)
        if track.returned and verdict is not None:
            track.returned = False
            if _is_another(track, verdict[1]):
                removed, track = self._replace(track, at_ns)
        if verdict is None or verdict[0] <= track.claim:
            return removed
        track.claim, track.published = verdict
        if track.claim is Claim.IDENTIFIED:
            track.evidence.clear()  # from this point it collects the decisions that contradict this card
        return (*removed, TrackChange(_KINDS[track.claim], track.track_id, track.published, quad, at_ns))

    def revise(self, track_id: TrackId, decision: Identified | Uncertain) -> None:
        """Replace the published decision about an identified card after its collector number was read; its artwork is the same.

        Does nothing if the track is gone or no longer identified.
        """
        track = self._tracks.get(track_id)
        if track is not None and track.claim is Claim.IDENTIFIED:
            track.published = decision

    def abandon(self, track_id: TrackId) -> None:
        """Cancel a request that got no decision; the card is requested again when it is next due."""
        if track := self._tracks.get(track_id):
            track.pending -= 1

    def outlines(self) -> tuple[Outline, ...]:
        """Return the outlines of the tracks in the newest frame, oldest track first."""
        return tuple(Outline(track.track_id, track.quad) for track in self._tracks.values() if track.missing_since_ns is None)

    def force_recheck(self) -> None:
        """Request every card again because the index or a threshold has changed. Only changed decisions are published."""
        for track in self._tracks.values():
            self._disturb(track)
            track.forced = True

    def reset_decisions(self) -> int:
        """Reset all claims and request every card at the next frame, moving or not; return the number of cards."""
        for track in self._tracks.values():
            track.claim, track.forced, track.disturbed_ns = Claim.TENTATIVE, True, None
            track.evidence.clear()
        return len(self._tracks)

    def clear(self, at_ns: int) -> tuple[TrackChange, ...]:
        """Remove every track, because recognition is paused; return the removals."""
        self._now_ns = max(at_ns, self._now_ns)
        return self._remove(list(self._tracks.values()), self._now_ns)

    def _begin(self, card: LocatedCard) -> None:
        now_ns, evidence = self._now_ns, Evidence(self._policy.evidence)
        track = _Track(
            self._new_track_id(), card.quad, evidence, began_ns=now_ns, seen_ns=now_ns, best_sharpness=card.sharpness, pattern=card.pattern
        )
        self._tracks[track.track_id] = track

    def _update(self, track: _Track, card: LocatedCard) -> bool:
        """Move the track to its new outline and return whether it is to be recognized now."""
        policy, absent_s = self._policy, (self._now_ns - track.seen_ns) / NS_PER_S
        quad, moved = aligned(track.quad, card.quad)
        still = moved <= (policy.jitter_ratio + policy.speed_ratio_per_s * absent_s) * abs(quad.area()) ** 0.5
        is_other = is_other_picture(track.pattern, card.pattern)
        if absent_s >= policy.blink_s or (is_other and track.missing_since_ns is not None):
            self._return(track)
        elif is_other or not still:
            self._disturb(track)
        track.quad, track.seen_ns, track.missing_since_ns, track.pattern = quad, self._now_ns, None, card.pattern
        track.best_sharpness = max(track.best_sharpness, card.sharpness)
        late_s = (self._now_ns - self._due_ns(track)) / NS_PER_S
        ready = still and card.sharpness >= policy.sharpness_ratio * track.best_sharpness
        due = track.forced or (late_s >= 0.0 and ready) or late_s >= policy.unready_wait_s
        return due and track.pending < policy.max_pending_per_track

    def _disturb(self, track: _Track) -> None:
        if track.disturbed_ns is None and track.claim is Claim.IDENTIFIED:
            track.evidence.clear()  # from this point it is about the card there now, the same or another
        track.disturbed_ns = self._now_ns
        track.best_sharpness = 0.0

    def _return(self, track: _Track) -> None:
        """Note that a card was absent for a moment: another one may be there now."""
        self._disturb(track)
        track.returned = track.published is not None
        if track.claim in (Claim.UNKNOWN, Claim.UNCERTAIN):
            track.evidence.clear()  # as for an identified card

    def _due_ns(self, track: _Track) -> int:
        if track.requested_ns is None:
            return track.began_ns
        if track.is_urgent:
            interval_s = self._policy.evidence_interval_s
        else:
            interval_s = self._policy.recheck_s if track.claim is Claim.IDENTIFIED else self._policy.retry_s
        return track.requested_ns + round(interval_s * NS_PER_S)

    def _requests(self, due: list[tuple[_Track, LocatedCard]]) -> tuple[RecognitionRequest, ...]:
        """Return the most urgent requests: forced ones first, then urgent tracks, then the weakest claim, then the longest due."""
        due.sort(key=lambda pair: (not pair[0].forced, not pair[0].is_urgent, pair[0].claim, self._due_ns(pair[0])))
        chosen = due[: self._policy.max_requests_per_frame]
        for track, _ in chosen:
            track.requested_ns, track.forced = self._now_ns, False
            track.pending += 1
        return tuple(
            RecognitionRequest(track.track_id, starting_at(card, track.quad) if track.is_upright else card) for track, card in chosen
        )

    def _age(self, tracks: Iterable[_Track]) -> tuple[TrackChange, ...]:
        """Remove tracks absent for too long, and return the changes; what was not published about a card that was there, comes first.

        Absence counts from the first frame without a card, so a stalled camera removes nothing.
        """
        gone: list[_Track] = []
        late: list[TrackChange] = []
        for track in tracks:
            if track.missing_since_ns is None:
                track.missing_since_ns = self._now_ns
            bound_s = self._policy.forgotten_after_s if track.published is None else self._policy.removed_after_s
            if self._now_ns - track.missing_since_ns >= bound_s * NS_PER_S:
                changes, last = self._conclude_late(track)
                late += changes
                gone.append(last)
        return (*late, *self._remove(gone, self._now_ns))

    def _conclude_late(self, track: _Track) -> tuple[tuple[TrackChange, ...], _Track]:
        """Return what is to be published about a card that left before it had a claim or was noticed in place of another; and its track."""
        if track.published is not None and not track.returned:
            return (), track
        began_ns = track.began_ns if track.disturbed_ns is None or track.published is None else track.disturbed_ns
        verdict = track.evidence.last_verdict((track.seen_ns - began_ns) / NS_PER_S)
        if verdict is None or (track.published is not None and not _is_another(track, verdict[1])):
            return (), track
        removed: tuple[TrackChange, ...] = ()
        if track.published is not None:
            removed, track = self._replace(track, track.seen_ns)
        track.claim, track.published = verdict
        return (*removed, TrackChange(_KINDS[track.claim], track.track_id, track.published, track.quad, track.seen_ns)), track

    def _replace(self, track: _Track, at_ns: int) -> tuple[tuple[TrackChange, ...], _Track]:
        """End a track because another card is in its place now; return the changes and the track of that card."""
        removed = self._remove((track,), at_ns)
        new = replace(
            track, track_id=self._new_track_id(), claim=Claim.TENTATIVE, published=None, disturbed_ns=None, returned=False, pending=0
        )
        self._tracks[new.track_id] = new
        return removed, new

    def _remove(self, tracks: Iterable[_Track], at_ns: int) -> tuple[TrackChange, ...]:
        changes = []
        for track in tracks:
            del self._tracks[track.track_id]
            if track.published is not None:
                changes.append(TrackChange(ChangeKind.REMOVED, track.track_id, track.published, track.quad, at_ns))
        return tuple(changes)

    def _recheck(self, track: _Track, decision: Decision, at_ns: int) -> bool:
        """Add a decision about an identified card; return whether the evidence proves another card in its place."""
        if track.published is not None and best_artwork_group(decision) == best_artwork_group(track.published):
            track.evidence.clear()
            if track.disturbed_ns is not None and at_ns >= track.disturbed_ns:
                track.disturbed_ns, track.returned = None, False
            return False
        track.evidence.add(decision, at_ns)
        return track.evidence.shows_another_card(disturbed=track.disturbed_ns is not None, returned=track.returned)


def _is_another(track: _Track, decision: Decision) -> bool:
    """Return whether the decision about a card that returned is about another card than the one that was published.

    An identified card is another if it is not the best candidate of that decision; one without a name, if no image comes close to it.
    """
    if track.published is None:
        return False
    if isinstance(decision, Identified):
        return best_artwork_group(decision) != best_artwork_group(track.published)
    return not track.evidence.names_any({candidate.artwork_group for candidate in track.published.candidates})
