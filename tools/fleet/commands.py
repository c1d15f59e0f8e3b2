"""``push_index apply FLEET`` and ``push_index status --fleet FLEET``."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edge.cli.arguments import positive_number
from edge.errors import BrokerError, ExitCode, UsageError
from tools.fleet.convergence import Convergence, FleetState
from tools.fleet.file import Fleet, read_fleet
from tools.fleet.mqtt_states import RetainedStates, read_retained
from tools.fleet.passed import Passed
from tools.fleet.table import as_html, as_json, as_text, exit_status, rows
from tools.push.connection import SshOptions
from tools.reports.html_page import write_page

_WAIT_POLL_S: Final = 10.0
_printing = threading.Lock()


def add_apply_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``apply``."""
    parser.add_argument("fleet", type=Path, help="the wanted state, fleet.toml")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")
    parser.add_argument(
        "--accept", action="append", default=[], metavar="GROUP", help="take its bundle for good, whatever the gate says or reverted"
    )
    parser.add_argument("--wait-s", type=positive_number, metavar="S", help="go on until all scanners are as wanted, at most S seconds")
    add_page_option(parser)


def add_page_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--html``."""
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the table as a page too")


def apply_fleet(args: argparse.Namespace, ssh: SshOptions) -> ExitCode:
    """Bring the scanners that can be reached to the wanted state, print the table, and return the exit status. Raises ``EdgeError``."""
    fleet, passed = read_fleet(args.fleet), Passed(args.fleet)

    def say(host: str, text: str) -> None:
        if not args.quiet:
            with _printing:
                print(f"{host}: {text}", file=sys.stderr, flush=True)

    if unknown := sorted(set(args.accept) - set(fleet.groups)):
        raise UsageError(f"--accept: {', '.join(unknown)} is not a group of {args.fleet}; its groups: {', '.join(fleet.groups)}")
    give_up_s = time.monotonic() + (args.wait_s or 0.0)
    while True:
        run = Convergence(fleet, passed, ssh, say, args.accept)
        state = run.look() if args.dry_run else run.run()
        if args.dry_run or time.monotonic() >= give_up_s or all(one.state == "current" for one in state.planned):
            return _print(args, fleet, state)
        time.sleep(min(_WAIT_POLL_S, max(0.0, give_up_s - time.monotonic())))


def fleet_status(args: argparse.Namespace, ssh: SshOptions) -> ExitCode:
    """Print the table of all scanners without changing anything, and return the exit status. Raises ``EdgeError``."""
    fleet = read_fleet(args.fleet)
    return _print(args, fleet, Convergence(fleet, Passed(args.fleet), ssh, lambda _host, _text: None).look())


def _print(args: argparse.Namespace, fleet: Fleet, state: FleetState) -> ExitCode:
    lines = rows(state, _retained(fleet, state))
    print(as_json(lines) if args.json else as_text(lines), flush=True)
    if args.html is not None:
        write_page(args.html, as_html(lines, args.fleet.stem, datetime.now(UTC)))
    return exit_status(state)


def _retained(fleet: Fleet, state: FleetState) -> dict[str, RetainedStates]:
    """Return what the broker keeps of the scanners that SSH does not reach. A broker that is not reached is said on standard error."""
    absent = [host for host, seen in state.seen.items() if seen.status is None]
    if fleet.broker is None or not absent:
        return {}
    try:
        return read_retained(fleet.broker, absent)
    except BrokerError as error:
        print(f"push_index: {error}", file=sys.stderr)
        return {}
