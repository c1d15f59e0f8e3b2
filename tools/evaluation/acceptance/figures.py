"""From answers to the rows of the tables: shares with their intervals, against their bounds. Nothing here looks at an image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tools.evaluation.acceptance.answers import Answer, ViewAnswer, ViewSet
from tools.evaluation.embedding import FALSE_ACCEPTANCE, flags_by_similarity
from tools.reports.intervals import wilson_interval

Unit: TypeAlias = Literal["share", "cosine", "ms", "points"]
Interval: TypeAlias = tuple[float, float]

WANTED_PRECISION: Final = 0.99

GOALS: Final[dict[str, tuple[float, float]]] = {
    "clean": (1.0, 1.0),
    "camera-4": (0.998, 0.995),
    "camera-6": (0.995, 0.99),
    "camera-8": (0.99, 0.97),
    "hard-light-glare-6": (0.99, 0.97),
    "occluded-20": (0.995, 0.98),
    "occluded-35": (0.99, 0.93),
    "glare": (0.995, 0.99),
    "small-80px": (0.995, 0.98),
}
"""Least top-1 and least acceptance with verification, per preset of ``tools/simulation/camera.py``."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """One row of the acceptance table. ``value`` is None where it could not be measured; ``note`` then says why.

    Shares lie in [0, 1]; ``at_least`` says on which side of ``bound`` a value passes. Without a bound the row only reports.
    """

    key: str
    what: str
    value: float | None
    unit: Unit
    bound: float | None
    n: int
    at_least: bool = True
    interval: Interval | None = None
    note: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether the bound is met; None without a bound or a value."""
        if self.bound is None or self.value is None:
            return None
        return self.value >= self.bound if self.at_least else self.value <= self.bound


@dataclass(frozen=True, slots=True)
class Share:
    """A counted share, in [0, 1], with its 95 % Wilson interval."""

    hits: int
    n: int

    @property
    def value(self) -> float:
        """The share; 0 without trials."""
        return self.hits / self.n if self.n else 0.0

    @property
    def interval(self) -> Interval:
        """95 % Wilson interval."""
        return wilson_interval(self.hits, self.n)


@dataclass(frozen=True, slots=True)
class ViewFigures:
    """One row of the table of views.

    ``raw_*`` is the embedding alone: the nearest entry, accepted by its cosine. ``verified_*`` is the best candidate after verification,
    accepted by its score. Both bounds are set where 1 % of the same views are accepted when their card is not in the index.
    ``named`` (rightly), ``named_wrong`` and ``absent_named`` are decisions by the bundle's own thresholds.
    """

    preset: str
    raw_top1: Share
    raw_accepted: Share
    verified_top1: Share
    verified_accepted: Share
    named: Share
    named_wrong: Share
    absent_named: Share

    @property
    def goals(self) -> tuple[float, float]:
        """Least ``verified_top1`` and ``verified_accepted``."""
        return GOALS[self.preset]

    @property
    def passed(self) -> bool:
        """Whether both goals are met."""
        return self.verified_top1.value >= self.goals[0] and self.verified_accepted.value >= self.goals[1]


@dataclass(frozen=True, slots=True, eq=False)
class RiskCoverage:
    """What a bound on the score does; entry i belongs to ``bounds[i]``, strictest first.

    ``coverage`` is the share of the images of indexed cards that are named rightly; ``risk`` the share of all given names that are wrong
    (another card, or any name for a card that is not indexed). ``at_bound`` is the point of the bundle's calibrated bound.
    """

    bounds: NDArray[np.float64]
    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]
    at_bound: tuple[float, float]
    n: int

    @property
    def coverage_at_precision(self) -> float:
        """Largest coverage at which at least 99 % of the given names are right; 0 when there is none."""
        good = self.risk <= 1.0 - WANTED_PRECISION
        return float(self.coverage[good].max()) if good.any() else 0.0


def share(hits: Iterable[bool] | NDArray[np.bool_]) -> Share:
    """Return a counted share."""
    flags = np.fromiter(hits, dtype=bool)
    return Share(int(flags.sum()), len(flags))


def share_row(key: str, what: str, counted: Share, bound: float | None, note: str = "") -> Criterion:
    """Return a row about a counted share."""
    return Criterion(key, what, counted.value, "share", bound, counted.n, interval=counted.interval, note=note)


def view_figures(views: ViewSet) -> ViewFigures:
    """Return the row of one preset."""
    answers = views.answers
    raw = flags_by_similarity(np.array([answer.similarity for answer in answers]), np.array([answer.impostor for answer in answers]))
    score_bound = float(np.quantile([answer.absent.score for answer in answers], 1.0 - FALSE_ACCEPTANCE))
    return ViewFigures(
        preset=views.preset,
        raw_top1=share(raw.nearest),
        raw_accepted=share(raw.accepted),
        verified_top1=share(answer.present.right for answer in answers),
        verified_accepted=share(answer.present.right and answer.present.score > score_bound for answer in answers),
        named=share(named_right(answer.present) for answer in answers),
        named_wrong=share(named_wrong(answer.present) for answer in answers),
        absent_named=share(answer.absent.status == "identified" for answer in answers),
    )


def named_right(answer: Answer) -> bool:
    """Return whether the card was identified correctly."""
    return answer.status == "identified" and answer.right


def named_wrong(answer: Answer) -> bool:
    """Return whether a wrong card was identified."""
    return answer.status == "identified" and not answer.right


def risk_coverage(present: Sequence[Answer], absent: Sequence[Answer], bound: float) -> RiskCoverage:
    """Sweep a bound over the scores of images of indexed cards and of other images."""
    scores = np.array([answer.score for answer in (*present, *absent)], dtype=np.float64)
    right = np.array([answer.right for answer in (*present, *absent)], dtype=bool)
    order = np.argsort(-scores, kind="stable")
    named_rightly = np.cumsum(right[order])
    named = np.arange(1, len(order) + 1)
    last = np.append(np.diff(scores[order]) != 0.0, True)  # equal scores are accepted together
    accepted = scores >= bound
    at_bound = (
        float(np.sum(accepted & right)) / max(1, len(present)),
        float(np.sum(accepted & ~right)) / max(1, int(np.sum(accepted))),
    )
    return RiskCoverage(
        bounds=scores[order][last],
        coverage=(named_rightly / max(1, len(present)))[last],
        risk=((named - named_rightly) / named)[last],
        at_bound=at_bound,
        n=len(order),
    )


# --- the acceptance table ------------------------------------------------------------------------------------------------------------


def clean_rows(views: ViewSet) -> list[Criterion]:
    """AC-1: clean images are nearest to their own artwork."""
    where = f"view {views.preset}"
    return [
        share_row("AC-1", "clean: the nearest artwork is the right one", share(answer.rank == 1 for answer in views.answers), 0.99, where),
        share_row("AC-1", "clean: cosine distance < 0.2", _closer(views.answers, 0.2), 0.95, where),
    ]


def occluded_rows(views: ViewSet) -> list[Criterion]:
    """AC-2: a fifth of the card covered."""
    where = f"view {views.preset}"
    return [
        share_row("AC-2", "20 % occluded: the right artwork is among the nearest 3", _within(views.answers, 3), 0.99, where),
        share_row("AC-2", "20 % occluded: cosine distance < 0.4", _closer(views.answers, 0.4), 0.95, where),
    ]


def glare_rows(views: ViewSet) -> list[Criterion]:
    """AC-3: glare and foil."""
    return [
        share_row(
            "AC-3", "glare or foil: the right artwork is among the nearest 5", _within(views.answers, 5), 0.99, f"view {views.preset}"
        )
    ]


def refusal_rows(
    view_sets: Sequence[ViewSet], distractors: Mapping[str, tuple[Answer, ...]], bounds: Mapping[str, float], photos: Share | None
) -> list[Criterion]:
    """AC-4: what is not in the index is refused while true cards are accepted, by the decision with the bundle's thresholds.

    ``distractors`` are the answers to images of no indexed card by kind, ``bounds`` the least refused share per kind.
    """
    presets = ", ".join(views.preset for views in view_sets)
    answers = [answer for views in view_sets for answer in views.answers]
    rows = [
        share_row("AC-4", f"{kind}: refused", share(answer.status != "identified" for answer in answers_of_kind), bounds[kind])
        for kind, answers_of_kind in distractors.items()
        if answers_of_kind
    ]
    if photos is not None:
        rows.append(share_row("AC-4", "whole photos without a card: nothing named", photos, 1.0))
    left_out = share(answer.absent.status != "identified" for answer in answers)
    accepted = share(named_right(answer.present) for answer in answers)
    rows.append(share_row("AC-4", "cards left out of the index: refused", left_out, 0.99, f"views {presets}"))
    rows.append(share_row("AC-4", "true cards: named, and rightly", accepted, 0.97, f"the same views, indexed: {presets}"))
    wrong = share(named_wrong(answer.present) for answer in answers)
    rows.append(share_row("AC-4", "true cards: named wrongly", wrong, None, "reported"))
    return rows


def pair_rows(views: ViewSet, entries: NDArray[np.float32], entry_groups: NDArray[np.int64], groups: NDArray[np.int64]) -> list[Criterion]:
    """AC-6 and AC-7: cosines of two views of one card, and of a view with the images of other artworks.

    ``views`` holds at least two views per card, one after the other; row i is of artwork ``groups[i]``.
    """
    ids = np.array([answer.card_id for answer in views.answers])
    second = np.flatnonzero(ids[1:] == ids[:-1]) + 1
    same = np.sum(views.embeddings[second] * views.embeddings[second - 1], axis=1)
    different = (views.embeddings @ entries.T)[groups[:, np.newaxis] != entry_groups[np.newaxis, :]]
    where = f"view {views.preset}"
    if not len(same) or not len(different):
        why = f"{where}: needs two views of each card and a second artwork"
        return [
            Criterion("AC-6", "two views of one card: cosine > 0.8", None, "share", 0.95, 0, note=why),
            Criterion("AC-7", "different artworks: cosine < 0.5", None, "share", 0.99, 0, note=why),
        ]
    gap = float(np.median(same) - np.median(different))
    return [
        share_row("AC-6", "two views of one card: cosine > 0.8", share(same > 0.8), 0.95, f"{where}; median {np.median(same):.3f}"),
        share_row(
            "AC-7",
            "different artworks: cosine < 0.5",
            share(different < 0.5),
            0.99,
            f"{where} against all entries; median {np.median(different):.3f}",
        ),
        Criterion("AC-7", "gap of the medians, same card to different artworks", gap, "cosine", 0.4, len(same), note=where),
    ]


def teacher_row(student: NDArray[np.float32] | None, teacher: NDArray[np.float32] | None) -> Criterion:
    """AC-8: mean cosine of the student's embeddings with the teacher's, rows of the same images."""
    what = "student and teacher: mean cosine"
    if student is None or teacher is None:
        return Criterion("AC-8", what, None, "cosine", 0.95, 0, note="n/a: this network had no teacher, or none was named with --teacher")
    cosines = np.sum(student * teacher, axis=1)
    half = 1.96 * float(cosines.std()) / max(1.0, len(cosines)) ** 0.5
    mean = float(cosines.mean())
    return Criterion("AC-8", what, mean, "cosine", 0.95, len(cosines), interval=(mean - half, mean + half))


def int8_rows(
    single_right: NDArray[np.bool_], quantized_right: NDArray[np.bool_], cosines: NDArray[np.float32], note: str
) -> list[Criterion]:
    """Return what the 8-bit copy loses of top-1, in points of a hundred, and how far its embeddings turn; entries of the same views."""
    lost = 100.0 * float(single_right.mean() - quantized_right.mean())
    # matched pairs: the difference of two shares of the same images moves only with the images that changed (McNemar)
    half = 196.0 * float(np.sqrt(np.mean(single_right != quantized_right) / len(single_right)))
    interval = (lost - half, lost + half)
    least = f"least {cosines.min():.3f}"
    return [
        Criterion("int8", "loss of top-1 by 8 bits", lost, "points", 0.5, len(cosines), at_least=False, interval=interval, note=note),
        Criterion("int8", "mean cosine of 8 bits to single precision", float(cosines.mean()), "cosine", 0.99, len(cosines), note=least),
    ]


def _within(answers: Sequence[ViewAnswer], places: int) -> Share:
    return share(answer.rank <= places for answer in answers)


def _closer(answers: Sequence[ViewAnswer], distance: float) -> Share:
    return share(1.0 - answer.similarity < distance for answer in answers)
