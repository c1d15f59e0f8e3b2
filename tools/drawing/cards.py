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
from tools.drawing.layout import draw_back, draw_card
from tools.drawing.spec import CardSpec

COLUMNS: Final = ("card_id", "name", "image", "set", "number", "rarity", "language", "artwork_group")
BACK_NAME: Final = "back"


def over_white(image: NDArray[np.uint8]) -> RgbImage:
    """Blend an RGBA image over white; return RGB uint8 of the same height and width."""
    cover = image[..., 3:].astype(np.float32) / 255.0
    return np.ascontiguousarray(image[..., :3] * cover + 255.0 * (1.0 - cover) + 0.5).astype(np.uint8)


def write_cards(specs: Iterable[CardSpec], out: Path, *, size: Size = CARD_SIZE, suffix: str = ".png") -> int:
    """Write an image per card and the back into the folder ``out``, then ``cards.csv``; return the number of cards.

    ``suffix`` is ``.png`` or ``.webp`` (lossy, quality 90). An interrupted run leaves no ``cards.csv``.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for spec in specs:
        name = f"{spec.set_code}/{spec.number:03d}{suffix}"
        (out / name).parent.mkdir(exist_ok=True)
        _save(draw_card(spec, size), out / name)
        rows.append((spec.card_id, spec.name, name, spec.set_code, str(spec.number), spec.rarity, spec.language, spec.artwork_group))
    _save(draw_back(size), out / f"{BACK_NAME}{suffix}")
    with replacement(out / "cards.csv", durable=False) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return len(rows)


def _save(pixels: NDArray[np.uint8], path: Path) -> None:
    image = Image.fromarray(pixels)
    if path.suffix == ".webp":
        image.save(path, quality=90, method=2)
    else:
        image.save(path, compress_level=3)
