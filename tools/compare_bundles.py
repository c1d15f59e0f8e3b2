"""Ask two bundles the same photos and say what got better and what got worse.

    python -m tools.compare_bundles OLD NEW --photos DIR [--truth CSV] [--rectified] [--report FILE] [--json]

What a photo shows is told by its name (``B1-7.jpg``, ``B1-7_dark.jpg``) or by a CSV with the columns image and card_id, a row per card;
an empty card_id: no card of the index. Photos of which nobody said it are compared by their answers alone.

Exit status: 0 done (also when things got worse: look, then decide), 64 usage, 65 bad bundle, photo or list, 69 network unavailable.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from edge.adapters.onnx import OnnxEmbedder
from edge.app.index import make_vector_index, with_projection
from edge.bundles.bundle import Bundle
from edge.cli.arguments import CommandLineParser
from edge.errors import EdgeError, ExitCode, UsageError
from edge.index.releases import open_index
from edge.recognition.model import find_model, open_model
from edge.recognition.recognizer import Embedder, LoadedGallery, Recognizer
from edge.vision.card import LocatedCard, whole_image_quad
from edge.vision.frame import RgbImage
from edge.vision.image_file import read_image
from edge.vision.locate import BOTH_WAYS, LocateSettings, locate_cards
from tools.evaluation.bundle_comparison.answers import Answer, answer_of
from tools.evaluation.bundle_comparison.comparison import Compared, summarise
from tools.evaluation.bundle_comparison.report import BundlePair, as_text, write_report
from tools.evaluation.bundle_comparison.truth import Truth, list_photos, truth_in_list, truth_in_names
from tools.evaluation.cached_embedder import CachedEmbedder

_THUMBNAIL_SIDE = 240
_JPEG_QUALITY = 80


@dataclass(frozen=True, slots=True, eq=False)
class LabeledView:
    """A bundle that can be asked for answers."""

    bundle: Bundle
    recognizer: Recognizer

    def answer(self, pixels: RgbImage, located: Sequence[LocatedCard]) -> Answer:
        """Return what the bundle says to the cards located in a photo."""
        names = {card_id: card.name for card_id, card in self.bundle.gallery.cards.items()}
        return answer_of(self.recognizer.recognize(pixels, located), names)


def ask_bundle(path: Path, embedder: Embedder) -> LabeledView:
    """Open a bundle (or a device's index) that the embedder's network made."""
    bundle = open_index(path, expected_model_id=embedder.info.model_id)
    index = with_projection(make_vector_index(bundle, "hnsw"), bundle)
    return LabeledView(bundle, Recognizer(embedder, LoadedGallery(bundle.manifest.bundle_id, bundle.gallery, index, bundle.thresholds)))


def compare(photos: Sequence[Path], old: LabeledView, new: LabeledView, truth: Truth, *, rectified: bool) -> Iterator[Compared]:
    """Yield what both bundles say to each photo; cards are located once. ``rectified``: each photo *is* one card."""
    for photo in photos:
        pixels = read_image(photo)
        whole = (LocatedCard(whole_image_quad(pixels), BOTH_WAYS, sharpness=0.0),)
        located = whole if rectified else locate_cards(pixels, LocateSettings())
        yield Compared(photo, truth(photo), old.answer(pixels, located), new.answer(pixels, located), _thumbnail(pixels))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit status."""
    args = _parser().parse_args(arguments)
    try:
        with ExitStack() as stack:
            embedders = [stack.enter_context(closing(_embedder(folder))) for folder in _networks(args)]
            old, new = ask_bundle(args.old, embedders[0]), ask_bundle(args.new, embedders[-1])
            photos = list_photos(args.photos)
            known = {*old.bundle.gallery.cards, *new.bundle.gallery.cards}
            truth = truth_in_list(args.truth, args.photos) if args.truth else truth_in_names(known)
            asked = compare(photos, old, new, truth, rectified=args.rectified)
            compared = list(tqdm(asked, total=len(photos), unit="photo", file=sys.stderr, disable=None))
        summary, sides = summarise(compared), BundlePair(old.bundle, new.bundle)
        if args.report:
            write_report(args.report, sides, compared, summary)
    except EdgeError as error:
        print(f"compare_bundles: {error}", file=sys.stderr)
        return int(error.exit_code)
    print(
        "\n".join(json.dumps(_as_record(one), ensure_ascii=False) for one in compared) if args.json else as_text(sides, compared, summary)
    )
    return int(ExitCode.OK)


def _networks(args: argparse.Namespace) -> list[Path]:
    """Return the folder of the network, or of both where the old bundle has another."""
    new = find_model(args.model)
    if args.old_model is None:
        return [new]
    if not args.old_model.is_dir():
        raise UsageError(f"--old-model {args.old_model}: no such folder; name the network the old bundle was built with")
    return [args.old_model, new]


def _embedder(folder: Path) -> Embedder:
    # both bundles ask for the same views: the network runs once
    return CachedEmbedder(OnnxEmbedder(open_model(folder)))


def _thumbnail(pixels: RgbImage) -> bytes:
    scale = min(1.0, _THUMBNAIL_SIDE / max(pixels.shape[:2]))
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(np.asarray(small), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return jpeg.tobytes()


def _as_record(one: Compared) -> dict[str, object]:
    def said(answer: Answer) -> dict[str, object]:
        named = [{"card_id": card.card_id, "name": card.name, "printings": list(card.printings)} for card in answer.named]
        return {"named": named, "refused": answer.refused}

    truth = None if one.truth is None else sorted(one.truth)
    return {"photo": str(one.photo), "change": one.change, "truth": truth, "old": said(one.old), "new": said(one.new)}


def _parser() -> argparse.ArgumentParser:
    parser = CommandLineParser(prog="compare_bundles", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, metavar="OLD", help="the bundle in use, or a device's index")
    parser.add_argument("new", type=Path, metavar="NEW", help="the bundle to come")
    parser.add_argument("--photos", type=Path, required=True, metavar="DIR", help="folder of photos, searched with all folders below")
    parser.add_argument("--truth", type=Path, metavar="CSV", help="what the photos show (default: told by their names)")
    parser.add_argument("--rectified", action="store_true", help="each photo is one upright card, edge to edge")
    parser.add_argument("--model", type=Path, metavar="DIR", help="folder of the network (default: the one under hef/)")
    parser.add_argument("--old-model", type=Path, metavar="DIR", help="folder of the old bundle's network, where it is another")
    parser.add_argument("--report", type=Path, metavar="FILE", help="HTML page with the photos whose answer changed")
    parser.add_argument("--json", action="store_true", help="one JSON object per photo on standard output")
    return parser


if __name__ == "__main__":
    sys.exit(main())
