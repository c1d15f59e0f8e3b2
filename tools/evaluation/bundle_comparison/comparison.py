"""What changed from one bundle to the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from edge.recognition.neighbors import CardId
from tools.evaluation.bundle_comparison.answers import Answer, Grade

Change: TypeAlias = Literal["better", "worse", "other wrong card", "changed", "same"]
CHANGES: tuple[Change, ...] = ("better", "worse", "other wrong card", "changed", "same")


@dataclass(frozen=True, slots=True)
class Compared:
    """One photo. ``truth`` is None if it is not known what the photo shows. ``thumbnail`` is a JPEG."""

    photo: Path
    truth: frozenset[CardId] | None
    old: Answer
    new: Answer
    thumbnail: bytes

    @property
    def change(self) -> Change:
        """Return how the answer changed; without a known truth it is only the same or changed."""
        if self.truth is None:
            return "same" if self.old.key() == self.new.key() else "changed"
        before, after = self.old.grade(self.truth), self.new.grade(self.truth)
        if before != after:
            return "better" if after > before else "worse"
        return "other wrong card" if after is Grade.WRONG and self.old.key() != self.new.key() else "same"


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts over all photos. ``graded``: photos per grade, old and new; wrong cards are counted by how often they were identified."""

    photos: int
    labeled: int
    changes: Counter[Change]
    graded: dict[Grade, tuple[int, int]]
    vanished: Counter[CardId]
    appeared: Counter[CardId]


def summarize(compared: Sequence[Compared]) -> Summary:
    """Count what changed, and which wrong cards are identified more or less often than before."""
    labeled = [(one, one.truth) for one in compared if one.truth is not None]
    old: Counter[CardId] = Counter(wrong.card_id for one, truth in labeled for wrong in one.old.wrong(truth))
    new: Counter[CardId] = Counter(wrong.card_id for one, truth in labeled for wrong in one.new.wrong(truth))
    before, after = (
        (Counter(grades) for grades in zip(*((o.old.grade(t), o.new.grade(t)) for o, t in labeled), strict=True))
        if labeled
        else (
            Counter(),
            Counter(),
        )
    )
    return Summary(
        photos=len(compared),
        labeled=len(labeled),
        changes=Counter(one.change for one in compared),
        graded={grade: (before[grade], after[grade]) for grade in reversed(Grade)},
        vanished=old - new,
        appeared=new - old,
    )
