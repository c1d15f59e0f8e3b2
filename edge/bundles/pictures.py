"""``pictures.bin``: the reference images of a bundle, one JPEG after the other in the order of the cards.

They are outside the database because its pages hold numbers of other pages: one more card would change every page with a picture.
``cards.sqlite`` has their sizes (``edge.bundles.card_database``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from edge.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

    from edge.bundles.card_database import PicturePlace
    from edge.recognition.neighbors import CardId


def write_pictures(path: Path, cards: Iterable[CardId], images: Mapping[CardId, bytes]) -> dict[CardId, int]:
    """Write the images of the cards that have one; return their sizes in the order in which they were written."""
    sizes = {}
    with path.open("wb") as file:
        for card_id in cards:
            if card_id in images:
                sizes[card_id] = file.write(images[card_id])
    return sizes


def read_picture(path: Path, place: PicturePlace) -> bytes:
    """Return an image. Raises ``BundleError`` if the file cannot be read or ends before it."""
    try:
        with path.open("rb") as file:
            file.seek(place.offset)
            image = file.read(place.size_bytes)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); copy the bundle again") from error
    if len(image) != place.size_bytes:
        raise BundleError(f"{path}: ends within a picture; build or copy the bundle again")
    return image
