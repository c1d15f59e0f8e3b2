"""Measure what a network and a bundle do together, and print a table with intervals.

    python -m tools.evaluate --index BUNDLE --images DIR --cards cards.csv --negatives DIR [--sets A,B] [--views glare,...] [--json]

Rows: the scans themselves; simulated views of them (``tools/simulated_camera.py``), asked of the whole index and of the index
without their artwork; whole photos in which the card has to be located first; pictures without a card, taken as cards and as photos.
Exit status: 0 all bounds hold, 1 a bound is missed, 65 bad data, 64 usage.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from tqdm import tqdm

if not __package__:  # started as a script: the repository's root holds both packages
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from edge.adapters.hnsw import HnswIndex
from edge.adapters.onnx import OnnxEmbedder
from edge.bundles.releases import open_index
from edge.card import LocatedCard, rectify, whole_image_quad
from edge.errors import DataError, EdgeError, ImageError, UsageError
from edge.frame import RgbImage
from edge.image_file import read_image
from edge.locate import BOTH_WAYS
from edge.model import open_model
from edge.model_search import find_model
from edge.neighbors import CardId
from edge.pipeline import NEIGHBORS_K, Embedder, LoadedGallery
from tools.card_list import CardPicture, read_card_list
from tools.evaluation import Question, Row, as_records, as_table, ask, ask_with_and_without
from tools.simulated_camera import PRESETS, CardPose, degrade, photograph

PHOTO_SIZE: Final = (1280, 720)
PHOTO_VIEW: Final = "camera-4"
SCANS_BOUND: Final = 0.999
VIEWS_BOUND: Final = 0.92
NEGATIVES_BOUND: Final = 1.0
BOUND_MISSED: Final = 1


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What is measured with: the cards to ask for, and pictures without a card as backgrounds and as questions."""

    scans: tuple[tuple[CardId, Path], ...]
    negatives: tuple[Path, ...]
    seed: int
    views_per_card: int

    def card(self, path: Path) -> RgbImage:
        """Return a scan as an upright card, edge to edge."""
        pixels = read_image(path, trim_transparent=True)
        return rectify(pixels, whole_image_quad(pixels)).pixels

    def background(self, rng: np.random.Generator) -> RgbImage | None:
        """Return a picture to lie around and under a card; None when there are none."""
        return read_image(self.negatives[int(rng.integers(len(self.negatives)))]) if self.negatives else None


def scans(material: Material) -> Iterator[Question]:
    """Yield the scans as they are, read as `cardedge identify --rectified` reads them."""
    for card_id, path in material.scans:
        yield Question(read_image(path), card_id, rectified=True)


def views(material: Material, preset: str) -> Iterator[Question]:
    """Yield simulated rectified views, ``views_per_card`` of each scan; equal seeds give equal views."""
    for number, (card_id, path) in enumerate(material.scans):
        card = material.card(path)
        for view in range(material.views_per_card):
            rng = np.random.default_rng((material.seed, number, view))
            yield Question(degrade(card, PRESETS[preset], rng, material.background(rng)), card_id, rectified=True)


def photos(material: Material) -> Iterator[Question]:
    """Yield whole photos of one card each: any rotation, tilt up to 40 degrees, any of the backgrounds."""
    for number, (card_id, path) in enumerate(material.scans):
        rng = np.random.default_rng((material.seed, number, 1000))
        ground = material.background(rng)
        plain = np.full((PHOTO_SIZE[1], PHOTO_SIZE[0], 3), rng.integers(30, 220, 3), np.uint8)
        background = plain if ground is None else np.asarray(cv2.resize(ground, PHOTO_SIZE, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
        pose = CardPose(
            center_x_px=float(rng.uniform(400, 880)),
            center_y_px=float(rng.uniform(280, 440)),
            px_per_mm=float(rng.uniform(2.2, 4.5)),
            roll_deg=float(rng.uniform(0, 360)),
            tilt_deg=float(rng.uniform(0, 40)),
            tilt_axis_deg=float(rng.uniform(0, 360)),
        )
        pixels, quads = photograph([(material.card(path), pose)], background, PRESETS[PHOTO_VIEW], rng)
        yield Question(pixels, card_id, rectified=False, outline=LocatedCard(quads[0], BOTH_WAYS, sharpness=0.0))


def negatives(material: Material, *, rectified: bool) -> Iterator[Question]:
    """Yield the pictures without a card, taken as a card each or as photos."""
    for path in material.negatives:
        yield Question(read_image(path), None, rectified=rectified)


def measure(material: Material, embedder: Embedder, loaded: LoadedGallery, presets: Sequence[str], neighbors_k: int) -> Iterator[Row]:
    """Yield the rows of the table as they are measured."""

    def shown(questions: Iterator[Question], count: int, title: str) -> Iterator[Question]:
        return iter(tqdm(questions, total=count, desc=title, unit="picture", file=sys.stderr, disable=None))

    count = len(material.scans)
    clean = ask(shown(scans(material), count, "scans"), embedder, loaded, neighbors_k=neighbors_k)
    yield Row("scans", "named right", clean, clean.named_right, SCANS_BOUND)
    for preset in presets:
        questions = shown(views(material, preset), count * material.views_per_card, preset)
        present, absent = ask_with_and_without(questions, embedder, loaded, neighbors_k=neighbors_k)
        yield Row(f"view {preset}", "named right", present, present.named_right, VIEWS_BOUND if preset == "camera-4" else None)
        yield Row(f"view {preset}, not in the index", "nothing named", absent, absent.asked - absent.named_wrong)
    found = ask(shown(photos(material), count, "photos"), embedder, loaded, neighbors_k=neighbors_k)
    yield Row(f"photo {PHOTO_VIEW}", "named right", found, found.named_right)
    for rectified in (True, False):
        name = "no card, taken as a card" if rectified else "no card, as a photo"
        questions = shown(negatives(material, rectified=rectified), len(material.negatives), name)
        refused = ask(questions, embedder, loaded, neighbors_k=neighbors_k)
        if refused.asked:
            yield Row(name, "nothing named", refused, refused.asked - refused.named_wrong, NEGATIVES_BOUND)


def read_material(args: argparse.Namespace, known: frozenset[CardId]) -> Material:
    """Choose the cards and pictures to measure with. Raises ``DataError`` when none is left."""
    rows = [row for row in read_card_list(args.cards).rows if row.card.card_id in known and _is_chosen(row, args.sets)]
    if not rows:
        where = f" in sets {args.sets}" if args.sets else ""
        raise DataError(f"{args.cards}: lists no card of this bundle{where}; name the list it was built from")
    if args.limit and args.limit < len(rows):
        chosen = np.random.default_rng(args.seed).permutation(len(rows))[: args.limit]
        rows = [rows[index] for index in sorted(chosen)]
    pictures = tuple(sorted(path for path in args.negatives.iterdir() if path.is_file())) if args.negatives else ()
    if args.negatives and not pictures:
        raise ImageError(f"{args.negatives}: holds no picture; name a folder of pictures without cards")
    return Material(tuple((row.card.card_id, args.images / row.image) for row in rows), pictures, args.seed, args.views_per_card)


def _is_chosen(row: CardPicture, sets: str | None) -> bool:
    return sets is None or row.card.set in sets.split(",")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = _arguments(arguments)
    try:
        presets = list(PRESETS) if args.views == "all" else [name for name in args.views.split(",") if name]
        unknown = [name for name in presets if name not in PRESETS]
        if unknown:
            raise UsageError(f"--views: no view {unknown[0]!r}; known: {', '.join(PRESETS)}")
        model = open_model(find_model(args.model))
        bundle = open_index(args.index, expected_model_id=model.model_id)
        loaded = LoadedGallery(bundle.manifest.bundle_id, bundle.gallery, HnswIndex(bundle), bundle.thresholds)
        material = read_material(args, frozenset(bundle.gallery.cards))
        with closing(OnnxEmbedder(model, arena=True, spin=True)) as embedder:
            rows = list(measure(material, embedder, loaded, presets, args.neighbors_k))
    except EdgeError as error:
        print(f"evaluate: {error}", file=sys.stderr)
        return int(error.exit_code)
    if args.json:
        for record in as_records(rows):
            print(json.dumps(record))
    else:
        print(f"network {model.model_id}, bundle {bundle.manifest.bundle_id}, {loaded.thresholds}\n\n{as_table(rows)}")
    return BOUND_MISSED if any(row.holds is False for row in rows) else 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="evaluate", description="Measure recognition with a network and a bundle.")
    parser.add_argument("--index", type=Path, required=True, metavar="DIR", help="bundle, or a folder of releases")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder the image paths of the list are relative to")
    parser.add_argument("--cards", type=Path, required=True, metavar="CSV", help="card list")
    parser.add_argument("--negatives", type=Path, metavar="DIR", help="pictures without cards: questions, and backgrounds of the views")
    parser.add_argument("--model", type=Path, metavar="DIR", help="folder of the network (default: the one under hef/)")
    parser.add_argument("--sets", metavar="A,B", help="ask only for cards of these sets (all stay indexed)")
    parser.add_argument("--limit", type=int, metavar="N", help="ask only for N cards, chosen by the seed")
    parser.add_argument("--views", default="camera-4", metavar="NAMES", help=f"comma-separated, or all: {', '.join(PRESETS)}")
    parser.add_argument("--views-per-card", type=int, default=1, metavar="N", help="simulated views of each card (default 1)")
    parser.add_argument("--neighbors-k", type=int, default=NEIGHBORS_K, metavar="K", help=f"neighbours verified (default {NEIGHBORS_K})")
    parser.add_argument("--seed", type=int, default=2026, help="another seed, other views (default 2026)")
    parser.add_argument("--json", action="store_true", help="one JSON object per row on standard output")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
