"""``cardedge index``: inspects and verifies bundles, and chooses the active release of a device."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, TypeAlias

from edge.app.child_check import check_in_child
from edge.bundles.manifest import Manifest, read_manifest
from edge.cli import index_info, index_overlay, index_receive, index_reembed
from edge.cli.arguments import Command, add_index_option, add_json_option, summary
from edge.cli.output import print_json, print_line
from edge.errors import ExitCode
from edge.index import releases

_Subparsers: TypeAlias = "argparse._SubParsersAction[Any]"  # noqa: SLF001 - argparse gives it no public name


def add_parser(commands: _Subparsers, common: argparse.ArgumentParser | None = None) -> None:
    """Add ``index`` and its subcommands; ``common`` holds the options of every command. Each sets ``command`` to its function."""
    parents = [common] if common else []
    text = "Inspect and manage bundles of reference cards. Install and activate bundles, or add cards on this device."
    index = commands.add_parser("index", help=summary(text), description=text, parents=parents)
    subcommands = index.add_subparsers(metavar="SUBCOMMAND", title="subcommands", required=True)

    def add(name: str, command: Command, text: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = subcommands.add_parser(name, help=summary(text), description=text, parents=parents)
        parser.set_defaults(command=command)
        add_json_option(parser)
        return parser

    index_info.add_info(add)
    verify = add("verify", _verify, "Verify a bundle. Checks all hashes and runs the self-test queries.")
    index_info.add_directory_argument(verify)
    add_index_option(add("list", _list, "List the installed releases, newest first."))
    activate = add("activate", _activate, "Activate a release or a bundle. It is verified first; a bundle elsewhere is also installed.")
    activate.add_argument("bundle", help="id of an installed release, or a bundle's directory")
    add_index_option(activate)
    add_index_option(add("rollback", _rollback, "Activate the previous release again."))
    index_info.add_search(add)
    index_receive.add_commands(add)
    index_overlay.add_commands(add)
    index_reembed.add_command(add)


def _verify(args: argparse.Namespace) -> ExitCode:
    directory = index_info.chosen_directory(args)
    path = (directory / releases.CURRENT if releases.is_root(directory) else directory).resolve()
    check_in_child(path)
    manifest = read_manifest(path)
    if args.json:
        values = {"path": str(path), "bundle_id": manifest.bundle_id, "status": "ok", "entries": manifest.entries}
        print_json({**values, "self_test_queries": len(manifest.self_test)})
    else:
        size_mb = sum(file.size_bytes for file in manifest.files.values()) / 1e6
        print_line(f"{path}: intact: {size_mb:.1f} MB hashed, {manifest.entries} entries, {len(manifest.self_test)} self-test queries")
    return ExitCode.OK


def _list(args: argparse.Namespace) -> ExitCode:
    for release in releases.list_releases(args.index):
        manifest = release.manifest
        if args.json:
            values = {"name": manifest.name, "created": manifest.created.isoformat(), "cards": manifest.cards} if manifest else {}
            state = {"current": release.current, "previous": release.previous, "problem": release.problem}
            print_json({"bundle_id": release.bundle_id, **values, **state})
        else:
            role = "current" if release.current else "previous" if release.previous else ""
            what = f"{manifest.created:%Y-%m-%d %H:%M}  {manifest.cards:>6} cards  {manifest.name}" if manifest else release.problem
            print_line(f"{release.bundle_id}  {role:<8}  {what}")
    return ExitCode.OK


def _activate(args: argparse.Namespace) -> ExitCode:
    bundle_id: str = args.bundle
    if Path(bundle_id).is_dir():
        bundle_id = releases.install(args.index, Path(bundle_id), check=check_in_child).bundle_id
    return _print_active(args, releases.activate(args.index, bundle_id, check=check_in_child))


def _rollback(args: argparse.Namespace) -> ExitCode:
    return _print_active(args, releases.rollback(args.index, check=check_in_child))


def _print_active(args: argparse.Namespace, manifest: Manifest) -> ExitCode:
    previous = releases.previous_id(args.index)
    if args.json:
        print_json({"current": manifest.bundle_id, "previous": previous, "name": manifest.name, "cards": manifest.cards})
    else:
        print_line(f"current is {manifest.bundle_id} ({manifest.name}, {manifest.cards} cards); a running daemon loads it within a second")
    return ExitCode.OK
