"""Build an index bundle from card pictures and a card list.

    python -m tools.build_index --images DIR --cards cards.csv --out DIR [--model DIR] [--name NAME] [--report FILE] [--strict] [--json]

The list is CSV with a header row: card_id, name, image required; set, number, rarity, language, artwork_group, face known; other columns
are kept as attributes. Image paths are relative to --images. Pictures that cannot be used are named and left out; nothing in the folder is
ever changed. Embeddings are cached: a build that was broken off goes on where it was, and only new or changed pictures are embedded.

Exit status: 0 done, 64 usage, 65 bad list, no usable picture, recall below the bound, or (--strict) a mistake, 69 network unavailable.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
from tqdm import tqdm

from edge.adapters.hnsw import RECALL_WANTED
from edge.adapters.onnx import OnnxEmbedder
from edge.bundles.manifest import GraphParameters, Manifest
from edge.bundles.vector_files import StoredVectors
from edge.bundles.writer import BuiltGraph, BundleContents, GraphWriter, check_new, write_bundle
from edge.cli.arguments import CommandLineParser
from edge.errors import DataError, EdgeError, ExitCode
from edge.recognition.model import find_model, open_model, self_test
from tools.bundle_build.cache import EmbeddingCache, default_cache
from tools.bundle_build.card_list import CardList, read_card_list
from tools.bundle_build.engines import Engine, add_engine_options, chosen_engine
from tools.bundle_build.finding import ImageFinding
from tools.bundle_build.grouping import gallery_of, shown_pictures
from tools.bundle_build.inspection import in_list_order, refuse
from tools.bundle_build.report import write_report
from tools.bundle_build.set_checks import artwork_findings, check_set
from tools.bundle_build.stages import EMBED_TIMEOUT_S, Advance, embed_pictures
from tools.vectors.forms import FORMS, add_form_options, proposal_writer
from tools.vectors.reduction import ReductionCost, check_dimensions, describe_reduction, fit_pca, measure_reduction

if TYPE_CHECKING:
    from edge.recognition.recognizer import Embedder


@dataclass(frozen=True, slots=True)
class Built:
    """What a run made: ``images_per_s`` counts reading and embedding together, ``embedded`` the pictures that were in no cache.

    ``reduction`` is what projecting to fewer dimensions cost.
    """

    manifest: Manifest
    findings: tuple[ImageFinding, ...]
    embedded: int
    images_per_s: float
    reduction: ReductionCost | None = None

    @property
    def left_out(self) -> tuple[ImageFinding, ...]:
        """Return the pictures the bundle does without."""
        return tuple(finding for finding in self.findings if finding.left_out)


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """How to build. ``strict`` refuses a list with mistakes; a bundle below ``min_recall`` against exact search is not written.

    ``vectors`` names one of ``tools.vectors.forms.FORMS``; ``pca`` is how many principal components are kept.
    """

    name: str
    threads: int
    strict: bool = False
    min_recall: float = RECALL_WANTED
    report: Path | None = None
    vectors: str = "float16"
    pca: int | None = None


def build_index(
    card_list: CardList,
    images: Path,
    out: Path,
    embedder: Embedder,
    settings: BuildSettings,
    *,
    advance: Advance,
    cache: EmbeddingCache | None = None,
    engine: Engine | None = None,
) -> Built:
    """Build a bundle at ``out``, which must not exist. ``advance`` hears of each picture done. Raises ``EdgeError``.

    ``engine`` reads and embeds elsewhere, with the network of ``embedder``; then neither ``images`` nor ``cache`` is used.
    """
    check_new(out)
    started = time.monotonic()
    if engine is not None:
        entries = engine(card_list.rows)
        advance(len(card_list.rows))
    else:
        entries = embed_pictures(card_list.rows, images, embedder, threads=settings.threads, advance=advance, cache=cache)
    images_per_s = len(card_list.rows) / (time.monotonic() - started)
    embedded = len(entries.pictures) - (cache.found if cache else 0)
    entries = entries.judged(check_set(entries.pictures, entries.references))
    gallery = gallery_of(entries, groups_given=card_list.groups_given)
    findings = in_list_order((*entries.findings, *artwork_findings(entries.pictures, entries.references, gallery)))
    if settings.report:
        write_report(settings.report, findings, card_list)
    refuse(findings, card_list, strict=settings.strict)
    reduction = fit_pca(entries.vectors, settings.pca) if settings.pca is not None else None
    contents = BundleContents(
        name=settings.name,
        model_id=embedder.info.model_id,
        artefact=embedder.info.artifact_sha256,
        vectors=reduction.projection.apply(entries.vectors) if reduction else entries.vectors,
        gallery=gallery,
        reference_images=shown_pictures(entries),
        created=datetime.now(UTC).replace(microsecond=0),
        form=FORMS[settings.vectors],
        reduction=reduction,
    )
    manifest = write_bundle(out, contents, proven(proposal_writer(contents.form), settings.min_recall))
    groups = [gallery.artwork_group(card_id) for card_id in gallery.entry_card_ids]
    cost = measure_reduction(entries.vectors, groups, reduction) if reduction else None
    return Built(manifest, findings, embedded, images_per_s, cost)


def proven(write: GraphWriter, min_recall: float) -> GraphWriter:
    """Return a graph writer that raises ``DataError`` when the graph finds too few of the entries that exact search finds."""

    def write_and_check(vectors: StoredVectors, parameters: GraphParameters, path: Path) -> BuiltGraph:
        graph = write(vectors, parameters, path)
        if graph.recall and graph.recall.at_1 < min_recall:
            raise DataError(
                f"recall@1 against exact search is {graph.recall.at_1:.4f}, below {min_recall:g}; "
                "look for many pictures that are alike (tools/inspect_images.py), or accept less with --min-recall"
            )
        return graph

    return write_and_check


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit status."""
    args = _parser().parse_args(arguments)
    cv2.setNumThreads(1)  # pictures are small and many: whole pictures run side by side
    try:
        built = _run(args)
    except EdgeError as error:
        print(f"build_index: {error}", file=sys.stderr)
        return int(error.exit_code)
    for finding in built.left_out:
        print(f"left out, line {finding.row.line}: {finding.reason}", file=sys.stderr)
    print(_as_json(args.out, built) if args.json else _as_text(args.out, built))
    return int(ExitCode.OK)


def _run(args: argparse.Namespace) -> Built:
    # everything that can be refused is refused before the network runs for an hour
    check_new(args.out)
    card_list = read_card_list(args.cards)
    model = open_model(find_model(args.model))
    engine = chosen_engine(args, model)
    if args.pca is not None:
        check_dimensions(args.pca, len(card_list.rows), model.manifest.dim)
    settings = BuildSettings(
        args.name or args.out.name, args.threads, args.strict, args.min_recall, args.report, vectors=args.vectors, pca=args.pca
    )
    with ExitStack() as stack:
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
            print(f"{args.cache}: {cache.damaged} damaged records were embedded anew; check the disk", file=sys.stderr)
        return built


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
    parser.add_argument("--name", help="what people call the bundle (default: the name of --out)")
    parser.add_argument(
        "--threads",
        type=int,
        default=os.cpu_count() or 1,
        choices=range(1, 257),
        metavar="N",
        help="pictures read and embedded side by side (default: one per core)",
    )
    parser.add_argument("--strict", action="store_true", help="write nothing and exit with 65 when the list or a picture has a mistake")
    parser.add_argument("--report", type=Path, metavar="FILE", help="HTML page with every picture that was left out or noted")
    parser.add_argument(
        "--cache", type=Path, default=default_cache(), metavar="FILE", help="embeddings to use again (default: %(default)s)"
    )
    parser.add_argument("--no-cache", action="store_true", help="embed every picture anew and keep nothing")
    parser.add_argument(
        "--min-recall", type=_share, default=RECALL_WANTED, metavar="R", help="recall@1 a bundle must reach (default: %(default)s)"
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
    told = (
        f"{out}: bundle {manifest.bundle_id}, {manifest.cards} cards ({shared} share an artwork with another), {manifest.entries} pictures"
        f"{recall}; {len(built.left_out)} left out; {built.embedded} embedded, {built.images_per_s:.1f} pictures/s"
    )
    return f"{told}\n{describe_reduction(built.reduction)}" if built.reduction else told


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
