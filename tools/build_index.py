"""Build a bundle from images of cards and a card list.

    python -m tools.build_index --images DIR --cards cards.csv --out DIR [--model DIR] [--name NAME] [--report FILE] [--strict] [--json]
                                [--previous BUNDLE] [--format 2] [--calibrate --negatives DIR]

The list is CSV with a header row: card_id, name, image required; set, number, rarity, language, artwork_group, face known; other columns
are kept as attributes. Image paths are relative to --images. Images that cannot be used are listed and left out; nothing in the folder is
changed. Embeddings are cached: an interrupted build resumes, and only new or changed images are embedded. ``--calibrate`` measures the
bundle's thresholds too, as ``tools.calibrate`` does; if that fails, the bundle stays without a calibration.

Exit status: 0 done, 64 wrong usage or no folder of images, 65 bad or missing list, no usable image, recall below the bound, (--strict) a
mistake, or the bundle cannot be written (full disk, another build of it), 69 network unavailable, 130 interrupted: the embeddings so far
are in the cache.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
from tqdm import tqdm

from edge.adapters.hnsw import MIN_RECALL
from edge.adapters.onnx import OnnxEmbedder
from edge.bundles.writer import claimed
from edge.cli.arguments import CommandLineParser, positive_count
from edge.errors import EdgeError, ExitCode, UsageError
from edge.recognition.model import find_model, open_model, self_test
from tools.bundle_build.build import BuildSettings, Built, build_index
from tools.bundle_build.cache import EmbeddingCache, default_cache
from tools.bundle_build.card_list import read_card_list
from tools.bundle_build.engines import add_engine_options, chosen_engine
from tools.bundle_build.stages import EMBED_TIMEOUT_S
from tools.evaluation.bundle_calibration import CARDS, CalibrationPlan, calibrate_bundle
from tools.evaluation.queries import list_images
from tools.vectors.forms import add_form_options
from tools.vectors.reduction import check_dimensions, describe_reduction

if TYPE_CHECKING:
    pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit status."""
    args = _parser().parse_args(arguments)
    cv2.setNumThreads(1)  # images are small and many: whole images run side by side
    try:
        built = _run(args)
    except EdgeError as error:
        print(f"build_index: {error}", file=sys.stderr)
        return int(error.exit_code)
    except OSError as error:
        print(f"build_index: {error.filename or args.out}: {error.strerror or error}; nothing was written to {args.out}", file=sys.stderr)
        return int(ExitCode.BAD_DATA)
    except KeyboardInterrupt:
        kept = "" if args.no_cache or args.engine != "local" else f"; {args.cache} has the embeddings so far, the same command resumes"
        print(f"build_index: interrupted, nothing was written to {args.out}{kept}", file=sys.stderr)
        return int(ExitCode.INTERRUPTED)
    status = ExitCode.OK
    if args.calibrate:
        built, status = _calibrated(args, built)
    for finding in built.left_out:
        print(f"left out, line {finding.row.line}: {finding.reason}", file=sys.stderr)
    print(_as_json(args.out, built) if args.json else _as_text(args.out, built))
    return int(status)


def _run(args: argparse.Namespace) -> Built:
    # everything that can be refused is refused before the network runs for an hour
    card_list = read_card_list(args.cards)
    model = open_model(find_model(args.model))
    engine = chosen_engine(args, model)
    if args.negatives and not args.calibrate:
        raise UsageError("--negatives: used for calibrating only; give --calibrate too, or leave it out")
    if args.negatives:
        list_images(args.negatives)
    if args.pca is not None:
        check_dimensions(args.pca, len(card_list.rows), model.manifest.dim)
    settings = BuildSettings(
        args.name or args.out.name,
        args.threads,
        args.strict,
        args.min_recall,
        args.report,
        vectors=args.vectors,
        pca=args.pca,
        previous=args.previous,
        chunks=args.format == 3,
    )
    with ExitStack() as stack:
        stack.enter_context(claimed(args.out))
        embedder = OnnxEmbedder(model, threads=1, workers=args.threads, arena=True, submit_timeout_s=EMBED_TIMEOUT_S)
        stack.enter_context(closing(embedder))
        self_test(embedder.submit, model, kind="onnx")
        cache = (
            None
            if args.no_cache or engine
            else stack.enter_context(EmbeddingCache(args.cache, embedder.info.artifact_sha256, today=_today()))
        )
        bar = stack.enter_context(tqdm(total=len(card_list.rows), unit="card", desc="embedding", file=sys.stderr, disable=None))
        built = build_index(card_list, Path(args.images), args.out, embedder, settings, advance=bar.update, cache=cache, engine=engine)
        if cache and cache.damaged:
            print(f"{args.cache}: {cache.damaged} damaged records were embedded again; check the disk", file=sys.stderr)
        return built


def _calibrated(args: argparse.Namespace, built: Built) -> tuple[Built, ExitCode]:
    """Calibrate the bundle that was built; return it with its new manifest, or as it is with the exit status of what failed."""
    plan = CalibrationPlan(Path(args.images), args.cards, args.negatives, limit=args.calibrate_limit, threads=args.threads)
    kept = f"{args.out} is complete but not calibrated; run tools.calibrate"
    try:
        _, manifest = calibrate_bundle(args.out, open_model(find_model(args.model)), plan, day=datetime.now(UTC).date())
    except EdgeError as error:
        print(f"build_index: {error}; {kept}", file=sys.stderr)
        return built, error.exit_code
    except KeyboardInterrupt:
        print(f"build_index: interrupted; {kept}", file=sys.stderr)
        return built, ExitCode.INTERRUPTED
    return replace(built, manifest=manifest), ExitCode.OK


def _today() -> int:
    return datetime.now(UTC).date().toordinal()


def _parser() -> argparse.ArgumentParser:
    parser = CommandLineParser(prog="build_index", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--images",
        required=True,
        metavar="DIR",
        help="folder the image paths are relative to; with --engine daft also s3://…, https://… or *.parquet",
    )
    parser.add_argument("--cards", type=Path, required=True, metavar="CSV", help="the card list")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the bundle's directory; must not exist")
    parser.add_argument("--model", type=Path, metavar="DIR", help="folder of the network (default: the one under hef/)")
    parser.add_argument(
        "--previous",
        type=Path,
        metavar="BUNDLE",
        help="the bundle that the scanners have: cards in both keep their place, so that the update sends less",
    )
    parser.add_argument(
        "--format",
        type=int,
        choices=(2, 3),
        default=3,
        help="2: for scanners of version 0.1.0, which know no later format (default 3)",
    )
    parser.add_argument("--name", help="what people call the bundle (default: the name of --out)")
    parser.add_argument(
        "--threads",
        type=int,
        default=os.cpu_count() or 1,
        choices=range(1, 257),
        metavar="N",
        help="images read and embedded side by side (default: one per core)",
    )
    parser.add_argument("--strict", action="store_true", help="write nothing and exit with 65 when the list or an image has a mistake")
    parser.add_argument("--report", type=Path, metavar="FILE", help="HTML page with every image that was left out or noted")
    parser.add_argument(
        "--cache", type=Path, default=default_cache(), metavar="FILE", help="embeddings to use again (default: %(default)s)"
    )
    parser.add_argument("--no-cache", action="store_true", help="embed every image again and cache nothing")
    parser.add_argument(
        "--min-recall", type=_share, default=MIN_RECALL, metavar="R", help="recall@1 a bundle must reach (default: %(default)s)"
    )
    parser.add_argument("--calibrate", action="store_true", help="measure the bundle's thresholds as well (see tools.calibrate)")
    parser.add_argument("--negatives", type=Path, metavar="DIR", help="with --calibrate: images without cards")
    parser.add_argument(
        "--calibrate-limit", type=positive_count, default=CARDS, metavar="N", help="with --calibrate: at most N cards (default %(default)s)"
    )
    add_form_options(parser)
    add_engine_options(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object about the bundle on standard output")
    return parser


def _share(text: str) -> float:
    share = float(text)
    if not 0.0 <= share <= 1.0:
        raise ValueError
    return share


def _as_text(out: Path, built: Built) -> str:
    manifest = built.manifest
    recall = f", recall@1 {manifest.recall.at_1:.4f}" if manifest.recall else ""
    shared = manifest.cards - manifest.artwork_groups
    text = (
        f"{out}: bundle {manifest.bundle_id}, {manifest.cards} cards ({shared} share an artwork with another), {manifest.entries} images"
        f"{recall}; {len(built.left_out)} left out; {built.embedded} embedded, {built.images_per_s:.1f} images/s"
    )
    return f"{text}\n{describe_reduction(built.reduction)}" if built.reduction else text


def _as_json(out: Path, built: Built) -> str:
    manifest = built.manifest.model_dump(mode="json")
    facts = {key: manifest[key] for key in ("bundle_id", "name", "model_id", "cards", "entries", "artwork_groups", "graph", "recall")}
    figures = {"embedded": built.embedded, "images_per_s": round(built.images_per_s, 2)}
    found = {
        "left_out": [finding.as_record() for finding in built.left_out],
        "noted": [finding.as_record() for finding in built.findings if not finding.left_out],
    }
    reduction = {"reduction": asdict(built.reduction)} if built.reduction else {}
    return json.dumps({"path": str(out), **facts, **figures, **reduction, **found}, ensure_ascii=False)


if __name__ == "__main__":
    sys.exit(main())
