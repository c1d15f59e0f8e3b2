"""Query two bundles with the same photos and report what got better and what got worse.

    python -m tools.compare_bundles OLD NEW --photos DIR [--truth CSV] [--rectified] [--report FILE] [--json]

The card that a photo shows follows from its name (``B1-7.jpg``, ``B1-7_dark.jpg``) or from a CSV with the columns image and card_id, a row
per card; an empty card_id means no card of the index. For other photos the two results are only compared with each other.

Exit status: 0 done (also when answers got worse), 64 usage, 65 bad bundle, photo or list, 69 network unavailable.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from tqdm import tqdm

from edge.adapters.onnx import OnnxEmbedder
from edge.app.locator import open_locate
from edge.cli.arguments import CommandLineParser
from edge.errors import EdgeError, ExitCode, UsageError
from edge.recognition.model import Model, find_model, open_model
from edge.recognition.recognizer import Embedder
from edge.settings.sections import LocateSection
from tools.evaluation.bundle_comparison.comparison import summarize
from tools.evaluation.bundle_comparison.queried import compare_photos, open_queried_bundle
from tools.evaluation.bundle_comparison.report import BundlePair, as_record, as_text, write_report
from tools.evaluation.bundle_comparison.truth import list_photos, truth_in_list, truth_in_names
from tools.evaluation.cached_embedder import CachedEmbedder


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = _parser().parse_args(arguments)
    try:
        with ExitStack() as stack:
            models = [open_model(folder) for folder in _networks(args)]
            embedders = [stack.enter_context(closing(_embedder(model))) for model in models]
            old = open_queried_bundle(args.old, models[0], embedders[0])
            new = open_queried_bundle(args.new, models[-1], embedders[-1])
            photos = list_photos(args.photos)
            known = {*old.bundle.gallery.cards, *new.bundle.gallery.cards}
            truth = truth_in_list(args.truth, args.photos) if args.truth else truth_in_names(known)
            locate = None if args.rectified else stack.enter_context(open_locate(LocateSection()))
            comparisons = compare_photos(photos, old, new, truth, locate)
            compared = list(tqdm(comparisons, total=len(photos), unit="photo", file=sys.stderr, disable=None))
        summary, pair = summarize(compared), BundlePair(old.bundle, new.bundle)
        if args.report:
            write_report(args.report, pair, compared, summary)
    except EdgeError as error:
        print(f"compare_bundles: {error}", file=sys.stderr)
        return int(error.exit_code)
    print("\n".join(json.dumps(as_record(one), ensure_ascii=False) for one in compared) if args.json else as_text(pair, compared, summary))
    return int(ExitCode.OK)


def _networks(args: argparse.Namespace) -> list[Path]:
    """Return the folder of the model, or of both models if the bundles have different ones. Raises ``UsageError``."""
    new = find_model(args.model)
    if args.old_model is None:
        return [new]
    if not args.old_model.is_dir():
        raise UsageError(f"--old-model {args.old_model}: no such folder; name the network the old bundle was built with")
    return [args.old_model, new]


def _embedder(model: Model) -> Embedder:
    # both bundles search the same views: the network runs once
    return CachedEmbedder(OnnxEmbedder(model))


def _parser() -> argparse.ArgumentParser:
    parser = CommandLineParser(prog="compare_bundles", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, metavar="OLD", help="the bundle in use, or a device's index")
    parser.add_argument("new", type=Path, metavar="NEW", help="the new bundle")
    parser.add_argument("--photos", type=Path, required=True, metavar="DIR", help="folder of photos, searched with all folders below")
    parser.add_argument("--truth", type=Path, metavar="CSV", help="the cards that the photos show (default: by their names)")
    parser.add_argument("--rectified", action="store_true", help="each photo is one upright card, edge to edge")
    parser.add_argument("--model", type=Path, metavar="DIR", help="folder of the network (default: the one under hef/)")
    parser.add_argument("--old-model", type=Path, metavar="DIR", help="folder of the old bundle's network, if it is another")
    parser.add_argument("--report", type=Path, metavar="FILE", help="HTML page with the photos whose answer changed")
    parser.add_argument("--json", action="store_true", help="one JSON object per photo on standard output")
    return parser


if __name__ == "__main__":
    sys.exit(main())
