"""Measure everything the acceptance table asks for, once, and return it as values."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from tqdm import tqdm

from edge.bundles.bundle import Bundle
from edge.recognition.model import Model
from edge.recognition.recognizer import NEIGHBORS_K, Embedder, LoadedGallery
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
    view_figures,
)
from tools.evaluation.acceptance.tracks import TRACK_PRESETS, TrackFigures, measure_tracks
from tools.evaluation.queries import Dataset, Query, negatives, views
from tools.evaluation.recognition import evaluate_queries
from tools.simulation.camera import PRESETS

TRACKS: Final = 60
STRANGERS: Final = 90

STRANGER_BOUNDS: Final = {"pictures without a card, taken as a card": 1.0, "card backs": 1.0, "drawn cards of another game": 0.99}


@dataclass(frozen=True, slots=True, eq=False)
class System:
    """What is measured: a network on a backend, and a bundle it serves."""

    model: Model
    bundle: Bundle
    loaded: LoadedGallery
    embedder: Embedder


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    ``tracks`` are made per hard preset, ``strangers`` card backs and as many drawn cards asked. ``calibration`` are pictures of
    cards that may calibrate the 8-bit copy; without any it is left out.
    """

    presets: tuple[str, ...] = tuple(PRESETS)
    neighbors_k: int = NEIGHBORS_K
    tracks: int = TRACKS
    strangers: int = STRANGERS
    calibration: tuple[Path, ...] = ()
    teacher: Path | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Acceptance:
    """Everything that was measured. ``seconds`` is how long it took."""

    criteria: tuple[Criterion, ...]
    views: tuple[ViewFigures, ...]
    tracks: tuple[TrackFigures, ...]
    curve: RiskCoverage
    album: FailureGallery
    seconds: float

    @property
    def verdicts(self) -> tuple[bool, ...]:
        """Whether each row with a bound holds."""
        rows = [*(row.passed for row in self.criteria), *(view.passed for view in self.views)]
        return tuple(passed for passed in rows if passed is not None)


def measure_acceptance(material: Dataset, subject: System, plan: Plan) -> Acceptance:
    """Ask everything the plan names. Progress goes to standard error."""
    began_s = time.monotonic()
    model, loaded, embedder = subject.model, subject.loaded, subject.embedder
    latency = latency_row("ONNX on this CPU", lambda: embedder.submit(model.golden_inputs[:1]).result())
    album = FailureGallery(loaded.gallery)
    examiner = ViewEvaluator(embedder, loaded, subject.bundle, neighbors_k=plan.neighbors_k, noticed=album.notice)
    view_sets = []
    for preset in plan.presets:
        album.view = preset
        count = len(material.scans) * material.views_per_card
        view_sets.append(examiner.views(preset, shown(views(material, preset), count, preset)))
    strangers = ask_strangers(material, examiner, album, plan.strangers)
    photos = photos_named_nothing(material, embedder, loaded, plan.neighbors_k)
    tracks = []
    for preset in (preset for preset in TRACK_PRESETS if preset in plan.presets):
        album.view = f"{preset}, frame of a track"
        few = some_of(material, plan.tracks)
        tracks.append(measure_tracks(few, preset, examiner))
    criteria = [
        *view_criteria(view_sets, examiner),
        *refusal_rows(view_sets, strangers, STRANGER_BOUNDS, photos),
        latency,
        *int8_criteria(material, model, view_sets, examiner, plan.calibration),
        teacher_criterion(material, view_sets, plan.teacher),
    ]
    answers = [answer for view_set in view_sets for answer in view_set.answers]
    others = [answer for told in strangers.values() for answer in told]
    curve = risk_coverage(
        [answer.present for answer in answers], [*(answer.absent for answer in answers), *others], loaded.thresholds.min_verification
    )
    return Acceptance(
        criteria=tuple(sorted(criteria, key=lambda row: row.key)),
        views=tuple(view_figures(view_set) for view_set in view_sets),
        tracks=tuple(tracks),
        curve=curve,
        album=album,
        seconds=time.monotonic() - began_s,
    )


def shown(questions: Iterable[Query], count: int, title: str) -> Iterator[Query]:
    """Show progress on standard error."""
    return iter(tqdm(questions, total=count, desc=title, unit="picture", file=sys.stderr, disable=None))


def some_of(material: Dataset, count: int) -> Dataset:
    """Return the material with at most ``count`` of its scans, evenly chosen."""
    chosen = np.unique(np.linspace(0, len(material.scans) - 1, min(count, len(material.scans))).astype(int))
    return Dataset(tuple(material.scans[index] for index in chosen), material.negatives, material.seed, material.views_per_card)


def view_criteria(view_sets: Sequence[ViewSet], examiner: ViewEvaluator) -> list[Criterion]:
    """Return AC-1, AC-2, AC-3, AC-6 and AC-7, as far as their presets were asked for."""
    rows: list[Criterion] = []
    for view_set in view_sets:
        if view_set.preset == "clean":
            rows += clean_rows(view_set)
        elif view_set.preset == "occluded-20":
            rows += occluded_rows(view_set)
        elif view_set.preset == "glare":
            rows += glare_rows(view_set)
        elif view_set.preset == "camera-4":
            groups = np.array([examiner.group_number(answer.card_id) for answer in view_set.answers])
            rows += pair_rows(
                replace(view_set, embeddings=examiner.as_rows(view_set.embeddings)), examiner.vectors, examiner.entry_groups, groups
            )
    return rows


def ask_strangers(material: Dataset, examiner: ViewEvaluator, album: FailureGallery, count: int) -> dict[str, tuple[Answer, ...]]:
    """Ask for pictures that show no card of the index, by kind; a kind without pictures has no answers."""
    no_card, backs, drawn = STRANGER_BOUNDS
    questions = {
        no_card: (negatives(material, rectified=True), len(material.negatives)),
        backs: (card_backs(material, count), count),
        drawn: (drawn_cards(material, count), count),
    }
    answers = {}
    for kind, (pictures, asked) in questions.items():
        album.view = kind
        answers[kind] = examiner.strangers(shown(pictures, asked, kind))
    return answers


def photos_named_nothing(material: Dataset, embedder: Embedder, loaded: LoadedGallery, neighbors_k: int) -> Share | None:
    """Return how many photos without a card got no name; None without such photos."""
    if not material.negatives:
        return None
    questions = shown(negatives(material, rectified=False), len(material.negatives), "photos without a card")
    counts = evaluate_queries(questions, embedder, loaded, neighbors_k=neighbors_k)
    return Share(counts.asked - counts.named_wrong, counts.asked)
