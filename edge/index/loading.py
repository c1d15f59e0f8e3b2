"""Cards added on the device: from a picture to the overlay, and from the overlay into the gallery that serves."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge.errors import DataError, EdgeError
from edge.index.change import NewCard, OpenedIndex
from edge.index.joined_index import join
from edge.index.overlay import AddedImage, Embed, OverlayWriter, open_overlay, overlay_id, read_images
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId
from edge.vision.single_card import from_photo, from_scan

if TYPE_CHECKING:
    from pathlib import Path

    from edge.bundles.bundle import Bundle
    from edge.bundles.writer import GraphWriter
    from edge.recognition.embedding import ModelId
    from edge.recognition.recognizer import LoadedGallery, VectorIndex
    from edge.settings.sections import Settings
    from edge.vision.locate import LocateSettings

_log = logging.getLogger(__name__)

CARD_ID_PATTERN: Final = r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,126}[^\s\x00-\x1f\x7f])?"
"""1 to 128 printable characters without blanks at the ends."""


@dataclass(frozen=True, slots=True, eq=False)
class BundleLoader:
    """How a bundle is made ready to be asked on this device, and what cards are added with.

    ``artefact`` is the sha256 of the network's file that runs; ``load`` takes a release, ``load_added`` the bundle of added cards.
    """

    model_id: ModelId
    artefact: str
    load: Callable[[Bundle, Settings], LoadedGallery]
    load_added: Callable[[Bundle], VectorIndex]
    write_graph: GraphWriter

    def overlay_writer(self, embed: Embed) -> OverlayWriter:
        """Return what an overlay is made with."""
        return OverlayWriter(self.model_id, self.artefact, embed, self.write_graph)


def load_with_overlay(
    root: Path, bundle: Bundle, settings: Settings, loading: BundleLoader, waiting_settings: tuple[str, ...] = ()
) -> OpenedIndex:
    """Return a release made ready, with the cards that were added under ``root``.

    Added cards that cannot be used are left out and left where they are; the reason is logged and stands in the answer.
    Raises ``BundleError`` for what is wrong with the release.
    """
    loaded = loading.load(bundle, settings)
    pictures: list[AddedImage] = []
    bundles = [bundle]
    problem = None
    if overlay_id(root) is not None:
        try:
            overlay = open_overlay(root, expected_model_id=loading.model_id)
            pictures = read_images(root)
            if overlay is not None and pictures:
                # similarities of both are compared, so both see an embedding through the release's projection
                searched = overlay.bundle.projected(bundle.projection) if bundle.projection else overlay.bundle
                loaded = join(loaded, bundle, overlay.bundle, pictures, loading.load_added(searched))
                bundles.append(overlay.bundle)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with them, the release serves
            problem = str(error) if isinstance(error, EdgeError) else f"a bug: {type(error).__name__}: {error}"
            pictures = []
            _log.error("the added cards are left out: %s", problem)
    return OpenedIndex(loaded, bundle.manifest, waiting_settings, len(pictures), problem, tuple(bundles))


def image_to_add(wanted: NewCard, known: Mapping[CardId, Card], locate: LocateSettings) -> AddedImage:
    """Return a card as the overlay keeps it. ``known`` are the cards of the release, whose facts may not be contradicted.

    Raises ``DataError`` (``ImageError`` for a picture that does not show exactly one card) that names the field.
    """
    card_id, name = CardId(wanted.card_id), wanted.name.strip()
    if not re.fullmatch(CARD_ID_PATTERN, card_id):
        raise DataError(f"card_id {card_id!r}: 1 to 128 printable characters are needed, without blanks at the ends")
    if not name or len(name) > 200:
        raise DataError(f"name {wanted.name!r}: 1 to 200 characters are needed")
    here = known.get(card_id)
    if here is not None and here.name != name:
        raise DataError(
            f"{card_id} is {here.name!r} in the bundle, not {name!r}; give that name to add a picture of it, or another card_id"
        )
    pixels, where = wanted.pixels(), f"the picture of {card_id}"
    shown = from_scan(pixels, where) if wanted.rectified else from_photo(pixels, where, locate)
    card = Card(card_id, name, card_id, wanted.set, wanted.number, wanted.rarity, wanted.language)
    return AddedImage(card, shown)
