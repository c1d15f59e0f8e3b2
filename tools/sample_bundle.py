"""The sample bundle: a few drawn cards, so that a fresh clone has something to recognise.

python -m tools.sample_bundle --out index/sample      draw the cards and build the bundle with the network under hef/
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

if not __package__:  # started as a script: the repository's root holds both packages
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools import build_index
from tools.drawing.spec import CardSpec, card_specs
from tools.film_script import FilmCard
from tools.make_cards import draw_card, make_cards, over_white

SAMPLE_DIRECTORY: Final = Path(__file__).resolve().parents[1] / "index" / "sample"
SAMPLE_NAME: Final = "Sample: drawn cards"
SAMPLE_SEED: Final = 2026
SAMPLE_COUNT: Final = 60
SAMPLE_REPRINTS: Final = 6


def sample_specs() -> tuple[CardSpec, ...]:
    """Return the cards of the sample bundle, reprints last."""
    return card_specs(SAMPLE_COUNT, SAMPLE_SEED, SAMPLE_REPRINTS)


def sample_film_cards(count: int) -> list[FilmCard]:
    """Return the pictures of the first ``count`` sample cards, to be filmed."""
    return [FilmCard(spec.card_id, spec.name, over_white(draw_card(spec)), spec.artwork_group) for spec in sample_specs()[:count]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw and build; return the builder's exit status."""
    parser = argparse.ArgumentParser(description="Build the sample bundle of drawn cards.")
    parser.add_argument("--out", type=Path, default=SAMPLE_DIRECTORY, metavar="DIR", help="bundle to write (default index/sample)")
    parser.add_argument("--model", type=Path, metavar="DIR", help="folder of the network (default: the one under hef/)")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="cardedge-sample-") as directory:
        folder = Path(directory)
        make_cards(sample_specs(), folder)
        options = [
            "--images",
            str(folder),
            "--cards",
            str(folder / "cards.csv"),
            "--out",
            str(args.out),
            "--name",
            SAMPLE_NAME,
            "--no-cache",
        ]
        if args.model:
            options += ["--model", str(args.model)]
        return build_index.main(options)


if __name__ == "__main__":
    raise SystemExit(main())
