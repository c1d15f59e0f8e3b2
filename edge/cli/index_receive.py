"""``cardedge index receive | status | confirm | prune``: pushed bundles."""

from __future__ import annotations

import argparse
import json
import os
import sys
from functools import partial
from pathlib import Path

from edge.app.child_check import check_in_child
from edge.cli.arguments import AddCommand, add_config_option, add_index_option, positive_count
from edge.cli.output import print_line
from edge.errors import BundleError, DeviceError, ExitCode, UsageError
from edge.index import releases
from edge.index.audit import Audit
from edge.index.pruning import prune
from edge.receiving.acceptance import Acceptance
from edge.receiving.incoming import remove_leftovers
from edge.receiving.messages import REMOTE_COMMAND, REQUESTS
from edge.receiving.session import Receiver
from edge.receiving.status import describe_status, read_status, revert_if_overdue
from edge.receiving.transfer import Channel
from edge.recognition.embedding import ModelId
from edge.recognition.model import find_model, read_model_manifest
from edge.settings.file import load_settings
from edge.system.device_id import derive_device_id


def add_commands(add: AddCommand) -> None:
    """Add the subcommands for pushed bundles."""
    receive = add(
        "receive",
        _receive,
        "Receive a pushed bundle over SSH. Serves tools/push_index.py on standard input and output; meant as forced command of a key.",
    )
    add_config_option(receive)
    receive.add_argument("--technician", metavar="NAME", help="owner of the SSH key, for the audit log")
    add_index_option(add("status", _status, "Show the active release, the trial and the last push."))
    confirm = add("confirm", _confirm, "Confirm the release that is on trial.")
    confirm.add_argument("bundle", nargs="?", help="id of the release (default: the one that awaits confirmation)")
    add_index_option(confirm)
    pruning = add("prune", _prune, "Remove old releases. Those in use and their rollback targets are kept.")
    pruning.add_argument("--keep", type=positive_count, required=True, metavar="N", help="keep the newest N releases")
    add_index_option(pruning)


def _receive(args: argparse.Namespace) -> ExitCode:
    if os.environ.get("SSH_ORIGINAL_COMMAND", "") not in {"", REMOTE_COMMAND}:
        raise UsageError("this SSH key permits only pushing index bundles; use it with tools/push_index.py")
    if sys.stdin.isatty():
        raise UsageError("index receive is started by tools/push_index.py over SSH and is not interactive; see docs/updating.md")
    settings = load_settings(args.config)
    root, rules = settings.index.directory, settings.push
    _check_owner(root)
    revert_if_overdue(root)
    acceptance = Acceptance(
        root,
        rules,
        ModelId(read_model_manifest(find_model(settings.network.model)).model_id),
        partial(check_in_child, search=settings.index.search),
        settings.index.allow_downgrade,
        settings.http.review_dir if settings.http.enabled else None,
    )
    channel = Channel(sys.stdin.fileno(), sys.stdout.fileno(), REQUESTS, idle_s=rules.idle_s, session_s=rules.session_s)
    audit = Audit(root, os.environ, technician=args.technician)
    return Receiver(channel, root, settings.device.id or derive_device_id(), acceptance, audit).serve()


def _status(args: argparse.Namespace) -> ExitCode:
    revert_if_overdue(args.index)
    state = read_status(args.index)
    print_line(state.model_dump_json(exclude={"kind"}) if args.json else describe_status(state))
    return ExitCode.OK


def _confirm(args: argparse.Namespace) -> ExitCode:
    revert_if_overdue(args.index)
    waiting = releases.awaiting_confirmation(args.index)
    bundle_id = args.bundle or (waiting.bundle_id if waiting else None)
    if bundle_id is None:
        raise BundleError(f"{args.index}: no release awaits confirmation; see `cardedge index status`")
    releases.confirm(args.index, bundle_id)
    print_line(json.dumps({"confirmed": bundle_id}) if args.json else f"{bundle_id} confirmed")
    return ExitCode.OK


def _prune(args: argparse.Namespace) -> ExitCode:
    remove_leftovers(args.index)  # first, because it fails while a push is in progress
    removed = prune(args.index, args.keep)
    print_line(json.dumps({"removed": removed}) if args.json else f"removed: {', '.join(removed) or 'nothing'}")
    return ExitCode.OK


def _check_owner(root: Path) -> None:
    """Raise ``DeviceError`` unless this user owns the index: the daemon could not change files of another user."""
    try:
        owner = root.stat().st_uid
    except OSError as error:
        raise DeviceError(f"{root}: cannot be read ({error.strerror}); push as the user the service runs as") from error
    if owner != os.geteuid():
        raise DeviceError(f"{root}: owned by another user; push as the user the service runs as (cardedge@HOST)")
