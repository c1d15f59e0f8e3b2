"""Opens the recognizer and the reader of collector numbers that the settings describe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edge.app.index import open_gallery
from edge.app.model import load_model
from edge.recognition.collector_number import TextReader
from edge.recognition.recognizer import Recognizer
from edge.settings.sections import RecognitionSection, Settings


@contextmanager
def open_recognizer(settings: Settings) -> Iterator[Recognizer]:
    """Open model and index and yield a recognizer; close both at the end. Raises ``ModelError``, ``BundleError`` or ``EmbedderError``."""
    with load_model(settings.network) as loaded:
        yield Recognizer(loaded.embedder, open_gallery(settings, loaded).loaded, neighbors_k=settings.recognition.neighbors_k)


def open_text_reader(settings: RecognitionSection) -> TextReader | None:
    """Return the reader of collector numbers, or None if the settings ask for none.

    Raises ``TextReaderError`` if the settings require one and the extra ``ocr`` is not installed.
    """
    from edge.adapters.ocr import RapidOcrReader, is_installed

    wanted = settings.read_numbers
    if wanted == "never" or (wanted == "auto" and not is_installed()):
        return None
    return RapidOcrReader()
