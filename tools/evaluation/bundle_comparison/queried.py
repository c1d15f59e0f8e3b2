"""Two bundles queried with the same photos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge.app.index import as_loaded_gallery, make_vector_index, with_projection
from edge.bundles.bundle import Bundle
from edge.index.releases import open_index
from edge.recognition.model import Model
from edge.recognition.recognizer import Embedder, Recognizer
from edge.vision.card import Locate, LocatedCard
from edge.vision.frame import RgbImage
from edge.vision.image_file import read_image
from tools.evaluation.bundle_comparison.answers import Answer, answer_of
from tools.evaluation.bundle_comparison.comparison import Compared
from tools.evaluation.bundle_comparison.truth import Truth
from tools.evaluation.queries import whole_card

_THUMBNAIL_SIDE = 240

_JPEG_QUALITY = 80


@dataclass(frozen=True, slots=True, eq=False)
class QueriedBundle:
    """A bundle with a recognizer for its cards."""

    bundle: Bundle
    recognizer: Recognizer

    def answer(self, pixels: RgbImage, located: Sequence[LocatedCard]) -> Answer:
        """Return the answer of the bundle to the cards located in a photo, RGB uint8 (height, width, 3)."""
        names = {card_id: card.name for card_id, card in self.bundle.gallery.cards.items()}
        return answer_of(self.recognizer.recognize(pixels, located), names)


def open_queried_bundle(path: Path, model: Model, embedder: Embedder) -> QueriedBundle:
    """Open a bundle, or the index of a device, that was embedded by ``model``, which ``embedder`` runs. Raises ``BundleError``."""
    bundle = open_index(path, expected_model_id=model.model_id)
    index = with_projection(make_vector_index(bundle, "hnsw"), bundle)
    return QueriedBundle(bundle, Recognizer(embedder, as_loaded_gallery(bundle, index, model.evidence)))


def compare_photos(
    photos: Sequence[Path], old: QueriedBundle, new: QueriedBundle, truth: Truth, locate: Locate | None
) -> Iterator[Compared]:
    """Yield the answers of both bundles to each photo; cards are located once. Without ``locate`` each photo is one card, edge to edge."""
    for photo in photos:
        pixels = read_image(photo)
        located = whole_card(pixels) if locate is None else locate(pixels)
        yield Compared(photo, truth(photo), old.answer(pixels, located), new.answer(pixels, located), _thumbnail(pixels))


def _thumbnail(pixels: RgbImage) -> bytes:
    scale = min(1.0, _THUMBNAIL_SIDE / max(pixels.shape[:2]))
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(np.asarray(small), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return jpeg.tobytes()
