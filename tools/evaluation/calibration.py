"""From compared views to the thresholds of a bundle: weights by logistic regression, their anchor by the wanted false acceptance.

The weights are fitted to separate true cards from the nearest unindexed ones, both weighted equally (ridge-penalized maximum likelihood,
Newton's method; Bishop, "Pattern Recognition and Machine Learning", 2006, 4.3.3). A slope that comes out negative is left out and the
rest fitted again: better evidence must never count against a card. The intercept then moves until the wanted share of unindexed
cards reaches ``min_verification``, no image without a card does, and neither would an unknown card as near as ``LIKELY_UNKNOWN``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import exp, log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.bundles.calibration import CurvePoint
from edge.errors import DataError
from edge.recognition.decision import (
    AcceptanceThresholds,
    Candidate,
    Comparison,
    EvidenceTerms,
    EvidenceWeights,
    evidence_for,
    evidence_log_odds,
    rank,
)

LIKELY_UNKNOWN: Final = EvidenceTerms(agreement=0.69, agreement_lead=0.18, similarity_lead=0.10, color=0.94)
"""Evidence for a wrong card, each term as high as for one in a hundred views of drawn cards in an index of one other card of their layout
(120 views). It is never enough, also where a bundle contained no similar card to measure with."""
LOOK_ALIKE_FACTOR: Final = 3.0
LONE_FACTOR: Final = 0.5
"""So many times fewer cards may be named where the index has one card of their layout than in the whole index."""
UNCERTAIN_FACTOR: Final = 5.0
"""So many times more strangers may be called uncertain than are accepted."""
_LEAST_UNCERTAIN: Final = 0.3
_RIDGE: Final = 1.0
_STEPS: Final = 100
_ABOVE: Final = 1e-4
_CURVE_LOG_ODDS: Final = np.arange(8.0, -4.1, -0.4)


class ViewKind(StrEnum):
    """Kind of a query.

    ``KNOWN`` shows an indexed card; ``LEFT_OUT`` the same with its artwork hidden, ``LOOK_ALIKE`` if it was chosen because another card
    resembles it; ``RECOLORED`` the same with its drawing in other colors indexed instead; ``LONE`` the same with all cards hidden but one
    of another artwork; ``DISTRACTOR`` shows a card of no index, ``NEGATIVE`` no card.
    """

    KNOWN = "known"
    LEFT_OUT = "left_out"
    LOOK_ALIKE = "look_alike"
    RECOLORED = "recolored"
    LONE = "lone"
    DISTRACTOR = "distractor"
    NEGATIVE = "negative"


UNINDEXED: Final = frozenset({ViewKind.LEFT_OUT, ViewKind.LOOK_ALIKE, ViewKind.DISTRACTOR})
"""The kinds of cards that are not in the index, reported together as one rate."""
ORDINARY: Final = frozenset({ViewKind.LEFT_OUT, ViewKind.DISTRACTOR})


@dataclass(frozen=True, slots=True)
class Observation:
    """The comparisons of one view. ``artwork_group`` is what a known view shows; ``preset`` is its simulated camera.

    Views with the same ``subject`` show one card; a view without is counted alone.
    """

    kind: ViewKind
    preset: str
    comparisons: tuple[Comparison, ...]
    artwork_group: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a calibration."""

    thresholds: AcceptanceThresholds
    figures: dict[str, float]
    curve: tuple[CurvePoint, ...]


def calibrate(observations: Sequence[Observation], *, false_acceptance: float) -> Outcome:
    """Return thresholds under which at most ``false_acceptance`` of unknown cards are named, and how well they do.

    Unknown cards are counted by card: one that is named in any of its views is named. Of the look-alikes ``LOOK_ALIKE_FACTOR`` times
    as many may be named, since they are the worst that the index can meet, not its everyday. Recolored cards are reported only: in a
    trial, refusing 97 % of them under every camera left a quarter of the indexed cards named.

    Deterministic, and independent of the order of the observations. Raises ``DataError`` when known or unindexed views are missing.
    """
    seen = [observation for observation in observations if observation.comparisons]
    unindexed = [each for each in seen if each.kind in UNINDEXED]
    if not any(each.kind is ViewKind.KNOWN for each in seen) or not unindexed:
        raise DataError("calibrating needs views of indexed cards and of others; give cards of at least two artworks, or --strangers")
    weights = fit_weights(seen)
    thresholds = AcceptanceThresholds()
    bound = max(
        _bound(_card_scores(seen, ORDINARY, weights), false_acceptance),
        _bound(_card_scores(seen, {ViewKind.LOOK_ALIKE}, weights), LOOK_ALIKE_FACTOR * false_acceptance),
        _bound(_card_scores(seen, {ViewKind.LONE}, weights), LONE_FACTOR * false_acceptance),
        max((_score(each, weights) for each in seen if each.kind is ViewKind.NEGATIVE), default=-np.inf),
        _likely_unknown_score(weights),
    )
    shift = log(thresholds.min_verification / (1.0 - thresholds.min_verification)) - bound - _ABOVE
    weights = replace(weights, intercept=round(weights.intercept + shift, 4))
    doubtful = _bound([_score(each, weights) for each in unindexed], UNCERTAIN_FACTOR * false_acceptance)
    thresholds = replace(
        thresholds,
        weights=weights,
        min_similarity=_least_similarity(seen, weights, thresholds),
        uncertain_verification=round(min(max(_logistic(doubtful), _LEAST_UNCERTAIN), thresholds.min_verification), 4),
    )
    return Outcome(thresholds, _figures(observations, thresholds), _curve(observations, weights))


def fit_weights(observations: Sequence[Observation]) -> EvidenceWeights:
    """Return the weights that best separate the true card of known views from the nearest card of the others; intercept at even odds."""
    left_out = [each for each in observations if each.kind in {ViewKind.LEFT_OUT, ViewKind.LOOK_ALIKE}]
    usual = EvidenceWeights()
    if left_out:
        usual = replace(
            usual,
            usual_agreement=_usual([max(one.agreement for one in each.comparisons) for each in left_out], usual.usual_agreement),
            usual_similarity=_usual([max(one.similarity for one in each.comparisons) for each in left_out], -1.0),
        )
    true, false = _evidence(observations, usual, known=True), _evidence(observations, usual, known=False)
    if not len(true) or not len(false):
        raise DataError("no view of a known card was compared with that card; check that network, bundle and pictures belong together")
    slopes, intercept = _fit(np.concatenate([true, false]), np.repeat([1.0, 0.0], [len(true), len(false)]))
    named = EvidenceTerms(*(round(float(slope), 4) for slope in slopes))
    return replace(usual, intercept=intercept, **named._asdict())


def _usual(values: Sequence[float], least: float) -> float:
    return round(max(float(np.median(values)), least), 4)


def _evidence(observations: Sequence[Observation], usual: EvidenceWeights, *, known: bool) -> NDArray[np.float64]:
    """Return the evidence for the true card of each known view, or for the best card of each unindexed view, float64 (n, 4)."""
    rows = []
    for each in observations:
        if (each.kind is not ViewKind.KNOWN) if known else (each.kind not in UNINDEXED):
            continue
        chosen = [one for one in each.comparisons if not known or one.artwork_group == each.artwork_group]
        if chosen:
            best = max(chosen, key=lambda one: (one.agreement, one.similarity, one.color or 0.0))
            rows.append(
                evidence_for(best, each.comparisons, usual_agreement=usual.usual_agreement, usual_similarity=usual.usual_similarity)
            )
    return np.array(sorted(rows), dtype=np.float64).reshape(-1, len(EvidenceTerms._fields))


def _fit(rows: NDArray[np.float64], truth: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Return the slopes, none negative, and the intercept; true and false rows have the same total weight."""
    kept = np.ones(rows.shape[1], dtype=bool)
    share = truth.mean()
    balance = np.where(truth > 0.0, 0.5 / share, 0.5 / (1.0 - share))
    while True:
        slopes = np.zeros(rows.shape[1])
        slopes[kept], intercept = _newton(rows[:, kept], truth, balance)
        if slopes.min() >= 0.0:
            return slopes, intercept
        kept &= slopes > slopes.min()


def _newton(rows: NDArray[np.float64], truth: NDArray[np.float64], balance: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    mean, spread = rows.mean(axis=0), rows.std(axis=0) + 1e-6
    design = np.column_stack([np.ones(len(rows)), (rows - mean) / spread])
    penalty = np.full(design.shape[1], _RIDGE)
    penalty[0] = 1e-6
    solution = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        probability = 1.0 / (1.0 + np.exp(-np.clip(design @ solution, -500.0, 500.0)))
        gradient = design.T @ (balance * (probability - truth)) + penalty * solution
        curvature = (design.T * (balance * probability * (1.0 - probability))) @ design + np.diag(penalty)
        step = np.clip(np.linalg.solve(curvature, gradient), -1.0, 1.0)  # the ridge bounds the optimum, the clip the way there
        solution -= step
        if np.abs(step).max() < 1e-9:
            break
    slopes = solution[1:] / spread
    return slopes, float(solution[0] - slopes @ mean)


def _score(observation: Observation, weights: EvidenceWeights) -> float:
    """Return the log-odds of the best card of a view."""
    return max(evidence_log_odds(one, observation.comparisons, weights) for one in observation.comparisons)


def _card_scores(observations: Sequence[Observation], kinds: Collection[ViewKind], weights: EvidenceWeights) -> list[float]:
    """Return the best score of each card among the observations of some kinds."""
    scores: dict[str | int, float] = {}
    for number, each in enumerate(observations):
        if each.kind in kinds:
            card = number if each.subject is None else each.subject
            scores[card] = max(scores.get(card, -np.inf), _score(each, weights))
    return list(scores.values())


def _best(observation: Observation, weights: EvidenceWeights) -> Candidate | None:
    return next(iter(rank(observation.comparisons, weights)), None)


def _bound(scores: Sequence[float], share: float) -> float:
    """Return the score that at most ``share`` of the scores exceed; no score at all has no bound."""
    if not scores:
        return -np.inf
    ordered = np.sort(scores)[::-1]
    return float(ordered[min(int(share * len(ordered)), len(ordered) - 1)])


def _likely_unknown_score(weights: EvidenceWeights) -> float:
    slopes = [getattr(weights, term) for term in EvidenceTerms._fields]
    return float(weights.intercept + np.dot(slopes, LIKELY_UNKNOWN))


def _least_similarity(observations: Sequence[Observation], weights: EvidenceWeights, thresholds: AcceptanceThresholds) -> float:
    """Return a bound slightly below the cosine of every correctly identified card: rejecting is left to the other bounds."""
    cosines = [
        best.similarity
        for each in observations
        if each.kind is ViewKind.KNOWN
        and (best := _best(each, weights))
        and best.artwork_group == each.artwork_group
        and best.verification >= thresholds.min_verification
    ]
    return round(min(max(min(cosines, default=0.0) - 0.05, -1.0), thresholds.min_similarity), 4)


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + exp(-value))


# --- what the thresholds do ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Answers:
    """Best verification scores, float64 (n,): of known views identified correctly and wrongly (0 for others), and of unindexed views."""

    right: NDArray[np.float64]
    wrong: NDArray[np.float64]
    unindexed: NDArray[np.float64]

    def at(self, bound: float) -> tuple[float, float]:
        """Return coverage and risk at a bound, with known and unindexed views weighted equally."""
        right, wrong = float(np.mean(self.right >= bound)), float(np.mean(self.wrong >= bound))
        false = float(np.mean(self.unindexed >= bound)) if len(self.unindexed) else 0.0
        named = right + wrong + false
        return right + wrong, (wrong + false) / named if named else 0.0


def _answers(observations: Sequence[Observation], weights: EvidenceWeights) -> _Answers:
    right, wrong, unindexed = [], [], []
    for each in observations:
        best = _best(each, weights)
        score = best.verification if best else 0.0
        if each.kind is ViewKind.KNOWN:
            is_right = best is not None and best.artwork_group == each.artwork_group
            right.append(score if is_right else 0.0)
            wrong.append(0.0 if is_right else score)
        elif each.kind in UNINDEXED:
            unindexed.append(score)
    return _Answers(np.array(right), np.array(wrong), np.array(unindexed))


def _curve(observations: Sequence[Observation], weights: EvidenceWeights) -> tuple[CurvePoint, ...]:
    answers = _answers(observations, weights)
    points = []
    for value in _CURVE_LOG_ODDS:
        bound = round(_logistic(float(value)), 4)
        coverage, risk = answers.at(bound)
        points.append(CurvePoint(verification=bound, coverage=round(coverage, 4), risk=round(risk, 4)))
    return tuple(points)


def _figures(observations: Sequence[Observation], thresholds: AcceptanceThresholds) -> dict[str, float]:
    """Return the shares measured with the thresholds, in [0, 1]."""
    answers, bound = _answers(observations, thresholds.weights), thresholds.min_verification
    scores = np.concatenate([answers.right, answers.wrong, answers.unindexed])
    precise = [coverage for coverage, risk in map(answers.at, np.unique(scores[scores > 0.0])) if risk <= 0.01]
    figures = {
        "false_accept_rate": float(np.mean(answers.unindexed >= bound)),
        "true_accept_rate": float(np.mean(answers.right >= bound)),
        "coverage_at_99_precision": max(precise, default=0.0),
    }
    for name, kinds in (
        ("negatives_refused", {ViewKind.NEGATIVE}),
        ("lone_refused", {ViewKind.LONE}),
        ("ordinary_refused", ORDINARY),
        ("look_alikes_refused", {ViewKind.LOOK_ALIKE}),
        ("recolored_refused", {ViewKind.RECOLORED}),
    ):
        asked = [each for each in observations if each.kind in kinds]
        if asked:
            refused = sum((best := _best(each, thresholds.weights)) is None or best.verification < bound for each in asked)
            figures[name] = refused / len(asked)
    for preset in dict.fromkeys(each.preset for each in observations if each.kind is ViewKind.KNOWN):
        of_preset = _answers([each for each in observations if each.preset == preset], thresholds.weights)
        figures[f"top_1 {preset}"] = float(np.mean(of_preset.right > 0.0))
        figures[f"true_accept_rate {preset}"] = float(np.mean(of_preset.right >= bound))
        figures[f"false_accept_rate {preset}"] = float(np.mean(of_preset.unindexed >= bound)) if len(of_preset.unindexed) else 0.0
    return {name: round(value, 4) for name, value in figures.items()}
