"""The figures of the locator as text, as JSON, and as one HTML page with every photo."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.frame import RgbImage
from edge.vision.image_file import read_image
from tools.evaluation.locator import OVERLAPS, Figures, LocatedPhoto, Share
from tools.reports.html_page import page, table, wide_image, write_page

COLUMNS: Final = (
    "cards",
    "labeled",
    "outlines",
    "false",
    *(f"{name} {least}" for name in ("recall", "precision") for least in OVERLAPS),
    "corner error",
    "p90",
    "own top-left",
)

_PAGE_SIDE: Final = 1200
_JPEG_QUALITY: Final = 80
_LABELED: Final = (40, 200, 40)
_FOUND: Final = (40, 80, 255)
_FALSE: Final = (255, 30, 30)
_IGNORED: Final = (150, 150, 150)

_LEGEND: Final = (
    "Green: labeled cards. Blue: outlines found that overlap a card by at least half. Red: false outlines. Gray: regions to ignore and "
    "the outlines in them. A dot marks the first corner. The page contains the photos: do not pass it on unless you may pass them on."
)


def as_record(split: str, figures: Figures) -> dict[str, object]:
    """Return the figures of a group as plain values for JSON; a figure without any card is null."""
    record: dict[str, object] = {
        "split": split,
        "cards": figures.group,
        "photos": figures.photos,
        "labeled": figures.labeled,
        "outlines": figures.outlines,
        "false": figures.false,
        "ignored": figures.ignored,
    }
    for name, shares in (("recall", figures.recall), ("precision", figures.precision)):
        record[name] = {str(least): _rounded(share.value()) for least, share in zip(OVERLAPS, shares, strict=True)}
        record[f"{name}_interval"] = {str(least): _interval(share) for least, share in zip(OVERLAPS, shares, strict=True)}
    median, p90 = _corner_errors(figures)
    record["corner_error_percent"] = {"cards": len(figures.corner_errors), "median": _rounded(median), "p90": _rounded(p90)}
    own = figures.own_top_left
    record["own_top_left"] = {"cards": own.whole, "share": _rounded(own.value()), "interval": _interval(own)}
    return record


def as_rows(groups: Sequence[Figures]) -> list[tuple[str, ...]]:
    """Return a row of text cells per group, for ``COLUMNS``: shares in percent with their intervals, corner errors in percent."""
    rows = []
    for figures in groups:
        counts = (figures.labeled, figures.outlines, figures.false)
        errors = ("-" if value is None else f"{value:.1f} %" for value in _corner_errors(figures))
        shares = (_percent(share) for share in (*figures.recall, *figures.precision))
        rows.append((figures.group, *map(str, counts), *shares, *errors, _percent(figures.own_top_left)))
    return rows


def as_text(groups: Sequence[Figures]) -> str:
    """Return the figures as a table for a terminal."""
    rows = [COLUMNS, *as_rows(groups)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def write_report(path: Path, split: str, located: Sequence[LocatedPhoto], groups: Sequence[Figures], folder: Path) -> None:
    """Write the page: the table, then every photo of ``folder`` with its outlines. Raises ``DataError``."""
    write_page(path, page(f"Locator: {split}", _body(split, located, groups, folder)))


def drawn(pixels: RgbImage, located: LocatedPhoto) -> RgbImage:
    """Return a copy of a photo, averaged down to at most 1200 pixels, with labels and outlines drawn in."""
    scale = min(1.0, _PAGE_SIDE / max(pixels.shape[:2]))
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    picture = np.array(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    for region in located.photo.ignored_regions():
        _draw(picture, region * scale, _IGNORED, 1)
    for card in located.photo.cards:
        _draw_outline(picture, card.quad().to_array() * scale, _LABELED)
    false = located.false_outlines()
    for number, outline in enumerate(located.outlines):
        color = _IGNORED if number in located.ignored else _FALSE if number in false else _FOUND
        _draw_outline(picture, outline.to_array() * scale, color)
    return picture


def _body(split: str, located: Sequence[LocatedPhoto], groups: Sequence[Figures], folder: Path) -> Iterator[str]:
    yield f"<h1>Locator: {escape(split)}</h1>\n<p>{len(located)} photos. {_LEGEND}</p>\n"
    yield table(COLUMNS, as_rows(groups))
    for one in located:
        photo = one.photo
        counts = f"{len(photo.cards)} labeled, {len(one.matches)} found, {len(one.false_outlines())} false, {len(one.ignored)} not counted"
        origin = "composite, " if photo.composite else ""
        yield f"<h2>{escape(photo.file)}</h2>\n<p>{counts} ({origin}{escape(photo.split)}, scene {escape(photo.scene)})</p>\n"
        yield wide_image(_jpeg(drawn(read_image(folder / photo.file), one)), photo.file)


def _draw_outline(picture: RgbImage, corners: NDArray[np.floating], color: tuple[int, int, int]) -> None:
    _draw(picture, corners, color, 2)
    x, y = (int(value) for value in np.rint(corners[0]))
    cv2.circle(picture, (x, y), 4, color, -1, cv2.LINE_AA)


def _draw(picture: RgbImage, corners: NDArray[np.floating], color: tuple[int, int, int], thickness: int) -> None:
    cv2.polylines(picture, [np.rint(corners).astype(np.int32)], isClosed=True, color=color, thickness=thickness, lineType=cv2.LINE_AA)


def _jpeg(pixels: RgbImage) -> bytes:
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return bytes(encoded.tobytes())


def _corner_errors(figures: Figures) -> tuple[float | None, float | None]:
    """Return the median and the 90th percentile."""
    if not figures.corner_errors:
        return None, None
    median, p90 = np.quantile(figures.corner_errors, (0.5, 0.9))
    return float(median), float(p90)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _interval(share: Share) -> list[float]:
    return [round(bound, 4) for bound in share.interval()]


def _percent(share: Share) -> str:
    """Return a share and its interval in percent, such as ``62.1 (57-67)``."""
    value, (low, high) = share.value(), share.interval()
    return "-" if value is None else f"{value * 100:.1f} ({low * 100:.0f}-{high * 100:.0f})"
