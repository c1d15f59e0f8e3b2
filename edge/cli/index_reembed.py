"""``cardedge index reembed``: the cards of the active bundle embedded again by the network that runs on this device."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from edge.app.index import graph_writer
from edge.app.model import load_model
from edge.cli.arguments import add_config_option
from edge.cli.output import print_json, print_line
from edge.errors import ExitCode
from edge.index import releases
from edge.index.reembedding import EmbeddingBackend, reembed
from edge.settings.file import load_settings


def add_action(add: Callable[[str, Callable[[argparse.Namespace], ExitCode], str], argparse.ArgumentParser]) -> None:
    """Add the action to ``cardedge index``; ``add`` makes an action's parser."""
    parser = add("reembed", _reembed, "Embed the active bundle's cards again with the network that runs here, as a new release.")
    add_config_option(parser)
    parser.add_argument("--activate", action="store_true", help="let the new release serve")


def _reembed(args: argparse.Namespace) -> ExitCode:
    settings = load_settings(args.config)
    root = settings.index.directory
    with load_model(settings.network) as loaded:
        here = EmbeddingBackend(
            loaded.model.model_id,
            loaded.embedder.info.artifact_sha256,
            loaded.embedder.info.dim,
            loaded.embedder.info.max_batch,
            loaded.embed,
            graph_writer(),
        )
        bundle = releases.open_index(root, expected_model_id=loaded.model.model_id)
        made = reembed(root, bundle, here, _show_progress)
    if args.activate:
        releases.activate(root, made.bundle_id, expected_model_id=here.model_id)
    if args.json:
        print_json({"bundle_id": made.bundle_id, "cards": made.cards, "active": args.activate})
    else:
        next_step = "it serves" if args.activate else f"`cardedge index activate {made.bundle_id}` lets it serve"
        print_line(f"{made.bundle_id}: {made.cards} cards embedded by the {settings.network.backend} backend; {next_step}")
    return ExitCode.OK


def _show_progress(done: int, of: int) -> None:
    print(f"\r{done} of {of} cards", end="\n" if done == of else "", file=sys.stderr, flush=True)
