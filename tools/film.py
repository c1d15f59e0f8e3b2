"""Render the demo video, in which cards are put on a table and taken away, and write the expected results.

    python -m tools.film --cards cards --out film.mp4 --truth truth.json

Equal arguments give equal frames.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.cli.arguments import CommandLineParser
from edge.errors import EdgeError
from edge.vision.image_file import read_image
from tools.demo_video.cards import UNKNOWN_SEED, drawn_video_card, read_video_cards
from tools.demo_video.render import write_video
from tools.demo_video.script import SECONDS, VideoCard, demo_script, truth


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLineParser(prog="film", description="Render the demo video and write the truth about it.")
    parser.add_argument("--cards", type=Path, required=True, help="folder that tools.make_cards wrote: the cards of the index")
    parser.add_argument("--unknown", type=Path, help="image of a card that is not in the index (default: one is drawn)")
    parser.add_argument("--out", type=Path, required=True, help="the video: .mp4 or .avi")
    parser.add_argument("--truth", type=Path, required=True, help="the truth about the video, JSON")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"length (default {SECONDS:g})")
    parser.add_argument("--seed", type=int, default=1, help="seed of the choice of cards and of the table (default 1)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _arguments(argv)
    try:
        unknown = VideoCard("", "unknown", read_image(options.unknown)) if options.unknown else drawn_video_card(UNKNOWN_SEED, options.seed)
        script = demo_script(read_video_cards(options.cards), [unknown], options.seed, options.seconds)
        write_video(script, options.out)
        options.truth.write_text(truth(script).model_dump_json(indent=1) + "\n", encoding="utf-8")
    except EdgeError as error:
        print(f"film: {error}", file=sys.stderr)
        return int(error.exit_code)
    print(f"{options.out}: {script.seconds:g} s, {len(script.appearances)} appearances")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
