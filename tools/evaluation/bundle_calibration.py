"""Calibrate one bundle: choose the cards, observe their views, measure the thresholds, write them into the manifest."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

import numpy as np

from edge.adapters.onnx import OnnxEmbedder
from edge.app.index import as_loaded_gallery, make_vector_index, with_projection
from edge.bundles.bundle import Bundle, open_bundle
from edge.bundles.calibration import Calibration, Provenance
from edge.bundles.manifest import Manifest
from edge.bundles.writer import set_calibration
from edge.errors import BundleError
from edge.recognition.model import Model
from edge.recognition.neighbors import CardId
from tools.evaluation.calibration import Outcome, calibrate
from tools.evaluation.calibration_views import BundleUnderTest, observe_dataset, provenance
from tools.evaluation.queries import CALIBRATING, Dataset, choose_scans, half_of_negatives, list_images
from tools.evaluation.scale import with_nearest_look_alike

CARDS: Final = 200
"""Cards that a calibration measures by default: 1 % of ordinary unknown cards is one of them, 3 % of the look-alikes are three."""
FEW_NAMED: Final = 0.7
"""Share of the views of indexed cards below which a calibration is told to be too strict to be of use."""


@dataclass(frozen=True, slots=True)
class CalibrationPlan:
    """What to calibrate with; see the options of ``tools.calibrate``.

    ``limit`` is the number of cards, ``views`` that of the views of each per preset.
    """

    images: Path
    cards: Path
    negatives: Path | None = None
    strangers: Path | None = None
    sets: tuple[str, ...] | None = None
    limit: int = CARDS
    views: int = 1
    false_acceptance: float = 0.01
    seed: int = 4711
    threads: int = 0


def calibrate_bundle(path: Path, model: Model, plan: CalibrationPlan, *, day: date, write: bool = True) -> tuple[Calibration, Manifest]:
    """Return the calibration of a bundle and its manifest, with ``write`` the new one.

    Shows an estimate and progress on standard error, and a warning if the thresholds refuse many indexed cards.
    Raises ``BundleError``, ``DataError`` or ``ImageError`` and changes nothing then.
    """
    bundle = open_bundle(path, expected_model_id=model.model_id)
    if not bundle.manifest.recognizes:
        raise BundleError(f"{path}: holds vectors alone, by which no card is recognized; build it with tools/build_index.py")
    dataset = _dataset(plan, bundle)
    loaded = as_loaded_gallery(bundle, with_projection(make_vector_index(bundle, "hnsw"), bundle), model.evidence)
    with closing(OnnxEmbedder(model, threads=plan.threads, arena=True)) as embedder:
        observations = observe_dataset(dataset, BundleUnderTest(embedder, bundle, loaded))
    outcome = calibrate(observations, false_acceptance=plan.false_acceptance)
    calibration = _as_calibration(outcome, provenance(dataset, observations, plan.false_acceptance, day))
    if warning := strictness_warning(calibration.figures, plan.false_acceptance):
        print(f"{path}: {warning}", file=sys.stderr)
    return calibration, set_calibration(bundle.path, calibration) if write else bundle.manifest


def strictness_warning(figures: Mapping[str, float], false_acceptance: float) -> str | None:
    """Return what to do if few views of indexed cards are named, as in a bundle of nearly equal artworks; otherwise None."""
    named = figures["true_accept_rate"]
    if named >= FEW_NAMED:
        return None
    return (
        f"only {100 * named:.0f} % of the views of its own cards are named, because its cards look too much alike for "
        f"{100 * false_acceptance:g} % of false acceptance; calibrate with a larger --false-acceptance, or leave the bundle uncalibrated"
    )


def _dataset(plan: CalibrationPlan, bundle: Bundle) -> Dataset:
    scans = choose_scans(plan.cards, plan.images, frozenset(bundle.gallery.cards), sets=plan.sets, one_per_card=True)
    chosen, look_alikes = half_look_alikes(bundle, scans, plan.limit, seed=plan.seed)
    return Dataset(
        scans=chosen,
        negatives=half_of_negatives(plan.negatives, CALIBRATING) if plan.negatives else (),
        seed=plan.seed,
        views_per_card=plan.views,
        distractors=list_images(plan.strangers) if plan.strangers else (),
        look_alikes=look_alikes,
    )


def half_look_alikes(
    bundle: Bundle, scans: Sequence[tuple[CardId, Path]], limit: int, *, seed: int
) -> tuple[tuple[tuple[CardId, Path], ...], frozenset[CardId]]:
    """Return at most ``limit`` scans and which of them are look-alikes.

    The look-alikes, one half, have the most similar cards of another artwork in the bundle; the others are chosen at random.
    """
    paths = dict(scans)
    count = min(limit, len(paths))
    ranked = [card_id for card_id in with_nearest_look_alike(bundle, len(bundle.gallery.cards)) if card_id in paths]
    look_alikes = ranked[: count // 2]
    rest = sorted(paths.keys() - set(look_alikes))
    ordinary = np.random.default_rng(seed).permutation(len(rest))[: count - len(look_alikes)]
    chosen = sorted([*look_alikes, *(rest[index] for index in ordinary)])
    return tuple((card_id, paths[card_id]) for card_id in chosen), frozenset(look_alikes)


def _as_calibration(outcome: Outcome, made_with: Provenance) -> Calibration:
    """Return the record for the manifest."""
    views = made_with.left_out_views + made_with.stranger_views
    source = (
        f"{made_with.known_views} simulated views of {made_with.cards} indexed cards, {views} of cards that are not in the index, "
        f"{made_with.negative_views} pictures without a card"
    )
    return Calibration(thresholds=outcome.thresholds, source=source, figures=outcome.figures, curve=outcome.curve, provenance=made_with)
