"""Opens the recognizer and the reader of collector numbers that the settings describe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeAlias

from edge.app.model import start_model
from edge.index.change import CardCatalog
from edge.recognition.collector_number import TextReader
from edge.recognition.neighbors import CardId
from edge.recognition.recognizer import Recognizer
from edge.settings.sections import RecognitionSection, Settings
from edge.vision.frame import RgbImage
from edge.vision.image_file import decode_image

ReferenceImage: TypeAlias = Callable[[CardId], RgbImage]
"""Returns the reference image of a card of the index. Raises ``BundleError``, or ``ImageError`` if it is damaged."""


@contextmanager
def open_recognizer(settings: Settings) -> Iterator[Recognizer]:
    """Open model and index and yield a recognizer; close both at the end. Raises ``ModelError``, ``BundleError`` or ``EmbedderError``."""
    with open_recognizer_with_images(settings) as (recognizer, _):
        yield recognizer


@contextmanager
def open_recognizer_with_images(settings: Settings) -> Iterator[tuple[Recognizer, ReferenceImage]]:
    """Open model and index as ``open_recognizer`` does; yield the reference images of the index, too."""
    with start_model(settings.network) as starting:
        from edge.app.index import open_gallery  # here, because importing it takes as long as a fifth of the model's start

        opened = open_gallery(settings, starting.model, starting.artifact_sha256)
        recognizer = Recognizer(starting.result().embedder, opened.loaded, neighbors_k=settings.recognition.neighbors_k)
        yield recognizer, partial(_reference_image, opened.catalogs)


def _reference_image(catalogs: Sequence[CardCatalog], card_id: CardId) -> RgbImage:
    catalog = next(each for each in catalogs if card_id in each.gallery.cards)
    return decode_image(catalog.reference_image(card_id), f"reference image of {card_id}")


def open_text_reader(settings: RecognitionSection) -> TextReader | None:
    """Return the reader of collector numbers, or None if the settings ask for none.

    Raises ``TextReaderError`` if the settings require one and the extra ``ocr`` is not installed.
    """
    from edge.adapters.ocr import RapidOcrReader, is_installed

    wanted = settings.read_numbers
    if wanted == "never" or (wanted == "auto" and not is_installed()):
        return None
    return RapidOcrReader()
