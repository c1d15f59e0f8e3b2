"""Opens the locator that the settings choose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

from edge.settings.sections import LocateSection
from edge.vision.card import Locate
from edge.vision.locate import locate_cards


@contextmanager
def open_locate(settings: LocateSection) -> Iterator[Locate]:
    """Open the locator and yield the function that locates cards; close it at the end.

    Raises ``ModelError`` if the settings choose the network and its model is absent, damaged or unusable.
    """
    if settings.method == "classical":
        yield partial(locate_cards, settings=settings.settings())
        return
    from edge.adapters.onnx import OnnxDetector
    from edge.recognition.locator_model import find_locator_model, open_locator_model
    from edge.vision.network_locator import NetworkLocator

    with closing(OnnxDetector(open_locator_model(find_locator_model(settings.model)))) as detector:
        yield NetworkLocator(detector, settings.settings()).locate
