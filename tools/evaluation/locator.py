"""Locate cards on photos with labeled outlines, and measure what is found, what is missed and how exact the corners are."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edge.errors import DataError
from edge.vision.card import Quad, overlap
from edge.vision.frame import RgbImage
from edge.vision.image_file import read_image
from tools.labels.photo_outlines import KINDS, LabeledPhoto, ViewKind
from tools.reports.intervals import wilson_interval

OVERLAPS: Final = (0.5, 0.7, 0.85)
"""Intersection over union from which an outline is right, smallest first; corners and order are measured from the smallest."""

IGNORED_SHARE: Final = 0.5
"""An outline that matches no card and has this share of its visible area in regions to ignore is not counted."""

PHOTOGRAPHS: Final = "without composites"

FindOutlines: TypeAlias = Callable[[RgbImage], Sequence[Quad]]
"""Returns the outlines of the cards in a picture."""


class Match(NamedTuple):
    """An outline found and the labeled card that it matches, by their numbers in the photo, with their overlap."""

    outline: int
    card: int
    overlap: float


@dataclass(frozen=True, slots=True, eq=False)
class LocatedPhoto:
    """What was found on a photo.

    ``ignored`` are the outlines that are not counted. ``nearest`` has for each outline the kind of the card that it matches, or else
    overlaps most; ``None`` if it overlaps no card.
    """

    photo: LabeledPhoto
    outlines: tuple[Quad, ...]
    matches: tuple[Match, ...]
    ignored: frozenset[int]
    nearest: tuple[ViewKind | None, ...]

    def false_outlines(self) -> frozenset[int]:
        """Return the numbers of the outlines that are counted and match no card."""
        return frozenset(range(len(self.outlines))) - self.ignored - {match.outline for match in self.matches}


@dataclass(frozen=True, slots=True)
class Share:
    """A count out of a number of trials."""

    part: int
    whole: int

    def value(self) -> float | None:
        """Return the share, or ``None`` without any trial."""
        return self.part / self.whole if self.whole else None

    def interval(self) -> tuple[float, float]:
        """Return the Wilson 95 % interval."""
        return wilson_interval(self.part, self.whole)


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """The figures of a group of cards.

    ``recall`` and ``precision`` have one entry per value of ``OVERLAPS``. ``corner_errors`` has an entry per matched exact card, in
    percent of the card's height. ``own_top_left`` is the share of matched cards whose outline starts at their own top-left corner.
    """

    group: str
    photos: int
    labeled: int
    outlines: int
    ignored: int
    false: int
    recall: tuple[Share, ...]
    precision: tuple[Share, ...]
    corner_errors: tuple[float, ...]
    own_top_left: Share


def locate_in_photos(photos: Sequence[LabeledPhoto], folder: Path, find: FindOutlines) -> list[LocatedPhoto]:
    """Locate the cards of every photo in a folder. Raises ``DataError`` if a photo is unreadable or not as large as labeled."""
    located = []
    for photo in tqdm(photos, unit="photo", file=sys.stderr, disable=None):
        pixels = read_image(folder / photo.file)
        height, width = pixels.shape[:2]
        if (width, height) != (photo.width, photo.height):
            size = f"{width}x{height} pixels, labeled as {photo.width}x{photo.height}"
            raise DataError(f"{folder / photo.file}: {size}; use the photo that was labeled")
        located.append(compare(photo, find(pixels)))
    return located


def compare(photo: LabeledPhoto, outlines: Sequence[Quad]) -> LocatedPhoto:
    """Match outlines with the labels of a photo. Matched outlines count even where a region to ignore overlaps the card."""
    cards = [card.quad() for card in photo.cards]
    overlaps = np.array([[overlap(outline, card) for card in cards] for outline in outlines]).reshape(len(outlines), len(cards))
    matches = match(overlaps)
    matched = {pair.outline: pair.card for pair in matches}
    ignored = frozenset(
        number
        for number, outline in enumerate(outlines)
        if number not in matched and share_in(outline, photo.ignored_regions(), photo.width, photo.height) >= IGNORED_SHARE
    )
    nearest: list[ViewKind | None] = []
    for number in range(len(outlines)):
        card = matched.get(number, int(np.argmax(overlaps[number])) if cards else -1)
        nearest.append(photo.cards[card].kind if card >= 0 and overlaps[number, card] > 0.0 else None)
    return LocatedPhoto(photo, tuple(outlines), matches, ignored, tuple(nearest))


def match(overlaps: NDArray[np.float64], least: float = OVERLAPS[0]) -> tuple[Match, ...]:
    """Return pairs of outlines and cards from their overlaps (outlines, cards): best first, each used once, none below ``least``."""
    pairs = []
    left = overlaps.copy()
    while left.size and left.max() >= least:
        outline, card = (int(number) for number in np.unravel_index(np.argmax(left), left.shape))
        pairs.append(Match(outline, card, float(left[outline, card])))
        left[outline, :] = left[:, card] = -1.0
    return tuple(pairs)


def share_in(outline: Quad, regions: Sequence[NDArray[np.float64]], width: int, height: int) -> float:
    """Return the share of an outline's area inside the picture that lies in polygons; 0 if it is outside the picture."""
    inside, ignored = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    cv2.fillPoly(inside, [np.rint(outline.to_array()).astype(np.int32)], 1)
    for region in regions:
        cv2.fillPoly(ignored, [np.rint(region).astype(np.int32)], 1)
    area = int(inside.sum())
    return int((inside & ignored).sum()) / area if area else 0.0


def corner_error_percent(outline: Quad, card: Quad) -> float:
    """Return the mean distance of the corners in percent of the card's height, with the outline in the orientation that fits best."""
    return float(_corner_distances(outline, card).min() / _height(card) * 100.0)


def starts_at_own_top_left(outline: Quad, card: Quad) -> bool:
    """Return whether the outline's first corner is the one at the card's own top-left corner."""
    return int(np.argmin(_corner_distances(outline, card))) == 0


def _corner_distances(outline: Quad, card: Quad) -> NDArray[np.float64]:
    """Return the mean corner distance for the four orientations of the outline, as it is first."""
    corners, expected = outline.to_array().astype(np.float64), card.to_array().astype(np.float64)
    return np.array([np.linalg.norm(np.roll(corners, -turn, axis=0) - expected, axis=1).mean() for turn in range(4)])


def _height(card: Quad) -> float:
    corners = card.to_array().astype(np.float64)
    return float((np.linalg.norm(corners[3] - corners[0]) + np.linalg.norm(corners[2] - corners[1])) / 2.0)


def all_figures(located: Sequence[LocatedPhoto]) -> list[Figures]:
    """Return the figures of all cards, of those in photographs if there are composites, and of each kind that occurs."""
    groups = [_figures("all", located, None)]
    photographs = [one for one in located if not one.photo.composite]
    if len(photographs) < len(located):
        groups.append(_figures(PHOTOGRAPHS, photographs, None))
    groups += [_figures(kind, located, kind) for kind in KINDS]
    return [group for group in groups if group.labeled or group.group not in KINDS]


def _figures(group: str, located: Sequence[LocatedPhoto], kind: ViewKind | None) -> Figures:
    """Return the figures of a kind, or of all. An outline is of the kind of its card; a false one, of the card that it overlaps most."""
    matches = [(one, pair) for one in located for pair in one.matches if kind in {None, one.photo.cards[pair.card].kind}]
    false = sum(kind in {None, one.nearest[number]} for one in located for number in one.false_outlines())
    cards = [sum(kind in {None, card.kind} for card in one.photo.cards) for one in located]
    right = [sum(pair.overlap >= least for _, pair in matches) for least in OVERLAPS]
    pairs = [(one.outlines[pair.outline], one.photo.cards[pair.card]) for one, pair in matches]
    own = [starts_at_own_top_left(outline, card.quad()) for outline, card in pairs if card.order_known]
    return Figures(
        group=group,
        photos=len(located) if kind is None else sum(count > 0 for count in cards),
        labeled=sum(cards),
        outlines=len(matches) + false,
        ignored=sum(kind in {None, one.nearest[number]} for one in located for number in one.ignored),
        false=false,
        recall=tuple(Share(count, sum(cards)) for count in right),
        precision=tuple(Share(count, len(matches) + false) for count in right),
        corner_errors=tuple(corner_error_percent(outline, card.quad()) for outline, card in pairs if card.exact),
        own_top_left=Share(sum(own), len(own)),
    )
