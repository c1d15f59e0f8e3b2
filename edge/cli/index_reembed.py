"""``cardedge index reembed``: embeds the cards of the active release again with the model of this device."""

from __future__ import annotations

import argparse
import sys

from edge.app.index import graph_writer
from edge.app.model import load_model
from edge.cli.arguments import AddCommand, add_config_option
from edge.cli.output import print_json, print_line
from edge.errors import ExitCode
from edge.index import releases
from edge.index.reembedding import EmbeddingBackend, reembed
from edge.settings.file import load_settings


def add_command(add: AddCommand) -> None:
    """Add the subcommand."""
    parser = add("reembed", _reembed, "Embed the active release again with this device's backend. The result is a new release.")
    add_config_option(parser)
    parser.add_argument("--activate", action="store_true", help="activate the new release")


def _reembed(args: argparse.Namespace) -> ExitCode:
    settings = load_settings(args.config)
    root = settings.index.directory
    with load_model(settings.network) as loaded:
        backend = EmbeddingBackend(
            loaded.model.model_id,
            loaded.artifact_sha256,
            loaded.embedder.info.dim,
            loaded.embedder.info.max_batch,
            loaded.embed,
            graph_writer(),
        )
        bundle = releases.open_index(root, expected_model_id=loaded.model.model_id)
        made = reembed(root, bundle, backend, _show_progress)
    if args.activate:
        releases.activate(root, made.bundle_id, expected_model_id=backend.model_id)
    if args.json:
        print_json({"bundle_id": made.bundle_id, "cards": made.cards, "active": args.activate})
    else:
        next_step = "active" if args.activate else f"activate it with `cardedge index activate {made.bundle_id}`"
        print_line(f"{made.bundle_id}: {made.cards} cards embedded on the {settings.network.backend} backend; {next_step}")
    return ExitCode.OK


def _show_progress(done: int, total: int) -> None:
    print(f"\r{done} of {total} cards", end="\n" if done == total else "", file=sys.stderr, flush=True)
