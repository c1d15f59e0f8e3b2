"""``cardedge index``: look at bundles, check them, choose which one serves."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

from edge.app.index import make_vector_index
from edge.bundles.bundle import open_bundle, run_self_test
from edge.bundles.manifest import Manifest
from edge.cli import index_overlay as overlay_commands
from edge.cli import index_reembed as reembed_command
from edge.cli.arguments import add_json_option
from edge.cli.index_info import add_info_options, add_search_options, chosen_directory, info, search
from edge.cli.index_receive import add_actions
from edge.cli.output import print_json, print_line
from edge.errors import ExitCode
from edge.index import releases

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
        add_json_option(parser)
        return parser

    looking = add("info", info, "Say what a bundle holds and what made it.")
    add_info_options(looking)
    for parser in (looking, add("verify", _verify, "Read every byte of a bundle and ask its self-test queries.")):
        parser.add_argument("directory", type=Path, nargs="?", help="a bundle, or a device's root (same as --index)")
        _index_option(parser)
    _index_option(add("list", _list, "List the installed releases, newest first."))
    activate = add("activate", _activate, "Check a release completely and let it serve; a bundle from elsewhere is installed first.")
    activate.add_argument("bundle", help="id of an installed release, or the directory of a bundle")
    _index_option(activate)
    _index_option(add("rollback", _rollback, "Let the release before the current one serve again."))
    asking = add("search", search, "Find cards by name or id, or cards that look like a card or an embedding.")
    add_search_options(asking)
    _index_option(asking)
    add_actions(add, _index_option)
    overlay_commands.add_actions(add, _index_option)
    reembed_command.add_action(add)


def run(args: argparse.Namespace) -> ExitCode:
    """Run the chosen action. Raises ``EdgeError``."""
    action: _Command = args.action
    return action(args)


def _verify(args: argparse.Namespace) -> ExitCode:
    directory = chosen_directory(args)
    bundle_path = directory / releases.CURRENT if releases.is_root(directory) else directory
    bundle = open_bundle(bundle_path)
    run_self_test(bundle, make_vector_index(bundle, "hnsw").search)
    manifest = bundle.manifest
    if args.json:
        facts = {"path": str(bundle.path), "bundle_id": manifest.bundle_id, "status": "ok", "entries": manifest.entries}
        print_json({**facts, "self_test_queries": len(manifest.self_test)})
    else:
        size_mb = sum(facts.size_bytes for facts in manifest.files.values()) / 1e6
        print_line(f"{bundle.path}: good: {size_mb:.1f} MB hashed, {manifest.entries} vectors, {len(manifest.self_test)} self-test queries")
    return ExitCode.OK


def _list(args: argparse.Namespace) -> ExitCode:
    for release in releases.list_releases(args.index):
        manifest = release.manifest
        if args.json:
            facts = {"name": manifest.name, "created": manifest.created.isoformat(), "cards": manifest.cards} if manifest else {}
            places = {"current": release.current, "previous": release.previous, "problem": release.problem}
            print_json({"bundle_id": release.bundle_id, **facts, **places})
        else:
            place = "current" if release.current else "previous" if release.previous else ""
            what = f"{manifest.created:%Y-%m-%d %H:%M}  {manifest.cards:>6} cards  {manifest.name}" if manifest else release.problem
            print_line(f"{release.bundle_id}  {place:<8}  {what}")
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
        print_json({"current": manifest.bundle_id, "previous": previous, "name": manifest.name, "cards": manifest.cards})
    else:
        print_line(
            f"current is {manifest.bundle_id} ({manifest.name}, {manifest.cards} cards); a running daemon takes it up within a second"
        )
    return ExitCode.OK


def _index_option(parser: argparse.ArgumentParser) -> None:
    text = f"a bundle, or a device's root with `releases/` and `current` (default {DEFAULT_INDEX})"
    parser.add_argument("--index", type=Path, default=DEFAULT_INDEX, metavar="DIR", help=text)
