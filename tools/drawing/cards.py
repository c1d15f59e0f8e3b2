"""Folders of drawn cards: one image per card, the back, and ``cards.csv`` as ``tools.build_index`` reads it."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge.system.files import replacement
from edge.vision.card import CARD_SIZE, Size
from edge.vision.frame import RgbImage
from tools.drawing.depiction import attributes, caption
from tools.drawing.layout import draw_back, draw_described_card
from tools.drawing.spec import CardSpec

COLUMNS: Final = ("card_id", "name", "image", "set", "number", "rarity", "language", "artwork_group")
DESCRIPTION_COLUMNS: Final = (
    *("relation", "related_to", "layout", "family", "subject", "color", "features", "scene", "backdrop", "light", "weather", "style"),
    "caption",
)
"""Further columns of a described list; see ``tools/drawing/depiction.py``."""

BACK_NAME: Final = "back"


def over_white(image: NDArray[np.uint8]) -> RgbImage:
    """Blend an RGBA image over white; return RGB uint8 of the same height and width."""
    cover = image[..., 3:].astype(np.float32) / 255.0
    return np.ascontiguousarray(image[..., :3] * cover + 255.0 * (1.0 - cover) + 0.5).astype(np.uint8)


def write_cards(specs: Iterable[CardSpec], out: Path, *, size: Size = CARD_SIZE, suffix: str = ".png", described: bool = False) -> int:
    """Write an image per card and the back into the folder ``out``, then ``cards.csv``; return the number of cards.

    ``suffix`` is ``.png`` or ``.webp`` (lossy, quality 90). ``described`` adds ``DESCRIPTION_COLUMNS`` to the list. An interrupted run
    leaves no ``cards.csv``.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for spec in specs:
        name = f"{spec.set_code}/{spec.number:03d}{suffix}"
        (out / name).parent.mkdir(exist_ok=True)
        pixels, depiction = draw_described_card(spec, size)
        _save(pixels, out / name)
        row = (spec.card_id, spec.name, name, spec.set_code, str(spec.number), spec.rarity, spec.language, spec.artwork_group)
        description = (spec.relation, spec.related_to, *attributes(spec, depiction).values(), caption(spec, depiction))
        rows.append((*row, *description) if described else row)
    _save(draw_back(size), out / f"{BACK_NAME}{suffix}")
    with replacement(out / "cards.csv", durable=False) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*COLUMNS, *DESCRIPTION_COLUMNS) if described else COLUMNS)
        writer.writerows(rows)
    return len(rows)


def _save(pixels: NDArray[np.uint8], path: Path) -> None:
    image = Image.fromarray(pixels)
    if path.suffix == ".webp":
        image.save(path, quality=90, method=2)
    else:
        image.save(path, compress_level=3)
