"""Loading a release with its overlay, and preparing the image of a card for the overlay."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge.bundles.bundle import open_bundle
from edge.bundles.card_text import NotTextError, clean_line
from edge.errors import DataError, EdgeError
from edge.index.change import CardCatalog, NewCard, OpenedIndex
from edge.index.joined_index import KnownArtworks, join
from edge.index.overlay import AddedImage, Embed, OverlayWriter, open_overlay
from edge.index.overlay_file import OverlayReader
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId
from edge.vision.single_card import from_photo, from_scan

if TYPE_CHECKING:
    from pathlib import Path

    from edge.bundles.bundle import Bundle
    from edge.index.releases import BundleCheck
    from edge.recognition.embedding import EmbeddingMatrix, ModelId, Projection
    from edge.recognition.recognizer import LoadedGallery, VectorIndex
    from edge.settings.sections import Settings
    from edge.vision.card import Locate

_log = logging.getLogger(__name__)

CARD_ID_PATTERN: Final = r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,126}[^\s\x00-\x1f\x7f])?"
"""1 to 128 printable characters without spaces at the ends."""


@dataclass(frozen=True, slots=True, eq=False)
class BundleLoader:
    """Opens vector indexes and writes overlays for the model in use; supplied by the composition root, which chooses the adapters.

    ``artefact`` is the SHA-256 of the model file in use. ``load`` turns a release into a gallery with its vector index and thresholds; it
    raises ``BundleError``. ``load_added`` turns the embeddings of the added cards, their cards and the release's projection into a vector
    index. ``check`` opens a release that another program may have damaged, before this process does.
    """

    model_id: ModelId
    artefact: str
    load: Callable[[Bundle, Settings], LoadedGallery]
    load_added: Callable[[EmbeddingMatrix, Sequence[CardId], Projection | None], VectorIndex]
    check: BundleCheck = open_bundle

    def overlay_writer(self, embed: Embed) -> OverlayWriter:
        """Return a writer of overlays that embeds with ``embed``."""
        return OverlayWriter(self.model_id, self.artefact, embed)


@dataclass(frozen=True, slots=True)
class KnownOverlay:
    """What one load of an overlay leaves for the next, whose cost is then that of the cards added since. For one thread at a time."""

    reader: OverlayReader = field(default_factory=OverlayReader)
    artworks: KnownArtworks = field(default_factory=KnownArtworks)


def load_with_overlay(
    root: Path,
    bundle: Bundle,
    settings: Settings,
    loader: BundleLoader,
    waiting_settings: tuple[str, ...] = (),
    known: KnownOverlay | None = None,
) -> OpenedIndex:
    """Load a release together with the overlay below ``root``, of which ``known`` is what the last load has left.

    An overlay that cannot be used is left out and kept on disk; the reason is logged and returned as ``added_problem``.
    Raises ``BundleError`` if the release cannot be used.
    """
    known = known or KnownOverlay()
    loaded = loader.load(bundle, settings)
    catalogs: tuple[CardCatalog, ...] = (bundle,)
    added_images, problem = 0, None
    try:
        overlay = open_overlay(root, expected_model_id=loader.model_id, read=known.reader.rows)
        if overlay is not None:
            # similarities of both are compared, so the release's projection applies to the overlay too
            index = loader.load_added(overlay.vectors, overlay.gallery.entry_card_ids, bundle.projection)
            loaded = join(loaded, bundle, overlay, index, known.artworks)
            catalogs = (bundle, overlay)
            added_images, problem = len(overlay.vectors), overlay.problem
    except Exception as error:  # noqa: BLE001 - a broken overlay must not keep the release from being used
        problem = str(error) if isinstance(error, EdgeError) else f"a bug: {type(error).__name__}: {error}"
    if problem is not None:
        _log.error("added cards are left out: %s", problem)
    return OpenedIndex(loaded, bundle.manifest, waiting_settings, added_images, problem, catalogs)


def image_to_add(new: NewCard, known: Mapping[CardId, Card], locate: Locate) -> AddedImage:
    """Return the rectified image and metadata of a new card.

    ``known`` are the cards of the release; ``locate`` finds the card in a photo. Raises ``DataError`` naming the field, also if the release
    has another name for the card; ``ImageError`` if the image does not show exactly one card.
    """
    texts = {field: _text(field, getattr(new, field)) for field in ("card_id", "name", "set", "number", "rarity", "language")}
    card_id, name = CardId(texts["card_id"]), texts["name"]
    if not card_id or not re.fullmatch(CARD_ID_PATTERN, new.card_id):
        raise DataError(f"card_id {card_id!r}: 1 to 128 printable characters are required, without spaces at the ends")
    if not name or len(name) > 200:
        raise DataError(f"name {new.name!r}: 1 to 200 characters are required")
    in_release = known.get(card_id)
    if in_release is not None and clean_line(in_release.name) != name:
        raise DataError(
            f"{card_id} is {in_release.name!r} in the bundle, not {name!r}; use that name to add an image of it, or another card_id"
        )
    pixels, where = new.pixels(), f"the image of {card_id}"
    rectified = from_scan(pixels, where) if new.rectified else from_photo(pixels, where, locate)
    set_, number, rarity, language = (texts[field] or None for field in ("set", "number", "rarity", "language"))
    return AddedImage(Card(card_id, name, card_id, set_, number, rarity, language), rectified)


def _text(field: str, value: str | None) -> str:
    """Return a text of a new card as ``tools.build_index`` reads it from an export. Raises ``DataError``."""
    try:
        return clean_line(value or "")
    except NotTextError as error:
        raise DataError(f"{field} {value!r} holds {error}, which is not text; remove it") from error
