"""The ``cardedge`` command: parses arguments, runs a command, and turns errors into an exit status.

What a command prints with ``--json`` and its exit status are a contract. Everything but the result goes to standard error.
Commands import what they need when they run, so that no command loads a driver that it does not use.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from edge import __version__
from edge.cli.arguments import (
    Command,
    CommandLineParser,
    add_config_option,
    add_json_option,
    add_model_option,
    address,
    positive_count,
    positive_number,
    summary,
)
from edge.cli.output import print_error, print_line
from edge.errors import EdgeError, ExitCode, UsageError
from edge.logs import set_up_logging
from edge.system.permissions import error_message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.app.replay import ReplayedEvent
    from edge.identification.card_class import CardClass
    from edge.recognition.neighbors import CardId
    from edge.settings.sections import Settings

log = logging.getLogger(__name__)

EXIT_STATUS_HELP: Final = "exit status: 0 success, 64 usage, 65 bad bundle or data, 69 device unavailable, 70 bug, 78 bad settings"

BY_SEVERITY: Final = (ExitCode.OK, ExitCode.CANNOT_SAY, ExitCode.MISMATCH, ExitCode.BAD_DATA)
"""Exit statuses of single images; ``identify`` ends with the last of those that occurred."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; never raises."""
    try:
        args = build_parser().parse_args(arguments)
        set_up_logging("debug" if args.verbose else "warning")
        return int(args.command(args))
    except SystemExit as leaving:
        return int(leaving.code or 0)
    except (EdgeError, PermissionError) as error:
        print_error(f"cardedge: {error_message(error)}")
        log.debug("traceback of the error", exc_info=True)
        return int(error.exit_code if isinstance(error, EdgeError) else ExitCode.UNAVAILABLE)
    except BrokenPipeError:
        # the reader of our output closed it; without this, flushing at exit would fail a second time
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(ExitCode.OK)
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    except Exception as error:
        print_error(f"cardedge: bug: {type(error).__name__}: {error}; run with --verbose for a traceback")
        log.debug("traceback of the error", exc_info=True)
        return int(ExitCode.SOFTWARE)


def entry() -> NoReturn:
    """Run one command and end the process with its exit status."""
    exit_process(main())


def exit_process(status: int) -> NoReturn:
    """End the process, at once if a daemon thread still runs, for example one that waits for a driver.

    While the interpreter shuts down, it ends each such thread when it next needs the interpreter. If that happens in a function that a
    C++ or Rust library has called, the library aborts the process ("exception not rethrown").
    """
    if not any(thread.daemon for thread in threading.enumerate()):
        sys.exit(status)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # its reader is gone
            stream.flush()
    os._exit(status)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line; each command sets ``command`` to the function that runs it."""
    from edge.cli import index as index_commands

    common = CommandLineParser(add_help=False)
    common.add_argument("-v", "--verbose", action="store_true", default=argparse.SUPPRESS, help="log details to standard error")
    parser = CommandLineParser(
        prog="cardedge",
        description="Identify trading cards in front of a camera, offline, and publish them over MQTT.",
        epilog=EXIT_STATUS_HELP,
        parents=[common],
    )
    parser.add_argument("--version", action="version", version=f"cardedge {__version__}")
    parser.set_defaults(verbose=False)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands", required=True)

    def add(name: str, command: Command, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary(text), description=text, epilog=EXIT_STATUS_HELP, parents=[common])
        added.set_defaults(command=command)
        return added

    add_config_option(add("run", _run, "Run the daemon. It watches the camera and publishes the cards in view over MQTT."))
    _add_demo_options(
        add(
            "demo",
            _demo,
            "Demonstrate the scanner on a video of cards. Runs a broker and the daemon, and compares each event with the truth.",
        )
    )
    _add_check_options(
        add(
            "check",
            _check,
            "Check settings, model, index, camera, NPU and broker. Prints what works, what does not, and what to do.",
        )
    )
    _add_identify_options(add("identify", _identify, "Identify the cards in image files."))
    _add_replay_options(
        add("replay", _replay, "Print the events of a video, images or a camera. Runs the loop of the daemon, without a broker.")
    )
    index_commands.add_parser(commands, common)
    return parser


def _add_demo_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=positive_number, metavar="S", help="stop after S seconds of video")
    parser.add_argument(
        "--http",
        type=address,
        metavar="HOST:PORT",
        help="serve the web page at this address, such as 127.0.0.1:8080, and repeat the video until Ctrl+C",
    )


def _add_check_options(parser: argparse.ArgumentParser) -> None:
    add_config_option(parser)
    parser.add_argument(
        "--at-rest",
        action="store_true",
        help="skip camera, NPU and broker; only check that program, settings, model and index fit together",
    )
    parser.add_argument("--index", type=Path, metavar="DIR", help="check this bundle instead of the index in the settings")
    add_json_option(parser)


def _add_identify_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="image file of any format that Pillow reads")
    _add_recognition_options(parser)
    parser.add_argument("--rectified", action="store_true", help="each image is a single upright card, cropped to its edges")
    expected = parser.add_mutually_exclusive_group()
    expected.add_argument(
        "--expect",
        metavar="CARD_ID",
        help="report whether each image shows this card; exit status 0: all match, 1: a mismatch, 2: undecided",
    )
    expected.add_argument(
        "--expect-class",
        metavar="COLUMN=VALUE",
        help="report whether each image shows a card with this value in a column of the card list, such as set=B1; exit status as above",
    )
    parser.add_argument("--top-k", type=positive_count, default=5, metavar="K", help="list up to K candidates per card (default: 5)")


def _add_replay_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="SOURCE", help="video file, folder of images, rtsp:// or http:// address, or device (/dev/video0)"
    )
    _add_recognition_options(parser)
    parser.add_argument(
        "--realtime", action="store_true", help="play at the source's own pace and drop frames as the daemon does (default: every frame)"
    )
    parser.add_argument("--http", type=address, metavar="HOST:PORT", help="serve the web page at this local address during the replay")


def _add_recognition_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--index", type=Path, required=True, metavar="DIR", help="bundle, or device index with a `current` link")
    add_model_option(parser)
    parser.add_argument(
        "--read-numbers",
        choices=("auto", "never", "ambiguous", "always"),
        default="auto",
        help="read collector numbers: of artworks with several printings (ambiguous), of all identified cards (always), or never; "
        "auto (default) means ambiguous if the extra `ocr` is installed, else never",
    )
    add_json_option(parser)


def _run(args: argparse.Namespace) -> ExitCode:
    # until the daemon can stop and reload; its import takes a while, and the default actions would end the process without closing
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ExitCode.OK))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts its background jobs with SIGINT ignored
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from edge.app.daemon import run_daemon

    run_daemon(args.config, verbose=args.verbose)
    return ExitCode.OK


def _demo(args: argparse.Namespace) -> ExitCode:
    clone = Path(__file__).resolve().parents[2]
    if (clone / "tools" / "demo.py").is_file() and str(clone) not in sys.path:
        sys.path.insert(0, str(clone))  # an editable installation finds only `edge`
    try:
        from tools import demo
    except ModuleNotFoundError as error:
        raise UsageError(f"the demo needs tools/ of a clone ({error.name} is missing); run ./install.sh --demo there") from None
    return ExitCode(demo.main(args.seconds, args.http))


def _check(args: argparse.Namespace) -> ExitCode:
    from edge.cli.check import check

    if not args.verbose:
        set_up_logging("error")  # a warning of a component becomes a result of its check
    return check(args)


def _identify(args: argparse.Namespace) -> ExitCode:
    from edge.app.locator import open_locate
    from edge.app.recognizer import open_recognizer_with_images, open_text_reader
    from edge.identification.answer import answer_text
    from edge.identification.card_class import parse_class
    from edge.identification.images import IdentifyOptions, exit_code, expected_card, identify_images

    settings = _recognition_settings(args)
    statuses = []
    with (
        nullcontext() if args.rectified else open_locate(settings.locate) as locate,
        open_recognizer_with_images(settings) as (recognizer, reference_image),
    ):
        gallery = recognizer.loaded.gallery
        expected: CardId | CardClass | None = None
        if args.expect is not None:
            expected = expected_card(args.expect, gallery)
        elif args.expect_class is not None:
            expected = parse_class(args.expect_class, gallery)
        options = IdentifyOptions(
            locate=locate,
            top_k=args.top_k,
            reader=open_text_reader(settings.recognition),
            read_always=settings.recognition.read_numbers == "always",
            expected=expected,
            reference_image=reference_image,
        )
        for answer in identify_images(args.images, recognizer, options):
            print_line(answer.model_dump_json() if args.json else answer_text(answer))
            statuses.append(exit_code(answer))
    return max(statuses, key=BY_SEVERITY.index)


def _recognition_settings(args: argparse.Namespace) -> Settings:
    """Return the default settings with the index, model and number reading of the command line."""
    from edge.settings.sections import IndexSection, NetworkSection, RecognitionSection, Settings

    return Settings(
        network=NetworkSection(model=args.model),
        index=IndexSection(directory=args.index),
        recognition=RecognitionSection(read_numbers=args.read_numbers),
    )


def _replay(args: argparse.Namespace) -> ExitCode:
    from edge.app.replay import event_text, replay
    from edge.settings.sections import HttpSection

    def emit(event: ReplayedEvent) -> None:
        print_line(event.to_json().decode() if args.json else event_text(event))

    settings = _recognition_settings(args)
    if args.http is not None:
        host, port = args.http
        settings = settings.model_copy(update={"http": HttpSection(enabled=True, host=host, port=port)})
        print_error(f"web page: http://{host}:{port}/")
    replay(args.source, settings, emit, realtime=args.realtime)
    return ExitCode.OK
