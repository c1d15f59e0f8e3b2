"""Read the outlines that people drew on photos of trading cards.

A label file is JSON: ``{"photos": [...]}``, by default ``tests/data/photo_outlines.json``. The photos themselves are not part of the
project. Fields of a photo:

- ``file``, ``width``, ``height``: its name and its size in pixels.
- ``scene``: photos of the same cards or the same ground share a scene; all photos of a scene are in one split.
- ``composite``: put together on a computer instead of photographed.
- ``split``: ``train``, or ``held_out``, which is never used for training. Each is about half of the photos and of most kinds.
- ``ignore``: polygons with cards that are not labeled. An outline there is neither right nor false. They may overlap labeled cards.
- ``cards``: the labeled cards. Card-shaped things that are no trading card have no label, so an outline around one is false.

Fields of a card:

- ``corners``: of the card itself, not of its sleeve or case, clockwise, its own top-left corner first. The corners are those of the
  card before rounding, where its sides would meet. (0, 0) is the outer corner of the top-left pixel; a corner may lie outside the photo.
- ``kind``: ``bare``, ``sleeve``, ``slab`` (rigid case), ``binder`` (pocket of a page), ``hand`` or ``pile`` (overlapping cards).
- ``face``: ``front`` or ``back``.
- ``order_known``: whether the card's own top-left corner can be determined.
- ``exact``: false where a corner is hidden or outside the photo and was extrapolated.

Labeled are cards of which at least 70 % is visible.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, FiniteFloat, PositiveInt, ValidationError, model_validator

from edge.errors import DataError
from edge.schema import Schema, first_problem
from edge.vision.card import Quad

DEFAULT_LABELS: Final = Path(__file__).parents[2] / "tests" / "data" / "photo_outlines.json"

ViewKind: TypeAlias = Literal["bare", "sleeve", "slab", "binder", "hand", "pile"]
KINDS: Final[tuple[ViewKind, ...]] = get_args(ViewKind)
Split: TypeAlias = Literal["held_out", "train"]

Place: TypeAlias = tuple[FiniteFloat, FiniteFloat]
PIXEL_CENTER: Final = 0.5
"""Label coordinates minus this are frame coordinates, in which the center of the top-left pixel is (0, 0)."""


def _clockwise(corners: tuple[Place, ...]) -> tuple[Place, ...]:
    """Return the corners. Raises ``ValueError`` unless they are convex and clockwise as seen in the photo."""
    points = np.array(corners)
    sides = np.roll(points, -1, axis=0) - points
    following = np.roll(sides, -1, axis=0)
    if (sides[:, 0] * following[:, 1] - sides[:, 1] * following[:, 0] <= 0.0).any():
        raise ValueError("the corners are not convex and clockwise")
    return corners


class LabeledCard(Schema):
    """The outline of one card, see the module."""

    corners: Annotated[tuple[Place, Place, Place, Place], AfterValidator(_clockwise)]
    kind: ViewKind
    face: Literal["front", "back"]
    order_known: bool
    exact: bool

    def quad(self) -> Quad:
        """Return the outline in frame coordinates."""
        return Quad.from_array(np.array(self.corners) - PIXEL_CENTER)


class LabeledPhoto(Schema):
    """The labels of one photo, see the module."""

    file: str = Field(pattern=r"^[^/\\]+$")
    width: PositiveInt
    height: PositiveInt
    scene: str = Field(min_length=1)
    composite: bool
    split: Split
    ignore: tuple[Annotated[tuple[Place, ...], Field(min_length=3)], ...]
    cards: tuple[LabeledCard, ...]

    def ignored_regions(self) -> list[NDArray[np.float64]]:
        """Return the polygons to ignore in frame coordinates, each float64 (N, 2)."""
        return [np.array(polygon) - PIXEL_CENTER for polygon in self.ignore]


class PhotoLabels(Schema):
    """A label file."""

    photos: tuple[LabeledPhoto, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _no_photo_twice_no_scene_divided(self) -> Self:
        files = [photo.file for photo in self.photos]
        if twice := next((file for file in files if files.count(file) > 1), None):
            raise ValueError(f"{twice} is listed twice")
        splits: dict[str, set[Split]] = defaultdict(set)
        for photo in self.photos:
            splits[photo.scene].add(photo.split)
        if divided := next((scene for scene, of_scene in splits.items() if len(of_scene) > 1), None):
            raise ValueError(f"scene {divided!r} is in both splits")
        return self


def read_photo_labels(path: Path) -> tuple[LabeledPhoto, ...]:
    """Return the labeled photos of a file, in its order. Raises ``DataError`` naming the first wrong field."""
    try:
        return PhotoLabels.model_validate_json(path.read_bytes()).photos
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); choose a label file with --labels") from error
    except ValidationError as error:
        raise DataError(f"{path}: {first_problem(error, 'labels')}; correct the label file") from error


def photos_of(labeled: Sequence[LabeledPhoto], split: Split | Literal["all"]) -> tuple[LabeledPhoto, ...]:
    """Return the photos of one split, or all."""
    return tuple(photo for photo in labeled if split in {"all", photo.split})


def require_photos(labeled: Sequence[LabeledPhoto], folder: Path) -> None:
    """Check that every labeled photo is in a folder. Raises ``DataError`` naming the first that is absent."""
    absent = [photo.file for photo in labeled if not (folder / photo.file).is_file()]
    if absent:
        raise DataError(
            f"{folder}: {len(absent)} of {len(labeled)} labeled photos are absent, first {absent[0]}; name their folder with --photos"
        )
