"""Build the sample bundle of generated cards that is part of the repository.

python -m tools.sample_bundle --out index/sample      draw the cards, build the bundle with the network under hef/, and calibrate it

Since there are few similar cards among sixty, unindexed generated cards are used for the calibration too. It takes a few minutes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image

from edge.cli.arguments import CommandLineParser
from edge.errors import ExitCode
from tools import build_index, calibrate
from tools.demo_video.script import VideoCard
from tools.drawing.cards import over_white, write_cards
from tools.drawing.layout import draw_card
from tools.drawing.spec import CardSpec, card_specs

SAMPLE_DIRECTORY: Final = Path(__file__).resolve().parents[1] / "index" / "sample"
SAMPLE_NAME: Final = "Sample: drawn cards"
SAMPLE_SEED: Final = 2026
SAMPLE_COUNT: Final = 60
SAMPLE_REPRINTS: Final = 6
STRANGERS_SEED: Final = 4242
CALIBRATED_ON: Final = "2026-11-20"


def sample_specs() -> tuple[CardSpec, ...]:
    """Return the cards of the sample bundle, reprints last."""
    return card_specs(SAMPLE_COUNT, SAMPLE_SEED, SAMPLE_REPRINTS)


def sample_video_cards(count: int) -> list[VideoCard]:
    """Return the images of the first ``count`` sample cards, for a video."""
    return [VideoCard(spec.card_id, spec.name, over_white(draw_card(spec)), spec.artwork_group) for spec in sample_specs()[:count]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw, build and calibrate; return the exit status of the first that fails."""
    parser = CommandLineParser(description="Build the sample bundle of drawn cards.")
    parser.add_argument("--out", type=Path, default=SAMPLE_DIRECTORY, metavar="DIR", help="bundle to write (default index/sample)")
    parser.add_argument("--model", type=Path, metavar="DIR", help="folder of the network (default: the one under hef/)")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="cardedge-sample-") as directory:
        folder, strangers = Path(directory) / "cards", Path(directory) / "strangers"
        write_cards(sample_specs(), folder)
        cards = ["--images", str(folder), "--cards", str(folder / "cards.csv")]
        model = ["--model", str(args.model)] if args.model else []
        status = build_index.main([*cards, "--out", str(args.out), "--name", SAMPLE_NAME, "--no-cache", *model])
        if status != ExitCode.OK:
            return status
        strangers.mkdir()
        for spec in card_specs(SAMPLE_COUNT, STRANGERS_SEED, 0):
            Image.fromarray(draw_card(spec)).save(strangers / f"{spec.card_id}.png")
        measured = ["--index", str(args.out), "--strangers", str(strangers), "--views", "1", "--date", CALIBRATED_ON]
        return calibrate.main([*cards, *measured, *model])


if __name__ == "__main__":
    raise SystemExit(main())
