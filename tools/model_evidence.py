"""Write what a model's folder knows beside the network: how layouts look at large, and thresholds for bundles without a calibration.

    python -m tools.model_evidence --catalog BUNDLE IMAGES CARDS [--catalog ...] --negatives DIR [--sets A,B] [--model DIR]

The layouts are drawn at random by this repository. The thresholds are measured like those of a bundle (``tools.calibrate``), with the views
of all catalogs together, half of the cards being those with the nearest look-alike. Use at least two games, and cards that the network was
not trained on (``--sets``; a catalog without these sets is used whole). Exit status: 0 done, 64 usage, 65 bad data, 69 network unavailable.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2

from edge.adapters.onnx import OnnxEmbedder
from edge.app.index import make_vector_index, with_projection
from edge.bundles.bundle import digest_file, open_bundle
from edge.cli.arguments import CommandLineParser, positive_count
from edge.errors import EdgeError, ExitCode
from edge.recognition.decision import AcceptanceThresholds
from edge.recognition.model import MODEL_FILE, FileRecord, Model, find_model, open_model
from edge.recognition.model_evidence import EVIDENCE_FILE, ModelEvidence
from edge.recognition.patches import Background
from edge.recognition.recognizer import Embedder, LoadedGallery
from edge.system.files import write_atomically
from tools.bundle_build.card_list import read_card_list
from tools.evaluation.background import LAYOUTS, drawn_layouts, fit_background
from tools.evaluation.bundle_calibration import half_look_alikes
from tools.evaluation.cached_embedder import CachedEmbedder
from tools.evaluation.calibration import Observation, Outcome, ViewKind, calibrate
from tools.evaluation.calibration_views import BundleUnderTest, observe_dataset
from tools.evaluation.queries import CALIBRATING, Dataset, choose_scans, half_of_negatives

FALSE_ACCEPTANCE = 0.005
"""Half of what a calibrated bundle allows: nobody measured how similar the cards of an uncalibrated one are."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = _arguments(arguments)
    cv2.setNumThreads(1)  # images are small: threads would only wait for each other
    try:
        model = open_model(find_model(args.model))
        background = fit_background(drawn_layouts(args.layouts, seed=args.seed))
        with closing(OnnxEmbedder(model, threads=args.threads, arena=True)) as embedder:
            cached = CachedEmbedder(embedder)
            observations = [one for catalog in args.catalog for one in _observe(args, catalog, model, cached, background)]
        outcome = calibrate(observations, false_acceptance=FALSE_ACCEPTANCE)
        by_luma = calibrate(without_color(observations), false_acceptance=FALSE_ACCEPTANCE)
        write_evidence(model, as_evidence(background, outcome, by_luma, observations, args.layouts))
    except EdgeError as error:
        print(f"model_evidence: {error}", file=sys.stderr)
        return int(error.exit_code)
    print(
        json.dumps(outcome.figures) if args.json else "\n".join(f"{name}: {100 * value:.2f} %" for name, value in outcome.figures.items())
    )
    return int(ExitCode.OK)


def without_color(observations: Sequence[Observation]) -> list[Observation]:
    """Return the observations as a bundle with signatures of luma alone would give them."""
    return [
        replace(each, comparisons=tuple(replace(one, color=None) for one in each.comparisons))
        for each in observations
        if each.kind is not ViewKind.RECOLORED
    ]


def as_evidence(
    background: Background, outcome: Outcome, by_luma: Outcome, observations: Sequence[Observation], layouts: int
) -> ModelEvidence:
    """Return the content of ``evidence.json``; ``by_luma`` is the outcome without color."""
    counts = {kind: sum(each.kind is kind for each in observations) for kind in ViewKind}
    source = (
        f"{layouts} layouts drawn at random; {counts[ViewKind.KNOWN]} simulated views of indexed cards, the same with their artwork "
        f"left out, with it in other colors, and in an index of one other card; {counts[ViewKind.NEGATIVE]} pictures without a card"
    )
    return ModelEvidence(
        places=tuple(round(float(value), 4) for value in background.places),
        slopes=tuple(round(float(value), 4) for value in background.slopes),
        thresholds=outcome.thresholds,
        luma_thresholds=by_luma.thresholds,
        source=source,
        figures=outcome.figures,
    )


def write_evidence(model: Model, evidence: ModelEvidence) -> None:
    """Write ``evidence.json`` into the model's folder and its hash into ``model.json``; the model's id stays the same."""
    path = model.folder / EVIDENCE_FILE
    write_atomically(path, json.dumps(evidence.model_dump(mode="json"), indent=2) + "\n")
    digest = digest_file(path)
    record = FileRecord(file=EVIDENCE_FILE, sha256=digest.sha256, size_bytes=digest.size_bytes)
    write_atomically(model.folder / MODEL_FILE, model.manifest.model_copy(update={"evidence": record}).to_json())


def _observe(
    args: argparse.Namespace, catalog: Sequence[str], model: Model, embedder: Embedder, background: Background
) -> list[Observation]:
    path, images, card_list = (Path(part) for part in catalog)
    bundle = open_bundle(path, expected_model_id=model.model_id)
    sets = tuple(args.sets.split(",")) if args.sets else None
    if sets and not any(row.card.set in sets for row in read_card_list(card_list).rows):
        sets = None
    listed = choose_scans(card_list, images, frozenset(bundle.gallery.cards), sets=sets, one_per_card=True)
    scans, look_alikes = half_look_alikes(bundle, listed, args.limit, seed=args.seed)
    index = with_projection(make_vector_index(bundle, "hnsw"), bundle)
    loaded = LoadedGallery(bundle.manifest.bundle_id, bundle.gallery, index, AcceptanceThresholds(), background)
    negatives = half_of_negatives(args.negatives, CALIBRATING)
    dataset = Dataset(scans, negatives, args.seed, views_per_card=1, look_alikes=look_alikes)
    return observe_dataset(dataset, BundleUnderTest(embedder, bundle, loaded))


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLineParser(prog="model_evidence", description="Write what a model's folder knows beside the network.")
    parser.add_argument(
        "--catalog",
        nargs=3,
        action="append",
        required=True,
        metavar=("BUNDLE", "IMAGES", "CARDS"),
        help="a bundle, the folder of its images and its card list; may be repeated",
    )
    parser.add_argument("--negatives", type=Path, required=True, metavar="DIR", help="images without cards: backgrounds and queries")
    parser.add_argument("--sets", metavar="A,B", help="measure with cards of these sets, which the network has not seen")
    parser.add_argument("--limit", type=positive_count, default=120, metavar="N", help="at most N cards per catalog (default %(default)s)")
    parser.add_argument("--layouts", type=positive_count, default=LAYOUTS, metavar="N", help="layouts to draw (default %(default)s)")
    parser.add_argument("--model", type=Path, metavar="DIR", help="folder of the model (default: the one under hef/)")
    parser.add_argument("--threads", type=positive_count, default=0, metavar="N", help="threads of the network (default: one per core)")
    parser.add_argument("--seed", type=int, default=1, help="seed of layouts and views (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
