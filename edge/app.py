"""The composition root: the only place that knows which adapter serves which port.

Everything opens in order and closes in reverse, on failure too. Adapters are imported where they are chosen, so that a command loads only
the drivers it uses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edge.bundle import Bundle, run_self_test
from edge.capture import CameraThread
from edge.card import Size
from edge.device_id import derive_device_id
from edge.errors import EmbedderError, SettingsError
from edge.event import Topics
from edge.frame_watch import FrameWatch
from edge.model import Model, open_model, self_test
from edge.model_search import find_model
from edge.pipeline import LoadedGallery, Recognizer
from edge.releases import open_index
from edge.settings import CameraSection, NetworkSection, Settings

if TYPE_CHECKING:
    from edge.bundle import Bundle
    from edge.capture import FrameSource
    from edge.pipeline import Embedder, VectorIndex

RECORDED = {"film", "stills"}
"""Kinds of sources that have an end and may stand still: no watch for frozen pictures."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network that runs and has passed its self-test with the least cosine ``agreement``."""

    model: Model
    embedder: Embedder
    agreement: float


@contextmanager
def open_network(settings: NetworkSection) -> Iterator[Network]:
    """Open the network, run it on its golden pictures, and close it at the end. Raises ``ModelError`` or ``EmbedderError``."""
    if settings.backend == "hailo":
        raise EmbedderError('this version has no Hailo adapter; set network.backend = "onnx" to run the network on the CPU')
    from edge.adapters.onnx import OnnxEmbedder

    model = open_model(find_model(settings.model))
    embedder = OnnxEmbedder(
        model, threads=settings.threads, arena=settings.arena, spin=settings.spin, graph_optimization=settings.graph_optimization
    )
    with closing(embedder):
        yield Network(model, embedder, self_test(embedder.submit, model, kind="onnx"))


def make_vector_index(bundle: Bundle, kind: Literal["hnsw", "exact"]) -> VectorIndex:
    """Return the index of an open bundle. Raises ``BundleError``."""
    if kind == "exact":
        from edge.adapters.exact import ExactIndex

        return ExactIndex(bundle)
    from edge.adapters.hnsw import HnswIndex

    return HnswIndex(bundle)


def load_gallery(bundle: Bundle, settings: Settings) -> LoadedGallery:
    """Return a bundle made ready to be asked. Raises ``BundleError``."""
    index = make_vector_index(bundle, settings.index.search)
    run_self_test(bundle, index.search)
    return LoadedGallery(bundle.manifest.bundle_id, bundle.gallery, index, settings.thresholds.over(bundle.thresholds))


@contextmanager
def open_recognizer(settings: Settings) -> Iterator[tuple[Recognizer, Bundle, Network]]:
    """Open network and bundle and put them together. Raises ``ModelError``, ``BundleError`` or ``EmbedderError``."""
    with open_network(settings.network) as network:
        bundle = open_index(settings.index.directory, expected_model_id=network.model.model_id)
        yield Recognizer(network.embedder, load_gallery(bundle, settings), neighbors_k=settings.recognition.neighbors_k), bundle, network


def frame_source(settings: CameraSection, *, realtime: bool = True) -> Callable[[], FrameSource]:
    """Return what makes a fresh source for each opening. ``realtime`` is for films and stills; cameras know nothing else.

    Raises ``SettingsError`` for a ``source`` that does not fit the ``kind``.
    """
    size = Size(settings.width, settings.height)
    match settings.kind:
        case "film":
            from edge.adapters.video import FilmSource

            return lambda: FilmSource(Path(settings.source), loop=settings.loop, realtime=realtime)
        case "stills":
            from edge.adapters.stills import StillsSource

            folder, shown_s = Path(settings.source), settings.seconds_per_still
            return lambda: StillsSource(folder, seconds_per_still=shown_s, fps=settings.fps, loop=settings.loop, realtime=realtime)
        case "stream":
            from edge.adapters.video import StreamSource

            return lambda: StreamSource(settings.source, open_timeout_s=settings.open_timeout_s, read_timeout_s=settings.read_timeout_s)
        case "v4l2":
            from edge.adapters.video import DeviceSource

            return lambda: DeviceSource(settings.source, size=size, fps=settings.fps, pixel_format=settings.pixel_format)
        case "picamera2":
            from edge.adapters.picamera import PicameraSource

            number = _camera_number(settings.source)
            return lambda: PicameraSource(
                number,
                size=size,
                fps=settings.fps,
                lens_position_dioptres=settings.lens_position_dioptres,
                exposure_us=settings.exposure_us,
                gain=settings.gain,
            )


def open_camera(settings: CameraSection, *, realtime: bool = True, recover: bool = True) -> CameraThread:
    """Return the camera's thread, not yet started. A recorded source that is not ``realtime`` runs in lockstep: no frame is dropped."""
    recorded = settings.kind in RECORDED
    return CameraThread(
        frame_source(settings, realtime=realtime),
        watch=None if recorded else FrameWatch(settings.frozen_after_s),
        lockstep=recorded and not realtime,
        recover=recover,
        open_timeout_s=settings.open_timeout_s,
        read_timeout_s=settings.read_timeout_s,
    )


def probe_broker(settings: Settings) -> str:
    """Visit the broker as the daemon would, under a client id of its own, and return what it did. Raises ``BrokerError``."""
    from edge.adapters.mqtt import MqttSession
    from edge.broker_probe import probe_broker as probe

    device_id = settings.device.id or derive_device_id()
    mqtt = settings.mqtt.model_copy(update={"client_id": f"{settings.mqtt.client_id or f'cardedge-{device_id}'}-check"})
    # the will of this visit must not say that the daemon is offline
    visitor = Topics(mqtt.prefix, f"{device_id}-check")
    topic = Topics(mqtt.prefix, device_id).reply("check")
    return probe(lambda version: MqttSession(mqtt, visitor, version), protocol=mqtt.protocol, topic=topic, timeout_s=mqtt.connect_timeout_s)


def _camera_number(source: str) -> int:
    if not re.fullmatch(r"\d{1,2}", source):
        raise SettingsError(f'camera.source = "{source}": a Pi camera is named by its number, "0" for the first')
    return int(source)
