"""Build an index bundle from card pictures and a card list.

    python -m tools.build_index --images DIR --cards cards.csv --out DIR [--model DIR] [--name NAME] [--threads N] [--strict] [--json]

The list is CSV with a header row: card_id, name, image required; set, number, rarity, language, artwork_group known; other columns are
kept as attributes. Image paths are relative to --images. Pictures that cannot be used are named and left out.

Exit status: 0 done, 64 usage, 65 bad list, no usable picture, or (--strict) any picture left out, 69 network unavailable.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import cv2
from tqdm import tqdm

if __package__ in {None, ""}:  # started as a file: the project's root is not on the path yet
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edge.adapters.hnsw import write_graph
from edge.adapters.onnx import OnnxEmbedder
from edge.bundles.bundle_writing import BundleContents, check_new, write_bundle
from edge.bundles.manifest import Manifest
from edge.errors import DataError, EdgeError, ExitCode
from edge.model import open_model, self_test
from edge.model_search import find_model
from tools.card_list import CardList, read_card_list
from tools.gallery_build.finding import Finding
from tools.gallery_build.grouping import gallery_of, shown_pictures
from tools.gallery_build.stages import EMBED_TIMEOUT_S, Advance, Entries, embed_pictures

if TYPE_CHECKING:
    from edge.pipeline import Embedder


@dataclass(frozen=True, slots=True)
class Built:
    """What a run made. ``images_per_s`` counts reading and embedding together."""

    manifest: Manifest
    left_out: tuple[Finding, ...]
    images_per_s: float


def build_index(card_list: CardList, images: Path, out: Path, embedder: Embedder, *, name: str, threads: int, advance: Advance) -> Built:
    """Build a bundle at ``out``, which must not exist. ``advance`` hears of each picture done. Raises ``EdgeError``."""
    check_new(out)
    started = time.monotonic()
    entries = embed_pictures(card_list.rows, images, embedder, threads=threads, advance=advance)
    images_per_s = len(card_list.rows) / (time.monotonic() - started)
    return Built(write_entries(entries, card_list, out, embedder, name=name), entries.findings, images_per_s)


def write_entries(entries: Entries, card_list: CardList, out: Path, embedder: Embedder, *, name: str) -> Manifest:
    """Group the entries and write them as a bundle."""
    if not entries.pictures:
        first = entries.findings[0]
        raise DataError(f"{card_list.path}: none of its {len(card_list.rows)} pictures is usable; the first: {first.reason}")
    contents = BundleContents(
        name=name,
        model_id=embedder.model_id,
        artefact=embedder.artefact,
        vectors=entries.vectors,
        gallery=gallery_of(entries, groups_given=card_list.groups_given),
        pictures=shown_pictures(entries),
        created=datetime.now(UTC).replace(microsecond=0),
    )
    return write_bundle(out, contents, write_graph)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit status."""
    args = _parser().parse_args(arguments)
    cv2.setNumThreads(1)  # pictures are small and many: whole pictures run side by side
    try:
        built = _run(args)
    except EdgeError as error:
        print(f"build_index: {error}", file=sys.stderr)
        return int(error.exit_code)
    for left_out in built.left_out:
        print(f"left out, line {left_out.line}: {left_out.reason}", file=sys.stderr)
    print(_as_json(args.out, built) if args.json else _as_text(args.out, built))
    return int(ExitCode.BAD_DATA if args.strict and built.left_out else ExitCode.OK)


def _run(args: argparse.Namespace) -> Built:
    # everything that can be refused is refused before the network runs for an hour
    check_new(args.out)
    card_list = read_card_list(args.cards)
    model = open_model(find_model(args.model))
    with closing(OnnxEmbedder(model, threads=1, workers=args.threads, arena=True, submit_timeout_s=EMBED_TIMEOUT_S)) as embedder:
        self_test(embedder.submit, model, kind="onnx")
        with tqdm(total=len(card_list.rows), unit="card", desc="embedding", file=sys.stderr, disable=None) as bar:
            return build_index(
                card_list, args.images, args.out, embedder, name=args.name or args.out.name, threads=args.threads, advance=bar.update
            )


class _Parser(argparse.ArgumentParser):
    """Ends with our own status for a wrong command line."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}; see --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="build_index", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="folder the image paths are relative to")
    parser.add_argument("--cards", type=Path, required=True, metavar="CSV", help="the card list")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the bundle's directory; must not exist")
    parser.add_argument("--model", type=Path, metavar="DIR", help="folder of the network (default: the one under hef/)")
    parser.add_argument("--name", help="what people call the bundle (default: the name of --out)")
    parser.add_argument(
        "--threads",
        type=int,
        default=os.cpu_count() or 1,
        choices=range(1, 257),
        metavar="N",
        help="pictures read and embedded side by side (default: one per core)",
    )
    parser.add_argument("--strict", action="store_true", help="exit with 65 when any picture had to be left out")
    parser.add_argument("--json", action="store_true", help="one JSON object about the bundle on standard output")
    return parser


def _as_text(out: Path, built: Built) -> str:
    manifest = built.manifest
    recall = f", recall@1 {manifest.recall.at_1:.4f}" if manifest.recall else ""
    shared = manifest.cards - manifest.artwork_groups
    return (
        f"{out}: bundle {manifest.bundle_id}, {manifest.cards} cards ({shared} share an artwork with another), {manifest.entries} pictures"
        f"{recall}; {len(built.left_out)} left out; {built.images_per_s:.1f} pictures/s"
    )


def _as_json(out: Path, built: Built) -> str:
    manifest = built.manifest.model_dump(mode="json")
    facts = {key: manifest[key] for key in ("bundle_id", "name", "model_id", "cards", "entries", "artwork_groups", "graph", "recall")}
    left_out = [{"line": one.line, "image": one.image, "reason": one.reason} for one in built.left_out]
    return json.dumps({"path": str(out), **facts, "images_per_s": round(built.images_per_s, 2), "left_out": left_out}, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())
