"""Run for minutes or hours what a test cannot: faults at random under a persistent subscriber, or a soak of the daemon with viewers.

    python -m tools.chaos --minutes 60 [--events-per-s N] [--seed N] [--keep DIR] [--json]
    python -m tools.chaos --minutes 60 --soak [--seed N] [--keep DIR] [--json]

Without ``--soak``: Mosquitto with the settings of install.sh and a process that publishes through the outbox are killed, stopped and frozen
at random. What was committed is compared with what a subscriber with a persistent session received: lost, repeats, different content, out
of order. With ``--soak``: the daemon plays a video while viewers of its page come and go; resident memory after the first five minutes must
stay within 3 %, descriptors and threads must not grow. Needs Mosquitto, and takes one processor core.

Exit status: 0 the promises hold, 1 they do not, 64 usage, 69 Mosquitto is not installed or a process could not be run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from edge.cli.arguments import CommandLineParser, positive_count
from edge.errors import EdgeError, ExitCode
from tools.demo_video.cards import UNKNOWN_SEED, drawn_video_card
from tools.demo_video.render import write_video
from tools.demo_video.script import demo_script
from tools.endurance.faults import run_chaos
from tools.endurance.soak import run_soak
from tools.sample_bundle import SAMPLE_DIRECTORY, sample_video_cards

VIDEO_S: Final = 30.0
VIDEO_FPS: Final = 5.0
"""Few frames per second: a soak looks for what every frame or visitor leaves behind, not for speed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = _arguments(arguments)
    try:
        with _folder(args.keep) as folder:
            return _run(Path(folder), args)
    except EdgeError as error:
        print(f"chaos: {error}", file=sys.stderr)
        return int(error.exit_code)


def _run(folder: Path, args: argparse.Namespace) -> int:
    if args.soak:
        soak = run_soak(folder, _video(folder, args.seed), SAMPLE_DIRECTORY, args.minutes * 60.0, args.seed, _report)
        holds, figures = soak.holds, asdict(soak)
    else:
        chaos = run_chaos(folder, args.minutes * 60.0, args.events_per_s, args.seed, _report)
        holds, figures = chaos.delivery.holds, {**asdict(chaos.delivery), "faults": chaos.faults}
    if args.json:
        print(json.dumps({**figures, "holds": holds}))
    else:
        print("\n".join(f"{name:<14} {value}" for name, value in figures.items()))
        print("holds" if holds else "MISSED")
    return int(ExitCode.OK if holds else ExitCode.MISMATCH)


def _video(folder: Path, seed: int) -> Path:
    video = folder / "video.mp4"
    script = demo_script(sample_video_cards(24), [drawn_video_card(UNKNOWN_SEED, 0)], seed, VIDEO_S)
    write_video(replace(script, fps=VIDEO_FPS), video)
    return video


def _folder(keep: Path | None) -> AbstractContextManager[str]:
    if keep is None:
        return tempfile.TemporaryDirectory(prefix="cardedge-chaos-")
    keep.mkdir(parents=True, exist_ok=True)
    return nullcontext(str(keep.absolute()))


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLineParser(prog="chaos", description="Look for lost events under random faults, or for growth in a long run.")
    parser.add_argument("--minutes", type=_minutes, required=True, metavar="N", help="how long to run")
    parser.add_argument("--soak", action="store_true", help="run the daemon with viewers instead of making faults")
    parser.add_argument("--events-per-s", type=positive_count, default=20, metavar="N", help="events published per second (default 20)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the random faults or viewers (default 1)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="folder for outbox, commits and logs, which is kept (default: none)")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    return parser.parse_args(arguments)


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0 < minutes < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number of minutes")
    return minutes


if __name__ == "__main__":
    raise SystemExit(main())
