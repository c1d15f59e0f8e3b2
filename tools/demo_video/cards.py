"""The cards that appear in the demo video: from a folder of drawn cards, or drawn on demand."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

from edge.errors import DataError
from edge.vision.image_file import read_image
from tools.demo_video.script import VideoCard
from tools.drawing.cards import over_white
from tools.drawing.layout import draw_card
from tools.drawing.spec import card_spec

UNKNOWN_SEED: Final = 990_001
"""Seed of drawn cards that are in no demo index."""


def read_video_cards(folder: Path) -> list[VideoCard]:
    """Return the cards in a folder written by ``tools/make_cards.py``. Raises ``DataError`` if it cannot be read."""
    table = folder / "cards.csv"
    try:
        with table.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{table}: {error.strerror}; draw cards with `python -m tools.make_cards --out {folder}`") from error
    try:
        return [VideoCard(row["card_id"], row["name"], read_image(folder / row["image"]), row.get("artwork_group", "")) for row in rows]
    except KeyError as error:
        raise DataError(f"{table}: column {error} is missing; draw the cards again") from error


def drawn_video_card(seed: int, index: int) -> VideoCard:
    """Return drawn card ``index`` of the series ``seed``."""
    spec = card_spec(seed, index)
    return VideoCard(spec.card_id, spec.name, over_white(draw_card(spec)), spec.artwork_group)
