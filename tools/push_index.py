"""Push a bundle to scanners over SSH, and list, roll back and prune the bundles they hold.

    python -m tools.push_index BUNDLE HOST... [--inventory FILE] [--dry-run] [--canary N] [--parallel N] [--json]
    python -m tools.push_index status | list | rollback HOST... [--inventory FILE] [--json]
    python -m tools.push_index prune --keep N HOST... [--inventory FILE] [--json]
    python -m tools.push_index signers SIGNERS.json HOST... [--inventory FILE] [--json]
    python -m tools.push_index apply FLEET.toml [--dry-run] [--wait-s S] [--html FILE] [--json]
    python -m tools.push_index status --fleet FLEET.toml [--html FILE] [--json]

HOST is a host as for ssh, whose configuration, agent, jump hosts and known hosts are used. It never prompts, so it can be run by cron.
Only what a device lacks is sent, chunk by chunk, and an interrupted push resumes. The device checks the signature, every hash, the vector
index and its self-test, activates the bundle on trial, and rolls back unless this tool confirms over a new connection that the daemon has
loaded it.

Exit status, the gravest of all hosts: 0 done, 64 usage, 65 the bundle is bad or a device refused or reverted it,
69 a host is not reachable, 70 bug, 78 a device's settings are wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeAlias

from edge.cli.arguments import CommandLineParser, positive_count
from edge.errors import EdgeError, ExitCode
from edge.receiving.messages import REMOTE_COMMAND, Completed, ListRequest, PruneRequest, Releases, RollbackRequest
from edge.receiving.status import describe_status
from tools.fleet.commands import add_apply_options, add_page_option, apply_fleet, fleet_status
from tools.push.connection import SshOptions, request_one
from tools.push.host_push import HostPush, HostReport, PushOptions
from tools.push.inventory import all_hosts
from tools.push.local_bundle import read_bundle, sign_bundle
from tools.push.rollout import Rollout, request_status, status_of, worst
from tools.push.signer_list import push_signers

_Told: TypeAlias = tuple[dict[str, Any], str]
"""An answer for programs and for people."""

VERBS: Final = ("status", "list", "rollback", "prune", "signers", "apply")
_printing = threading.Lock()


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says and return the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    verb = words.pop(0) if words and words[0] in VERBS else "push"
    try:
        args = (_push_parser() if verb == "push" else _verb_parser(verb)).parse_args(words)
        if verb == "apply":
            return int(apply_fleet(args, _ssh(args)))
        if verb == "status" and args.fleet is not None:
            return int(fleet_status(args, _ssh(args)))
        hosts = all_hosts(args.hosts, args.inventory)
        return int(_push(args, hosts) if verb == "push" else _ask_all(verb, args, hosts))
    except SystemExit as leaving:
        return int(leaving.code or 0)
    except EdgeError as error:
        print(f"push_index: {error}", file=sys.stderr)
        return int(error.exit_code)
    except KeyboardInterrupt:
        print("push_index: interrupted; what was activated and not confirmed goes back by itself", file=sys.stderr)
        return int(ExitCode.INTERRUPTED)


def _push(args: argparse.Namespace, hosts: tuple[str, ...]) -> ExitCode:
    if args.sign_with:
        sign_bundle(args.bundle, args.sign_with)
    bundle = read_bundle(args.bundle, check=not args.unchecked)
    ssh = _ssh(args)
    options = PushOptions(
        dry_run=args.dry_run,
        allow_downgrade=args.allow_downgrade,
        confirm_within_s=args.confirm_within_s,
        need_daemon=not args.without_daemon,
    )

    def push_to(host: str) -> HostReport:
        return HostPush(host, bundle, ssh, options, lambda text: _say(args, host, text)).run()

    _say(args, str(args.bundle), f"{bundle.manifest.bundle_id} {bundle.manifest.name}, {bundle.size_bytes / 1e6:.1f} MB")
    rollout = Rollout(push_to, lambda report: _answer(args, report.to_json_dict(), describe_report(report)), parallel=args.parallel)
    soak_s = 0.0 if args.dry_run else args.soak_s
    reports = rollout.run(hosts, canaries=min(args.canary, len(hosts) - 1), soak_s=soak_s, ssh=ssh)
    served = sum(report.exit_code is ExitCode.OK and report.result != "not_tried" for report in reports)
    _say(args, str(args.bundle), f"{served} of {len(hosts)} hosts {'planned' if args.dry_run else 'use it'}")
    return worst([report.exit_code for report in reports])


def _ask_all(verb: str, args: argparse.Namespace, hosts: tuple[str, ...]) -> ExitCode:
    question = _ASKING[verb]

    def one(host: str) -> ExitCode:
        try:
            facts, text = question(host, args)
        except EdgeError as error:
            _answer(args, {"host": host, "error": str(error), "exit_code": int(status_of(error))}, f"{host}: {error}")
            return status_of(error)
        _answer(args, {"host": host, **facts, "exit_code": 0}, "\n".join(f"{host}: {line}" for line in text.splitlines()))
        return ExitCode.OK

    with ThreadPoolExecutor(max_workers=args.parallel) as pool:
        return worst(list(pool.map(one, hosts)))


def _status(host: str, args: argparse.Namespace) -> _Told:
    status = request_status(host, _ssh(args))
    return status.model_dump(mode="json", exclude={"kind"}), describe_status(status)


def _list(host: str, args: argparse.Namespace) -> _Told:
    releases = request_one(host, _ssh(args), ListRequest(), Releases).releases
    lines = []
    for release in releases:
        place = "current" if release.current else "previous" if release.previous else ""
        what = f"{release.created:%Y-%m-%d %H:%M}  {release.cards:>6} cards  {release.name}" if release.created else release.problem
        lines.append(f"{release.bundle_id}  {place:<8}  {what}")
    return {"releases": [release.model_dump(mode="json") for release in releases]}, "\n".join(lines) or "no bundle"


def _rollback(host: str, args: argparse.Namespace) -> _Told:
    done = request_one(host, _ssh(args), RollbackRequest(), Completed)
    return done.model_dump(mode="json", exclude={"kind"}), f"{done.bundle_id} is active again"


def _prune(host: str, args: argparse.Namespace) -> _Told:
    done = request_one(host, _ssh(args), PruneRequest(keep=args.keep), Completed)
    return done.model_dump(mode="json", exclude={"kind"}), f"removed {', '.join(done.removed) or 'nothing'}"


def _signers(host: str, args: argparse.Namespace) -> _Told:
    installed = push_signers(host, _ssh(args), args.file)
    changed = "installed" if installed.changed else "was installed already"
    return installed.model_dump(mode="json", exclude={"kind"}), f"version {installed.version} of the list of signers {changed}"


_ASKING: Final = {"status": _status, "list": _list, "rollback": _rollback, "prune": _prune, "signers": _signers}


def describe_report(report: HostReport) -> str:
    """Say how it went with one host, for a person."""
    way = f"{report.before or 'nothing'} -> {report.after or 'nothing'}"
    numbers = f"{report.bytes_sent / 1e6:.1f} MB in {report.seconds:.1f} s" + (f", {report.cuts} cuts" if report.cuts else "")
    match report.result:
        case "planned":
            free = f", {report.free_bytes / 1e6:.0f} MB free" if report.free_bytes is not None else ""
            return f"{report.host}: active is {report.before or 'no bundle'}; {report.bytes_wanted / 1e6:.1f} MB to send{free}"
        case "activated" | "unchanged":
            return f"{report.host}: {report.result}, {way}, {numbers}"
        case _:
            return f"{report.host}: {report.result.replace('_', ' ')}: {report.reason}"


def _ssh(args: argparse.Namespace) -> SshOptions:
    return SshOptions(args.ssh_config, tuple(args.option), args.remote_command)


def _say(args: argparse.Namespace, who: str, text: str) -> None:
    if not args.quiet:
        with _printing:
            print(f"{who}: {text}", file=sys.stderr, flush=True)


def _answer(args: argparse.Namespace, facts: dict[str, Any], text: str) -> None:
    with _printing:
        print(json.dumps(facts, ensure_ascii=False) if args.json else text, flush=True)


def _push_parser() -> argparse.ArgumentParser:
    parser = CommandLineParser(
        prog="push_index", description="Push a bundle to scanners over SSH.", epilog=f"Or: push_index {' | '.join(VERBS)} HOST..."
    )
    parser.add_argument("bundle", type=Path, help="a bundle's directory")
    _common(parser)
    parser.add_argument("--sign-with", type=Path, metavar="KEY", help="sign the bundle first, see tools/sign_bundle.py")
    parser.add_argument("--dry-run", action="store_true", help="ask each device what it would take, and change nothing")
    parser.add_argument(
        "--canary", type=positive_count, default=1, metavar="N", help="hosts that must succeed before the others (default 1)"
    )
    parser.add_argument("--soak-s", type=_seconds, default=0.0, metavar="S", help="time the canaries must run with it first (default 0)")
    parser.add_argument(
        "--allow-downgrade", action="store_true", help="for devices of version 0.1.0; later ones decide by their own setting"
    )
    parser.add_argument(
        "--confirm-within-s",
        type=_seconds,
        default=120.0,
        metavar="S",
        help="a device goes back unless confirmed within S (default 120)",
    )
    parser.add_argument("--without-daemon", action="store_true", help="confirm even if no daemon is running")
    parser.add_argument("--unchecked", action="store_true", help="do not read the bundle here first; the devices check it anyway")
    return parser


def _verb_parser(verb: str) -> argparse.ArgumentParser:
    parser = CommandLineParser(prog=f"push_index {verb}")
    if verb == "signers":
        parser.add_argument("file", type=Path, help="the list of signers, made by tools.sign_signers")
    if verb == "apply":
        add_apply_options(parser)
        _connection_options(parser)
        return parser
    _common(parser)
    if verb == "status":
        parser.add_argument("--fleet", type=Path, metavar="FLEET.toml", help="one table of all scanners of a fleet, see docs/fleet.md")
        add_page_option(parser)
    if verb == "prune":
        parser.add_argument("--keep", type=positive_count, required=True, metavar="N", help="keep the newest N, and those in use")
    return parser


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("hosts", nargs="*", metavar="HOST", help="as you would give it to ssh")
    parser.add_argument("--inventory", type=Path, metavar="FILE", help="more hosts, one a line, # begins a comment")
    parser.add_argument("--parallel", type=positive_count, default=4, metavar="N", help="hosts at a time (default 4)")
    _connection_options(parser)


def _connection_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-F", "--ssh-config", type=Path, metavar="FILE", help="ssh config to use instead of your own")
    parser.add_argument("-o", "--option", action="append", default=[], metavar="OPTION", help="option for ssh, as its -o")
    parser.add_argument("--remote-command", default=REMOTE_COMMAND, metavar="COMMAND", help=f"default: {REMOTE_COMMAND}")
    parser.add_argument("--json", action="store_true", help="one JSON object per host on standard output, nothing else there")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds <= 3600.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds up to 3600")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
