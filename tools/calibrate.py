"""Calibrate a bundle: measure what its thresholds must be for this network and these cards, and write them into its manifest.

    python -m tools.calibrate --index BUNDLE --images DIR --cards cards.csv --negatives DIR [--strangers DIR] [--sets A,B] [--model DIR]

Simulated views of indexed cards are asked of the whole index, and again with their artwork left out of it; pictures without a card are
asked as they are; pictures of ``--strangers``, cards that are in no index, are seen by the same cameras. A small index has few look-alikes
to measure with: give it strangers of the same game. Cards the network was trained on look better than others: name sets it has not seen
(``--sets``) where there are any. Of the negatives every second picture is used; ``tools/evaluate.py`` measures with the others.

Everything follows from the files and ``--seed``; the day is recorded and does not count towards the bundle's id, which changes with the
thresholds. Exit status: 0 done, 64 usage, 65 bad data, 69 network unavailable.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import product
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from tqdm import tqdm

from edge.adapters.onnx import OnnxEmbedder
from edge.app.index import for_embeddings, make_vector_index
from edge.bundles.bundle import Bundle, open_bundle
from edge.bundles.calibration import Calibration, Provenance
from edge.bundles.manifest import Manifest
from edge.bundles.writer import set_calibration
from edge.cli.arguments import CommandLineParser, positive_count
from edge.errors import BundleError, DataError, EdgeError, ExitCode, ImageError
from edge.recognition.comparison import Reading, compare
from edge.recognition.model import open_model
from edge.recognition.model_search import find_model
from edge.recognition.neighbors import CardId, Neighbors
from edge.recognition.recognizer import NEIGHBORS_K, Embedder, VectorIndex, readings_of
from edge.vision.card import LocatedCard, whole_image_quad
from edge.vision.frame import RgbImage
from edge.vision.image_file import read_image
from edge.vision.locate import BOTH_WAYS
from tools.bundle_build.card_list import read_card_list
from tools.evaluation.calibration import Kind, Observation, Outcome, calibrate
from tools.evaluation.recognition import WithoutArtwork
from tools.simulation.camera import PRESETS, degrade
from tools.simulation.card_images import read_card

VIEWS_PER_PRESET: Final = 200
"""Known views of each preset that a calibration aims at: with nine presets, 1 % false acceptance is 18 of 1,800 views."""
PICTURE_SUFFIXES: Final = frozenset({".jpeg", ".jpg", ".png", ".webp", ".bmp"})
_NEGATIVE: Final = "as it is"
_BACKGROUND_MAX_SIDE: Final = 512


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """The pictures a calibration is measured with; ``views`` of each card and stranger under each preset."""

    cards: tuple[tuple[CardId, Path], ...]
    negatives: tuple[Path, ...]
    strangers: tuple[Path, ...]
    views: int
    seed: int

    def provenance(self, observations: Sequence[Observation], false_acceptance: float, measured: date) -> Provenance:
        """Return what was measured with what."""
        counts = {kind: sum(each.kind is kind for each in observations) for kind in Kind}
        return Provenance(
            pictures=_hash([path for _, path in self.cards]),
            negatives=_hash(self.negatives) if self.negatives else None,
            strangers=_hash(self.strangers) if self.strangers else None,
            cards=len(self.cards),
            known_views=counts[Kind.KNOWN],
            left_out_views=counts[Kind.LEFT_OUT],
            stranger_views=counts[Kind.STRANGER],
            negative_views=counts[Kind.NEGATIVE],
            presets=tuple(PRESETS),
            seed=self.seed,
            false_acceptance=false_acceptance,
            measured=measured,
        )


@dataclass(frozen=True, slots=True, eq=False)
class LabeledView:
    """A picture on its way to being compared: the upright card it is taken for, and as what it is asked."""

    pixels: RgbImage
    kind: Kind
    preset: str
    card_id: CardId | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BundleUnderTest:
    """Sees what the daemon would see: network, index and gallery of one bundle."""

    embedder: Embedder
    index: VectorIndex
    bundle: Bundle

    def observe(self, asked: LabeledView) -> Iterator[Observation]:
        """Yield what a picture is compared with; a known card is asked again with its artwork left out."""
        readings = readings_of(asked.pixels, 0, LocatedCard(whole_image_quad(asked.pixels), BOTH_WAYS, sharpness=0.0))
        embeddings = self.embedder.submit(np.concatenate([tensor for _, tensor in readings])).result()
        gallery = self.bundle.gallery

        def compared(index: VectorIndex) -> list[tuple[Reading, Neighbors]]:
            return list(zip([reading for reading, _ in readings], index.search(embeddings, NEIGHBORS_K), strict=True))

        if asked.card_id is None:
            yield Observation(asked.kind, asked.preset, compare(compared(self.index), gallery))
            return
        group = gallery.artwork_group(asked.card_id)
        yield Observation(Kind.KNOWN, asked.preset, compare(compared(self.index), gallery), group)
        without = WithoutArtwork(self.index, gallery, group)
        yield Observation(Kind.LEFT_OUT, asked.preset, compare(compared(without), gallery))


def evaluate_queries(material: Dataset) -> Iterator[LabeledView]:
    """Yield all pictures to look at; equal seeds give equal pictures."""
    known = [(Kind.KNOWN, card_id, path) for card_id, path in material.cards]
    strange = [(Kind.STRANGER, None, path) for path in material.strangers]
    for number, (kind, card_id, path) in enumerate([*known, *strange]):
        card = read_card(path)
        for preset, view in product(PRESETS, range(material.views)):
            rng = np.random.default_rng((material.seed, number, view))
            yield LabeledView(degrade(card, PRESETS[preset], rng, _background(material, rng)), kind, preset, card_id)
    for path in material.negatives:
        yield LabeledView(read_image(path), Kind.NEGATIVE, _NEGATIVE)


def _background(material: Dataset, rng: np.random.Generator) -> RgbImage | None:
    """Return what lies around a card; drawn also when there are no negatives to show."""
    choice = float(rng.random())
    if not material.negatives:
        return None
    return read_image(material.negatives[int(choice * len(material.negatives))], max_side=_BACKGROUND_MAX_SIDE)


def read_material(args: argparse.Namespace, bundle: Bundle) -> Dataset:
    """Choose the pictures. Raises ``DataError`` for a list without cards of the bundle, ``ImageError`` for a folder without pictures."""
    sets = args.sets.split(",") if args.sets else None
    known = [row for row in read_card_list(args.cards).rows if row.card.card_id in bundle.gallery.cards]
    rows = {row.card.card_id: args.images / row.image for row in known if sets is None or row.card.set in sets}
    if not rows:
        where = f" in sets {args.sets}" if sets else ""
        raise DataError(f"{args.cards}: lists no card of {bundle.path}{where}; name the list the bundle was built from")
    chosen = sorted(rows)
    if len(chosen) > args.limit:
        kept = np.random.default_rng(args.seed).permutation(len(chosen))[: args.limit]
        chosen = [chosen[index] for index in sorted(kept)]
    return Dataset(
        cards=tuple((card_id, rows[card_id]) for card_id in chosen),
        negatives=_pictures(args.negatives)[::2] if args.negatives else (),
        strangers=_pictures(args.strangers) if args.strangers else (),
        views=args.views or max(1, -(-VIEWS_PER_PRESET // len(chosen))),
        seed=args.seed,
    )


def _pictures(folder: Path) -> tuple[Path, ...]:
    try:
        paths = tuple(sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES))
    except OSError as error:
        raise ImageError(f"{folder}: cannot be read ({error.strerror}); name a folder of pictures") from error
    if not paths:
        raise ImageError(f"{folder}: holds no picture; name a folder of {', '.join(sorted(PICTURE_SUFFIXES))} files")
    return paths


def _hash(paths: Sequence[Path]) -> str:
    """Return the SHA-256 over names and contents, in hexadecimal digits."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def measure(material: Dataset, witness: BundleUnderTest) -> list[Observation]:
    """Look at all pictures."""
    total = (len(material.cards) + len(material.strangers)) * len(PRESETS) * material.views + len(material.negatives)
    views = tqdm(evaluate_queries(material), total=total, desc="calibrating", unit="view", file=sys.stderr, disable=None)
    return [observation for asked in views for observation in witness.observe(asked)]


def as_calibration(outcome: Outcome, provenance: Provenance) -> Calibration:
    """Return what goes into the manifest."""
    views = provenance.left_out_views + provenance.stranger_views
    source = (
        f"{provenance.known_views} simulated views of {provenance.cards} indexed cards, {views} of cards that are not in the index, "
        f"{provenance.negative_views} pictures without a card"
    )
    return Calibration(thresholds=outcome.thresholds, source=source, figures=outcome.figures, curve=outcome.curve, provenance=provenance)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit status."""
    args = _arguments(arguments)
    cv2.setNumThreads(1)  # pictures are small: threads would only wait for each other
    try:
        calibration, manifest = _run(args)
    except EdgeError as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return int(error.exit_code)
    facts = {"path": str(args.index), "bundle_id": manifest.bundle_id, **calibration.model_dump(mode="json")}
    print(json.dumps(facts) if args.json else as_text(calibration, manifest, written=not args.dry_run))
    return int(ExitCode.OK)


def _run(args: argparse.Namespace) -> tuple[Calibration, Manifest]:
    model = open_model(find_model(args.model))
    bundle = open_bundle(args.index, expected_model_id=model.model_id)
    if not bundle.manifest.recognizes:
        raise BundleError(f"{args.index}: holds vectors alone, by which no card is recognised; build it with tools/build_index.py")
    material = read_material(args, bundle)
    index = for_embeddings(make_vector_index(bundle, "hnsw"), bundle)
    with closing(OnnxEmbedder(model, threads=args.threads, arena=True)) as embedder:
        observations = measure(material, BundleUnderTest(embedder, index, bundle))
    outcome = calibrate(observations, false_acceptance=args.false_acceptance)
    measured = args.date or datetime.now(UTC).date()
    calibration = as_calibration(outcome, material.provenance(observations, args.false_acceptance, measured))
    return calibration, bundle.manifest if args.dry_run else set_calibration(bundle.path, calibration)


def as_text(calibration: Calibration, manifest: Manifest, *, written: bool) -> str:
    """Return what a person wants to know."""
    figures, thresholds = calibration.figures, calibration.thresholds
    lines = ["| view | top-1 % | accepted % | accepted though not in the index % |", "|---|---|---|---|"]
    for preset in PRESETS:
        if f"top_1 {preset}" in figures:
            values = (figures[f"{name} {preset}"] for name in ("top_1", "true_accept_rate", "false_accept_rate"))
            lines.append(f"| {preset} | " + " | ".join(f"{100 * value:.1f}" for value in values) + " |")
    shares = {name: f"{100 * value:.2f} %" for name, value in figures.items()}
    refused = f"pictures without a card refused: {shares['negatives_refused']}; " if "negatives_refused" in shares else ""
    accepted = f"accepted: {shares['true_accept_rate']} of indexed cards, {shares['false_accept_rate']} of others"
    lines += [
        "",
        f"{accepted}; {refused}coverage at 99 % precision: {shares['coverage_at_99_precision']}",
        f"{thresholds}",
        f"measured with {calibration.source}",
        f"bundle {manifest.bundle_id}" + ("" if written else " unchanged (--dry-run)"),
    ]
    return "\n".join(lines)


def _share(text: str) -> float:
    value = float(text)
    if not 0.0 < value < 0.5:
        raise argparse.ArgumentTypeError(f"{text}: not a share between 0 and 0.5")
    return value


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLineParser(prog="calibrate", description="Measure the thresholds of a bundle and write them into its manifest.")
    parser.add_argument("--index", type=Path, required=True, metavar="BUNDLE", help="the bundle's directory; its manifest is replaced")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder the image paths of the list are relative to")
    parser.add_argument("--cards", type=Path, required=True, metavar="CSV", help="the card list the bundle was built from")
    parser.add_argument("--negatives", type=Path, metavar="DIR", help="pictures without cards: backgrounds, and what must be refused")
    parser.add_argument("--strangers", type=Path, metavar="DIR", help="pictures of cards, edge to edge, that are not in the index")
    parser.add_argument("--sets", metavar="A,B", help="measure with cards of these sets; best such as the network has not seen")
    parser.add_argument("--limit", type=positive_count, default=VIEWS_PER_PRESET, metavar="N", help="at most N cards (default %(default)s)")
    parser.add_argument(
        "--views", type=positive_count, metavar="N", help=f"views of a card under each preset (default: {VIEWS_PER_PRESET} in all)"
    )
    parser.add_argument("--false-acceptance", type=_share, default=0.01, metavar="SHARE", help="of unindexed cards (default %(default)s)")
    parser.add_argument("--model", type=Path, metavar="DIR", help="folder of the network (default: the one under hef/)")
    parser.add_argument("--threads", type=positive_count, default=0, metavar="N", help="threads of the network (default: one per core)")
    parser.add_argument("--seed", type=int, default=4711, help="another seed, other views (default %(default)s)")
    parser.add_argument("--date", type=date.fromisoformat, metavar="YYYY-MM-DD", help="the day to record (default: today)")
    parser.add_argument("--dry-run", action="store_true", help="measure and print, but leave the bundle as it is")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
