"""Measure everything the acceptance table needs, once, and return it as values."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from tools.evaluation.acceptance.answers import Answer, ViewEvaluator, ViewSet
from tools.evaluation.acceptance.backends import int8_criteria, latency_row, teacher_criterion
from tools.evaluation.acceptance.distractors import card_backs, drawn_cards
from tools.evaluation.acceptance.failures import FailureGallery
from tools.evaluation.acceptance.figures import (
    Criterion,
    RiskCoverage,
    Share,
    ViewFigures,
    clean_rows,
    glare_rows,
    occluded_rows,
    pair_rows,
    refusal_rows,
    risk_coverage,
    share_row,
    view_figures,
)
from tools.evaluation.acceptance.plan import AcceptancePlan, System
from tools.evaluation.acceptance.tracks import TRACK_PRESETS, TrackFigures, measure_tracks
from tools.evaluation.lone import NAMED_BOUND, REFUSED_BOUND, LoneMeasurement, LoneOutcome, lone_thresholds
from tools.evaluation.queries import Dataset, negatives, views, with_progress
from tools.evaluation.recognition import evaluate_queries

DISTRACTOR_BOUNDS: Final = {"images without a card, taken as a card": 1.0, "card backs": 1.0, "drawn cards of another game": 0.99}


@dataclass(frozen=True, slots=True, eq=False)
class Acceptance:
    """Everything that was measured; it took ``seconds``."""

    criteria: tuple[Criterion, ...]
    views: tuple[ViewFigures, ...]
    tracks: tuple[TrackFigures, ...]
    curve: RiskCoverage
    failures: FailureGallery
    seconds: float

    @property
    def verdicts(self) -> tuple[bool, ...]:
        """Whether each row with a bound holds."""
        rows = [*(row.passed for row in self.criteria), *(view.passed for view in self.views)]
        return tuple(passed for passed in rows if passed is not None)


def measure_acceptance(dataset: Dataset, system: System, plan: AcceptancePlan) -> Acceptance:
    """Measure everything the plan names. Shows progress on standard error."""
    began_s = time.monotonic()
    model, loaded, embedder = system.model, system.loaded, system.embedder
    latency = latency_row("ONNX on this CPU", lambda: embedder.submit(model.golden_inputs[:1]).result())
    failures = FailureGallery(loaded.gallery)
    evaluator = ViewEvaluator(embedder, loaded, system.bundle, neighbors_k=plan.neighbors_k, on_decision=failures.add)
    view_sets = []
    for preset in plan.presets:
        failures.view = preset
        count = len(dataset.scans) * dataset.views_per_card
        view_sets.append(evaluator.view_set(preset, with_progress(views(dataset, preset), count, preset)))
    distractors = query_distractors(dataset, evaluator, failures, plan.distractors)
    photos = photos_named_nothing(dataset, system, plan.neighbors_k)
    tracks = []
    for preset in (preset for preset in TRACK_PRESETS if preset in plan.presets):
        failures.view = f"{preset}, frame of a track"
        tracks.append(measure_tracks(some_scans(dataset, plan.tracks), preset, evaluator))
    criteria = [
        *view_criteria(view_sets, evaluator),
        *refusal_rows(view_sets, distractors, DISTRACTOR_BOUNDS, photos),
        *lone_criteria(dataset, system),
        latency,
        *int8_criteria(dataset, model, view_sets, evaluator, plan.calibration),
        teacher_criterion(dataset, view_sets, plan.teacher),
    ]
    return Acceptance(
        criteria=tuple(sorted(criteria, key=lambda row: row.key)),
        views=tuple(view_figures(view_set) for view_set in view_sets),
        tracks=tuple(tracks),
        curve=_curve(view_sets, distractors, loaded.thresholds.min_verification),
        failures=failures,
        seconds=time.monotonic() - began_s,
    )


def _curve(view_sets: Sequence[ViewSet], distractors: Mapping[str, tuple[Answer, ...]], bound: float) -> RiskCoverage:
    answers = [answer for view_set in view_sets for answer in view_set.answers]
    others = [answer for answers_of_kind in distractors.values() for answer in answers_of_kind]
    return risk_coverage([answer.present for answer in answers], [*(answer.absent for answer in answers), *others], bound)


def lone_criteria(dataset: Dataset, system: System) -> list[Criterion]:
    """Return two rows of AC-4 per layout and set of thresholds: lone cards named, and other cards of their layout refused."""
    measurement = LoneMeasurement(system.bundle, system.model, system.embedder, dataset)
    outcomes: dict[tuple[str, str], list[LoneOutcome]] = {}
    for outcome in measurement.outcomes(lone_thresholds(system.bundle, system.model)):
        outcomes.setdefault((outcome.layout, outcome.thresholds), []).append(outcome)
    rows = []
    for (layout, thresholds), of_layout in outcomes.items():
        what = f"lone cards of {layout}, {thresholds}"
        named = Share(sum(one.themselves.named_right for one in of_layout), sum(one.themselves.asked for one in of_layout))
        refused = Share(sum(one.refused for one in of_layout), sum(one.others.asked for one in of_layout))
        note = f"{', '.join(str(one.count) for one in of_layout)} in an index of others"
        rows.append(share_row("AC-4", f"{what}: named", named, NAMED_BOUND, note))
        rows.append(share_row("AC-4", f"{what}: others of the layout refused", refused, REFUSED_BOUND, note))
    return rows


def some_scans(dataset: Dataset, count: int) -> Dataset:
    """Return the dataset with at most ``count`` of its scans, evenly spaced."""
    chosen = np.unique(np.linspace(0, len(dataset.scans) - 1, min(count, len(dataset.scans))).astype(int))
    return replace(dataset, scans=tuple(dataset.scans[index] for index in chosen))


def view_criteria(view_sets: Sequence[ViewSet], evaluator: ViewEvaluator) -> list[Criterion]:
    """Return AC-1, AC-2, AC-3, AC-6 and AC-7, as far as their presets were measured."""
    rows: list[Criterion] = []
    for view_set in view_sets:
        if view_set.preset == "clean":
            rows += clean_rows(view_set)
        elif view_set.preset == "occluded-20":
            rows += occluded_rows(view_set)
        elif view_set.preset == "glare":
            rows += glare_rows(view_set)
        elif view_set.preset == "camera-4":
            groups = np.array([evaluator.group_number(answer.card_id) for answer in view_set.answers])
            rows += pair_rows(
                replace(view_set, embeddings=evaluator.projected(view_set.embeddings)), evaluator.vectors, evaluator.entry_groups, groups
            )
    return rows


def query_distractors(dataset: Dataset, evaluator: ViewEvaluator, failures: FailureGallery, count: int) -> dict[str, tuple[Answer, ...]]:
    """Return the answers to images without an indexed card, by kind; a kind without images has no answers."""
    no_card, backs, drawn = DISTRACTOR_BOUNDS
    queries = {
        no_card: (negatives(dataset, locate=None), len(dataset.negatives)),
        backs: (card_backs(dataset, count), count),
        drawn: (drawn_cards(dataset, count), count),
    }
    answers = {}
    for kind, (queries_of_kind, n) in queries.items():
        failures.view = kind
        answers[kind] = evaluator.distractor_answers(with_progress(queries_of_kind, n, kind))
    return answers


def photos_named_nothing(dataset: Dataset, system: System, neighbors_k: int) -> Share | None:
    """Return the share of photos without a card in which nothing was named; None without such photos."""
    if not dataset.negatives:
        return None
    queries = with_progress(negatives(dataset, system.locate), len(dataset.negatives), "photos without a card")
    counts = evaluate_queries(queries, system.embedder, system.loaded, neighbors_k=neighbors_k)
    return Share(counts.asked - counts.named_wrong, counts.asked)
