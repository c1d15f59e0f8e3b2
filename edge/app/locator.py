"""Opens the locator that the settings choose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from edge.settings.sections import LocateSection
from edge.vision.card import Locate
from edge.vision.locate import locate_cards

if TYPE_CHECKING:
    from edge.adapters.hailo_npu import HailoNpu
    from edge.recognition.locator_model import LocatorModel
    from edge.vision.detector import Detector


@contextmanager
def open_locate(settings: LocateSection, npu: HailoNpu | None = None) -> Iterator[Locate]:
    """Open the locator and yield the function that locates cards; close it at the end.

    A network on the NPU shares ``npu`` with the embedder if that runs there. Raises ``ModelError`` if the method needs the network and
    its model is absent, damaged or unusable, ``NpuError`` if they choose the NPU and it cannot be used.
    """
    if settings.method == "classical":
        yield partial(locate_cards, settings=settings.settings())
        return
    from edge.recognition.locator_model import find_locator_model, open_locator_model
    from edge.vision.combined_locator import CombinedLocator
    from edge.vision.network_locator import NetworkLocator

    model = open_locator_model(find_locator_model(settings.model))
    with closing(_open_detector(model, settings, npu)) as detector:
        network = NetworkLocator(detector, settings.settings())
        yield network.locate if settings.method == "network" else CombinedLocator(network).locate


def _open_detector(model: LocatorModel, settings: LocateSection, npu: HailoNpu | None) -> Detector:
    if settings.backend == "hailo":
        from edge.adapters.hailo import HailoDetector

        return HailoDetector(model, npu=npu)
    from edge.adapters.onnx import OnnxDetector

    return OnnxDetector(model)
