"""``cardedge index info`` and ``search``: read a bundle and change nothing."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

from edge.app.index import make_vector_index, with_projection
from edge.app.model import load_text_embedder
from edge.bundles.bundle import Bundle
from edge.bundles.calibration import REFUSED
from edge.bundles.manifest import Manifest
from edge.cli.arguments import AddCommand, add_index_option, positive_count
from edge.cli.output import print_error, print_json, print_line
from edge.errors import ExitCode, UsageError
from edge.index import releases
from edge.index.similar_cards import read_vector, similar_to_card, similar_to_embedding
from edge.index.similarity_statistics import SimilarityStatistics, Spread, similarity_statistics
from edge.recognition.description import embed_description, unknown_words
from edge.recognition.embedding import EmbeddingMatrix, ModelId
from edge.recognition.gallery import Card

NAME_LIMIT: Final = 20
SIMILAR_LIMIT: Final = 6
"""How many cards a search lists by default, by words and by similarity."""


def add_info(add: AddCommand) -> None:
    """Add ``info``."""
    parser = add("info", _info, "Show what a bundle contains and how it was made.")
    parser.add_argument(
        "--statistics", action="store_true", help="also compare similarities within and between artwork groups (takes seconds)"
    )
    add_directory_argument(parser)


def add_directory_argument(parser: argparse.ArgumentParser) -> None:
    """Add the argument ``directory``, and ``--index`` for the same; ``chosen_directory`` returns the one that was given."""
    parser.add_argument("directory", type=Path, nargs="?", help="bundle or device index (same as --index)")
    add_index_option(parser)


def chosen_directory(args: argparse.Namespace) -> Path:
    """Return the bundle or device index given as argument or with ``--index``."""
    directory: Path = args.directory or args.index
    return directory


def add_search(add: AddCommand) -> None:
    """Add ``search``."""
    parser = add("search", _search, "Find cards by name, id, description or similarity. Similarity is to a card or to an embedding.")
    parser.add_argument("text", nargs="?", help="beginnings of words of the name or id")
    parser.add_argument("--like", metavar="ID", help="find the cards most similar to this card")
    parser.add_argument(
        "--vector",
        type=Path,
        metavar="FILE",
        help="find the cards most similar to an embedding: a .npy file, a JSON list, or the bytes described in index/README.md",
    )
    parser.add_argument(
        "--describe", metavar="TEXT", help="find the cards whose picture fits a description best, for example 'red dragon in the rain'"
    )
    parser.add_argument(
        "--text-model", type=Path, metavar="DIR", help="folder of the text model for --describe (default: the only one under hef/)"
    )
    parser.add_argument(
        "--limit",
        type=positive_count,
        metavar="N",
        help=f"list at most N cards (default: {NAME_LIMIT}; {SIMILAR_LIMIT} by similarity or description)",
    )
    add_index_option(parser)


def _info(args: argparse.Namespace) -> ExitCode:
    bundle = releases.open_index(chosen_directory(args))
    statistics = _statistics(bundle) if args.statistics else None
    if args.json:
        values = {"statistics": asdict(statistics)} if statistics else {}
        print_json({"path": str(bundle.path), **bundle.manifest.model_dump(mode="json"), **values})
    else:
        print_line(bundle_text(bundle))
        if statistics is not None:
            print_line(statistics_text(statistics))
    return ExitCode.OK


def _search(args: argparse.Namespace) -> ExitCode:
    if sum(given is not None for given in (args.text, args.like, args.vector, args.describe)) != 1:
        raise UsageError("index search: give either words, --like ID, --vector FILE or --describe TEXT; see `cardedge index search --help`")
    found = _found(releases.open_index(args.index), args)
    if not found:
        print_error("no card found")
    for line in found:
        print_line(line)
    return ExitCode.OK


def _found(bundle: Bundle, args: argparse.Namespace) -> list[str]:
    limit: int = args.limit or (NAME_LIMIT if args.text is not None else SIMILAR_LIMIT)
    if args.text is not None:
        return [_card_line(card, bundle, None, as_json=args.json) for card in bundle.search_names(args.text, limit)]
    index = make_vector_index(bundle, "exact")
    if args.like is not None:
        similar = similar_to_card(bundle, args.like, index.search, limit)
    else:
        embedding = _described(bundle, args) if args.describe is not None else _stored(bundle, args.vector)
        similar = similar_to_embedding(bundle, embedding, with_projection(index, bundle).search, limit)
    return [_card_line(bundle.gallery.cards[card_id], bundle, similarity, as_json=args.json) for card_id, similarity in similar]


def _described(bundle: Bundle, args: argparse.Namespace) -> EmbeddingMatrix:
    """Return the embedding of ``--describe``; report words that the text model has not learned."""
    embedder = load_text_embedder(args.text_model)
    embedding = embed_description(args.describe, embedder, ModelId(bundle.manifest.model_id))
    if unknown := unknown_words(args.describe, embedder.info):
        print_error(f"words that the text model was not trained with: {', '.join(unknown)}")
    return embedding


def _stored(bundle: Bundle, path: Path) -> EmbeddingMatrix:
    return read_vector(path, bundle.manifest.projection.input_dim if bundle.manifest.projection else bundle.manifest.dim)


def _card_line(card: Card, bundle: Bundle, similarity: float | None, *, as_json: bool) -> str:
    if as_json:
        return json.dumps(_card_values(card, bundle, similarity), ensure_ascii=False)
    score = "" if similarity is None else f"{similarity:.3f}  "
    return f"{score}{card.card_id:<16}  {card.name}" + (f"  [{card.set} {card.number or ''}]" if card.set else "")


def _statistics(bundle: Bundle) -> SimilarityStatistics:
    gallery = bundle.gallery
    return similarity_statistics(bundle.vectors, [gallery.artwork_group(card_id) for card_id in gallery.entry_card_ids])


def statistics_text(statistics: SimilarityStatistics) -> str:
    """Return statistics of the similarities within and between artworks as lines of text."""
    lines = {
        "within": _spread_text(statistics.within, "no artwork has two entries"),
        "between": _spread_text(statistics.between, "there is only one artwork"),
        "nearest": _spread_text(statistics.nearest_other, "there is only one artwork")
        + "  (nearest entry of another artwork, for each entry)",
        "AUC": "-" if statistics.auc is None else f"{statistics.auc:.4f} within vs. between",
        "hard AUC": "-" if statistics.hard_auc is None else f"{statistics.hard_auc:.4f} within vs. nearest",
    }
    return "\n".join(f"{label:<11}{text}" for label, text in lines.items())


def _spread_text(spread: Spread | None, absent: str) -> str:
    if spread is None:
        return absent
    return (
        f"{spread.mean:+.3f} ± {spread.deviation:.3f}, 1 % {spread.p1:+.3f}, median {spread.median:+.3f}, 99 % {spread.p99:+.3f}"
        f" of {spread.pairs} pairs"
    )


def _publication(manifest: Manifest) -> str:
    counter = f", counter {manifest.counter}" if manifest.counter else ""
    return counter + (f", expires {manifest.expires:%Y-%m-%d %H:%M %Z}" if manifest.expires else "")


def bundle_text(bundle: Bundle) -> str:
    """Return what a bundle contains and how it was made as lines of text."""
    manifest = bundle.manifest
    recall, calibration = manifest.recall, manifest.calibration
    size_mb = sum(file.size_bytes for file in manifest.files.values()) / 1e6
    lines = {
        "bundle": f"{manifest.bundle_id}  {manifest.name}",
        "path": str(bundle.path),
        "created": f"{manifest.created:%Y-%m-%d %H:%M %Z}{_publication(manifest)}",
        "holds": f"{manifest.cards} cards, {manifest.artwork_groups} artworks, {manifest.entries} entries, {size_mb:.1f} MB",
        "model": f"{manifest.model_id}  ({_origin(manifest)}, {_dimensions(manifest)})",
        "vectors": f"{manifest.vectors}, proposed by {_proposals(manifest)}",
        "recall": f"@1 {recall.at_1:.4f}, @{recall.k} {recall.at_k:.4f} of exact search ({recall.queries} queries)"
        if recall
        else "no entries",
        "thresholds": f"calibrated: {calibration.source}" if calibration else "not calibrated; defaults apply",
    }
    measured = calibration.figures if calibration else {}
    risks = [f"{100 * measured[name]:.1f} % of {what}" for name, what in REFUSED.items() if name in measured]
    if risks:
        lines["refused"] = ", ".join(risks)
    return "\n".join(f"{label:<11}{text}" for label, text in lines.items())


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


def _card_values(card: Card, bundle: Bundle, similarity: float | None) -> dict[str, object]:
    values: dict[str, object] = {"card_id": card.card_id, "name": card.name, "set": card.set, "number": card.number, "rarity": card.rarity}
    values |= {"language": card.language, "attributes": dict(card.attributes), "printings": bundle.gallery.printings(card.card_id)}
    return values if similarity is None else {**values, "similarity": round(similarity, 4)}
