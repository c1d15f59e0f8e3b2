"""``cardedge index info`` and ``search``: questions to a bundle, which change nothing."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

from edge.app.index import make_vector_index, with_projection
from edge.bundles.bundle import Bundle
from edge.bundles.manifest import Manifest
from edge.cli.arguments import positive_count
from edge.cli.output import print_error, print_json, print_line
from edge.errors import ExitCode, UsageError
from edge.index import releases
from edge.index.similar_cards import read_vector, similar_to_card, similar_to_embedding
from edge.index.similarity_statistics import SimilarityStatistics, Spread, similarity_statistics
from edge.recognition.gallery import Card

FOUND_BY_NAME: Final = 20
FOUND_SIMILAR: Final = 6


def add_info_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``info``."""
    parser.add_argument(
        "--statistics", action="store_true", help="also compare similarities within artwork groups with those between (takes seconds)"
    )


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``search``."""
    parser.add_argument("text", nargs="?", help="beginnings of words of the name or id")
    parser.add_argument("--like", metavar="ID", help="the cards most similar to this one")
    parser.add_argument(
        "--vector",
        type=Path,
        metavar="FILE",
        help="the cards most similar to an embedding: .npy, a JSON list, or the bytes of index/README.md",
    )
    parser.add_argument(
        "--limit",
        type=positive_count,
        metavar="N",
        help=f"list at most N cards (default {FOUND_BY_NAME}; {FOUND_SIMILAR} with --like or --vector)",
    )


def chosen_directory(args: argparse.Namespace) -> Path:
    """Return the bundle or root a command was given."""
    directory: Path = args.directory or args.index
    return directory


def info(args: argparse.Namespace) -> ExitCode:
    """Say what a bundle holds and what made it."""
    bundle = releases.open_index(chosen_directory(args))
    statistics = _statistics(bundle) if args.statistics else None
    if args.json:
        facts = {"statistics": asdict(statistics)} if statistics else {}
        print_json({"path": str(bundle.path), **bundle.manifest.model_dump(mode="json"), **facts})
    else:
        print_line(describe(bundle))
        if statistics is not None:
            print_line(describe_statistics(statistics))
    return ExitCode.OK


def search(args: argparse.Namespace) -> ExitCode:
    """Find cards by name, by likeness to a card, or by likeness to an embedding."""
    if sum(given is not None for given in (args.text, args.like, args.vector)) != 1:
        raise UsageError("index search: give words to look for, --like ID or --vector FILE; see `cardedge index search --help`")
    found = _found(releases.open_index(args.index), args)
    if not found:
        print_error("no card found")
    for line in found:
        print_line(line)
    return ExitCode.OK


def _found(bundle: Bundle, args: argparse.Namespace) -> list[str]:
    limit: int = args.limit or (FOUND_BY_NAME if args.text is not None else FOUND_SIMILAR)
    if args.text is not None:
        return [_card_line(card, bundle, None, as_json=args.json) for card in bundle.search_names(args.text, limit)]
    index = make_vector_index(bundle, "exact")
    if args.like is not None:
        similar = similar_to_card(bundle, args.like, index.search, limit)
    else:
        dim = bundle.manifest.projection.input_dim if bundle.manifest.projection else bundle.manifest.dim
        similar = similar_to_embedding(bundle, read_vector(args.vector, dim), with_projection(index, bundle).search, limit)
    return [_card_line(bundle.gallery.cards[card_id], bundle, similarity, as_json=args.json) for card_id, similarity in similar]


def _card_line(card: Card, bundle: Bundle, similarity: float | None, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(_card_facts(card, bundle, similarity), ensure_ascii=False)
    score = "" if similarity is None else f"{similarity:.3f}  "
    return f"{score}{card.card_id:<16}  {card.name}" + (f"  [{card.set} {card.number or ''}]" if card.set else "")


def _statistics(bundle: Bundle) -> SimilarityStatistics:
    gallery = bundle.gallery
    return similarity_statistics(bundle.vectors, [gallery.artwork_group(card_id) for card_id in gallery.entry_card_ids])


def describe_statistics(statistics: SimilarityStatistics) -> str:
    """Say how well the vectors tell the cards apart, for a person."""
    lines = {
        "within": _spread_text(statistics.within, "no artwork has two pictures"),
        "between": _spread_text(statistics.between, "there is one artwork"),
        "nearest": _spread_text(statistics.nearest_other, "there is one artwork") + "  (each entry's nearest of another artwork)",
        "AUC": "-" if statistics.auc is None else f"{statistics.auc:.4f} within against between",
        "hard AUC": "-" if statistics.hard_auc is None else f"{statistics.hard_auc:.4f} within against nearest",
    }
    return "\n".join(f"{what:<11}{text}" for what, text in lines.items())


def _spread_text(spread: Spread | None, otherwise: str) -> str:
    if spread is None:
        return otherwise
    return (
        f"{spread.mean:+.3f} ± {spread.deviation:.3f}, 1 % {spread.p1:+.3f}, median {spread.median:+.3f}, 99 % {spread.p99:+.3f}"
        f" of {spread.pairs} pairs"
    )


def describe(bundle: Bundle) -> str:
    """Say what a bundle is, for a person."""
    manifest = bundle.manifest
    recall, calibration = manifest.recall, manifest.calibration
    size_mb = sum(facts.size_bytes for facts in manifest.files.values()) / 1e6
    lines = {
        "bundle": f"{manifest.bundle_id}  {manifest.name}",
        "path": str(bundle.path),
        "created": f"{manifest.created:%Y-%m-%d %H:%M %Z}",
        "holds": f"{manifest.cards} cards, {manifest.artwork_groups} artworks, {manifest.entries} pictures, {size_mb:.1f} MB",
        "network": f"{manifest.model_id}  ({_origin(manifest)}, {_dimensions(manifest)})",
        "vectors": f"{manifest.vectors}, proposed by {_proposals(manifest)}",
        "recall": f"@1 {recall.at_1:.4f}, @{recall.k} {recall.at_k:.4f} of exact search ({recall.queries} queries)"
        if recall
        else "empty gallery",
        "thresholds": f"calibrated: {calibration.source}" if calibration else "not calibrated; the defaults apply",
    }
    return "\n".join(f"{what:<11}{text}" for what, text in lines.items())


def _origin(manifest: Manifest) -> str:
    return f"file {manifest.artefact[:12]}…" if manifest.artefact else "imported vectors, for search only"


def _proposals(manifest: Manifest) -> str:
    graph = manifest.graph
    if manifest.proposals == "int8":
        return "a scan over int8 rows"
    return f"a graph (connectivity {graph.connectivity}, expansion_search {graph.expansion_search})"


def _dimensions(manifest: Manifest) -> str:
    if manifest.projection is None:
        return f"{manifest.dim} dimensions"
    return f"{manifest.dim} dimensions of {manifest.projection.input_dim}, {manifest.projection.kept_variance:.1%} of the variance"


def _card_facts(card: Card, bundle: Bundle, similarity: float | None) -> dict[str, object]:
    facts: dict[str, object] = {"card_id": card.card_id, "name": card.name, "set": card.set, "number": card.number, "rarity": card.rarity}
    facts |= {"language": card.language, "attributes": dict(card.attributes), "printings": bundle.gallery.printings(card.card_id)}
    return facts if similarity is None else {**facts, "similarity": round(similarity, 4)}
