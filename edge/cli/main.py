"""The ``cardedge`` command: arguments become settings, settings become an app, errors become an exit status.

What each command prints with ``--json`` and its exit status are a contract. Everything but answers goes to standard error.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

from edge import __version__
from edge.errors import EdgeError, ExitCode, UsageError
from edge.logs import set_up_logging, writes_to_journal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.app.replay import ReplayedEvent
    from edge.settings.sections import Settings

    Command: TypeAlias = Callable[[argparse.Namespace], ExitCode]

log = logging.getLogger(__name__)

INTERRUPTED: Final = 130
"""What a shell reports for a command stopped by Ctrl-C."""

EXIT_STATUS_HELP: Final = "exit status: 0 done, 64 usage, 65 bad bundle or data, 69 device unavailable, 70 bug, 78 bad settings"


class _Parser(argparse.ArgumentParser):
    """Ends with our own status for a wrong command line."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; never raises."""
    try:
        args = build_parser().parse_args(arguments)
        set_up_logging("debug" if args.verbose else "warning")
        return int(args.command(args))
    except SystemExit as leaving:
        return int(leaving.code or 0)
    except EdgeError as error:
        _complain(f"cardedge: {error}")
        log.debug("where it came from", exc_info=True)
        return int(error.exit_code)
    except BrokenPipeError:
        # whoever read our lines has enough; a second error while flushing at exit would only confuse
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.OK)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        _complain(f"cardedge: a bug: {type(error).__name__}: {error}; --verbose shows where")
        log.debug("where it came from", exc_info=True)
        return int(ExitCode.SOFTWARE)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line; each command sets ``command``, the function that runs it."""
    from edge.cli import index as index_commands

    common = _Parser(add_help=False)
    common.add_argument("-v", "--verbose", action="store_true", default=argparse.SUPPRESS, help="say on standard error what happens")
    parser = _Parser(
        prog="cardedge",
        description="Names trading cards in front of a camera, offline, and tells the house over MQTT.",
        epilog=EXIT_STATUS_HELP,
        parents=[common],
    )
    parser.add_argument("--version", action="version", version=f"cardedge {__version__}")
    parser.set_defaults(verbose=False)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", required=True)

    def add(name: str, command: Command, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, epilog=EXIT_STATUS_HELP, parents=[common])
        added.set_defaults(command=command)
        return added

    _config_option(add("run", _run, "The daemon: watch the camera and publish what it sees, until told to stop."))
    demo = add("demo", _demo, "Broker, filmed cards and daemon on this machine; every event next to the truth.")
    demo.add_argument("--seconds", type=_positive_number, metavar="S", help="stop after S seconds of film")
    demo.add_argument("--http", type=_address, metavar="HOST:PORT", help="serve the scanner's page meanwhile, as 127.0.0.1:8080")
    check = add("check", _check, "The doctor: what works on this machine, what does not, and the next step.")
    _config_option(check)
    check.add_argument(
        "--at-rest", action="store_true", help="leave camera, NPU and broker alone: do program, settings and cards fit together?"
    )
    check.add_argument("--index", type=Path, metavar="DIR", help="examine this bundle instead of the one the settings name")
    _json_option(check)
    identify = add("identify", _identify, "Name the cards in pictures.")
    identify.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="picture in any format Pillow reads")
    _recognition_options(identify)
    identify.add_argument("--rectified", action="store_true", help="each picture is one upright card, edge to edge")
    identify.add_argument(
        "--expect", metavar="CARD_ID", help="ask whether each picture shows this card; exit status 0 all match, 1 a mismatch, 2 cannot say"
    )
    identify.add_argument("--top-k", type=_positive_count, default=5, metavar="K", help="candidates listed per card (default 5)")
    replay = add("replay", _replay, "Show a film, a folder of stills or a device to the recogniser and print the events.")
    replay.add_argument("source", metavar="SOURCE", help="film file, folder of pictures, rtsp:// or http:// address, or /dev/video0")
    _recognition_options(replay)
    replay.add_argument(
        "--realtime", action="store_true", help="at the source's own pace, dropping frames like the daemon; else every frame in turn"
    )
    replay.add_argument(
        "--http", type=_address, metavar="HOST:PORT", help="serve the scanner's page meanwhile; HOST is this machine's own address"
    )
    index_commands.add_parser(commands, common)
    return parser


def _config_option(parser: argparse.ArgumentParser) -> None:
    from edge.settings.file import DEFAULT_SETTINGS_FILE

    parser.add_argument(
        "--config", type=Path, default=DEFAULT_SETTINGS_FILE, metavar="FILE", help=f"settings file (default {DEFAULT_SETTINGS_FILE})"
    )


def _json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object per line on standard output, nothing else there")


def _recognition_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--index", type=Path, required=True, metavar="DIR", help="index bundle, or a folder of releases with its `current` link"
    )
    parser.add_argument("--model", type=Path, metavar="DIR", help="folder of the network (default: the one under hef/ beside the program)")
    parser.add_argument(
        "--read-numbers",
        choices=("auto", "never", "ambiguous", "always"),
        default="auto",
        help="read the collector numbers where an artwork has several printings, or of all named cards (auto: the former, with extra ocr)",
    )
    _json_option(parser)


def _run(args: argparse.Namespace) -> ExitCode:
    from edge.app.daemon import run_daemon

    run_daemon(args.config, verbose=args.verbose)
    return ExitCode.OK


def _demo(args: argparse.Namespace) -> ExitCode:
    try:
        from tools import demo
    except ModuleNotFoundError as error:
        raise UsageError(f"the demo needs tools/ of a clone ({error.name} is missing): run ./install.sh --demo there") from None
    return ExitCode(demo.main(args.seconds, args.http))


def _check(args: argparse.Namespace) -> ExitCode:
    from edge.cli.check import check_device, describe, exit_code

    if not args.verbose:
        set_up_logging("error")  # what the parts would warn of is a finding
    findings = []
    for finding in check_device(args.config, at_rest=args.at_rest, index=args.index):
        findings.append(finding)
        _print(finding.model_dump_json() if args.json else describe(finding))
    return exit_code(findings)


def _identify(args: argparse.Namespace) -> ExitCode:
    from edge.app.daemon import open_recognizer, open_text_reader
    from edge.identification.answer import describe
    from edge.identification.images import IdentifyOptions, exit_code, identify_images
    from edge.recognition.neighbors import CardId

    settings = _recognition_settings(args)
    request = IdentifyOptions(
        locate=None if args.rectified else settings.locate.settings(),
        top_k=args.top_k,
        reader=open_text_reader(settings.recognition),
        read_always=settings.recognition.read_numbers == "always",
        expected=None if args.expect is None else CardId(args.expect),
    )
    answers = []
    with open_recognizer(settings) as recognizer:
        for answer in identify_images(args.images, recognizer, request):
            _print(answer.model_dump_json() if args.json else describe(answer))
            answers.append(exit_code(answer))
    return max(answers, key=WORST_LAST.index)


WORST_LAST: Final = (ExitCode.OK, ExitCode.CANNOT_SAY, ExitCode.MISMATCH, ExitCode.BAD_DATA)


def _recognition_settings(args: argparse.Namespace) -> Settings:
    """Return the default settings with the bundle and network named on the command line."""
    from edge.settings.sections import IndexSection, NetworkSection, RecognitionSection, Settings

    return Settings(
        network=NetworkSection(model=args.model),
        index=IndexSection(directory=args.index),
        recognition=RecognitionSection(read_numbers=args.read_numbers),
    )


def _replay(args: argparse.Namespace) -> ExitCode:
    from edge.app.daemon import replay
    from edge.app.replay import describe
    from edge.settings.sections import HttpSection

    def emit(event: ReplayedEvent) -> None:
        _print(event.to_json().decode() if args.json else describe(event))

    settings = _recognition_settings(args)
    if args.http is not None:
        host, port = args.http
        settings = settings.model_copy(update={"http": HttpSection(enabled=True, host=host, port=port)})
        _complain(f"The page: http://{host}:{port}/")
    replay(args.source, settings, emit, realtime=args.realtime)
    return ExitCode.OK


def _complain(text: str) -> None:
    """Say on standard error what went wrong; the journal is told that each line is an error."""
    mark = "<3>" if writes_to_journal(sys.stderr) else ""
    for line in text.splitlines():
        print(mark + line, file=sys.stderr)


def _print(line: str) -> None:
    """Write a line of the command's answer; at once, since whoever reads it may act on it."""
    print(line, flush=True)


def _positive_count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST:PORT, such as 127.0.0.1:8080")
    return host, int(port)


def _positive_number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number
