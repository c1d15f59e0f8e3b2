"""``cardedge index``: look at bundles, check them, choose which one serves."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

from edge.app import make_vector_index
from edge.bundles import releases
from edge.bundles.bundle import Bundle, open_bundle, run_self_test
from edge.bundles.manifest import Manifest
from edge.errors import BundleError, ExitCode, UsageError
from edge.gallery import Card
from edge.neighbors import CardId

DEFAULT_INDEX: Final = Path("/var/lib/cardedge/index")

_Command: TypeAlias = Callable[[argparse.Namespace], ExitCode]
_Subparsers: TypeAlias = "argparse._SubParsersAction[Any]"  # noqa: SLF001 - argparse gives it no public name


def add_parser(subparsers: _Subparsers, common: argparse.ArgumentParser | None = None) -> None:
    """Add ``index`` and its sub-commands; ``common`` holds options every command takes. Each sets ``command`` to ``run``."""
    parents = [common] if common else []
    index = subparsers.add_parser("index", help="the device's bundles: look, check, choose", parents=parents)
    index.set_defaults(command=run)
    actions = index.add_subparsers(metavar="ACTION", title="actions", required=True)

    def add(name: str, action: _Command, text: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text, parents=parents)
        parser.set_defaults(command=run, action=action)
        parser.add_argument("--json", action="store_true", help="one JSON object per line on standard output, nothing else there")
        return parser

    for name, action, text in (
        ("info", _info, "Say what a bundle holds and what made it."),
        ("verify", _verify, "Read every byte of a bundle and ask its self-test queries."),
    ):
        parser = add(name, action, text)
        parser.add_argument("directory", type=Path, nargs="?", help="a bundle, or a device's root (same as --index)")
        _index_option(parser)
    _index_option(add("list", _list, "List the installed releases, newest first."))
    activate = add("activate", _activate, "Check a release completely and let it serve; a bundle from elsewhere is installed first.")
    activate.add_argument("bundle", help="id of an installed release, or the directory of a bundle")
    _index_option(activate)
    _index_option(add("rollback", _rollback, "Let the release before the current one serve again."))
    search = add("search", _search, "Find cards by name or id, or cards that look like a card.")
    search.add_argument("text", nargs="?", help="beginnings of words of the name or id")
    search.add_argument("--like", metavar="ID", help="the cards most similar to this one")
    search.add_argument("--limit", type=_positive_count, default=20, metavar="N", help="list at most N cards (default 20)")
    _index_option(search)


def run(args: argparse.Namespace) -> ExitCode:
    """Run the chosen action. Raises ``EdgeError``."""
    action: _Command = args.action
    return action(args)


def _info(args: argparse.Namespace) -> ExitCode:
    bundle = releases.open_index(_directory(args))
    if args.json:
        _print_json({"path": str(bundle.path), **bundle.manifest.model_dump(mode="json")})
    else:
        _print(describe(bundle))
    return ExitCode.OK


def _verify(args: argparse.Namespace) -> ExitCode:
    directory = _directory(args)
    bundle_path = directory / releases.CURRENT if releases.is_root(directory) else directory
    bundle = open_bundle(bundle_path)
    run_self_test(bundle, make_vector_index(bundle, "hnsw").search)
    manifest = bundle.manifest
    if args.json:
        facts = {"path": str(bundle.path), "bundle_id": manifest.bundle_id, "status": "ok", "entries": manifest.entries}
        _print_json({**facts, "self_test_queries": len(manifest.self_test)})
    else:
        size_mb = sum(facts.size_bytes for facts in manifest.files.values()) / 1e6
        _print(f"{bundle.path}: good: {size_mb:.1f} MB hashed, {manifest.entries} vectors, {len(manifest.self_test)} self-test queries")
    return ExitCode.OK


def _list(args: argparse.Namespace) -> ExitCode:
    for release in releases.list_releases(args.index):
        manifest = release.manifest
        if args.json:
            facts = {"name": manifest.name, "created": manifest.created.isoformat(), "cards": manifest.cards} if manifest else {}
            places = {"current": release.current, "previous": release.previous, "problem": release.problem}
            _print_json({"bundle_id": release.bundle_id, **facts, **places})
        else:
            place = "current" if release.current else "previous" if release.previous else ""
            what = f"{manifest.created:%Y-%m-%d %H:%M}  {manifest.cards:>6} cards  {manifest.name}" if manifest else release.problem
            _print(f"{release.bundle_id}  {place:<8}  {what}")
    return ExitCode.OK


def _activate(args: argparse.Namespace) -> ExitCode:
    bundle_id: str = args.bundle
    if Path(bundle_id).is_dir():
        bundle_id = releases.install(args.index, Path(bundle_id)).bundle_id
    return _now_serving(args, releases.activate(args.index, bundle_id))


def _rollback(args: argparse.Namespace) -> ExitCode:
    return _now_serving(args, releases.rollback(args.index))


def _now_serving(args: argparse.Namespace, manifest: Manifest) -> ExitCode:
    previous = releases.previous_id(args.index)
    if args.json:
        _print_json({"current": manifest.bundle_id, "previous": previous, "name": manifest.name, "cards": manifest.cards})
    else:
        _print(f"current is {manifest.bundle_id} ({manifest.name}, {manifest.cards} cards); a running daemon takes it on SIGHUP")
    return ExitCode.OK


def _search(args: argparse.Namespace) -> ExitCode:
    if (args.text is None) == (args.like is None):
        raise UsageError("index search: give either words to look for or --like ID; see `cardedge index search --help`")
    bundle = releases.open_index(args.index)
    found: list[tuple[Card, float | None]]
    if args.text is not None:
        found = [(card, None) for card in bundle.search_names(args.text, args.limit)]
    else:
        found = [(bundle.gallery.cards[card_id], similarity) for card_id, similarity in most_similar(bundle, args.like, args.limit)]
    if not found:
        print("no card found", file=sys.stderr)
    for card, similarity in found:
        if args.json:
            _print_json(_card_facts(card, bundle, similarity))
        else:
            score = "" if similarity is None else f"{similarity:.3f}  "
            _print(f"{score}{card.card_id:<16}  {card.name}" + (f"  [{card.set} {card.number or ''}]" if card.set else ""))
    return ExitCode.OK


def most_similar(bundle: Bundle, card_id: str, limit: int) -> list[tuple[CardId, float]]:
    """Return the ``limit`` other cards most like ``card_id`` with their cosine, best first, by exact search over all its pictures."""
    known = CardId(card_id)
    if known not in bundle.gallery.cards:
        raise BundleError(f"{bundle.path}: no card {card_id!r}; find its id with `cardedge index search TEXT`")
    entries = [entry for entry, owner in enumerate(bundle.gallery.entry_card_ids) if owner == known]
    best: dict[CardId, float] = {}
    for neighbors in make_vector_index(bundle, "exact").search(bundle.vectors[entries].astype("float32"), len(bundle.vectors)):
        for neighbor in neighbors:
            best[neighbor.card_id] = max(best.get(neighbor.card_id, -1.0), neighbor.similarity)
    best.pop(known, None)
    return sorted(best.items(), key=lambda item: (-item[1], item[0]))[:limit]


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


def _index_option(parser: argparse.ArgumentParser) -> None:
    text = f"a bundle, or a device's root with `releases/` and `current` (default {DEFAULT_INDEX})"
    parser.add_argument("--index", type=Path, default=DEFAULT_INDEX, metavar="DIR", help=text)


def _directory(args: argparse.Namespace) -> Path:
    directory: Path = args.directory or args.index
    return directory


def _positive_count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _print(line: str) -> None:
    print(line, flush=True)


def _print_json(answer: dict[str, object]) -> None:
    _print(json.dumps(answer, ensure_ascii=False))
