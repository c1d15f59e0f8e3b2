"""The composition root: the only place that knows which adapter serves which port.

Everything opens in order and closes in reverse, on failure too. Adapters are imported where they are chosen, so that a command loads only
the drivers it uses.
"""

from __future__ import annotations

import faulthandler
import platform
import re
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import count
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final, Literal

from ulid import ULID

from edge import __version__
from edge.adapters.systemd import open_supervisor
from edge.bundles.adding import Loading, with_added
from edge.bundles.bundle import Bundle, run_self_test
from edge.bundles.bundle_writing import GraphWriter
from edge.bundles.device_index import DeviceIndex
from edge.bundles.index_change import IndexChanger, IndexStore, OpenedIndex
from edge.bundles.releases import open_index
from edge.camera.capture import CameraThread, FrameSource
from edge.camera.frame_watch import FrameWatch
from edge.card import Size
from edge.card_picture import card_picture
from edge.daemon import Camera, Daemon, DaemonBounds
from edge.errors import SettingsError
from edge.event import Topics
from edge.lent_network import LentNetwork
from edge.locate import locate_cards
from edge.logs import set_up_logging
from edge.model import Model, check_pairing, open_model, self_test
from edge.model_search import find_model
from edge.npu import NpuReadings
from edge.pipeline import Embedder, LoadedGallery, Recognizer, VectorIndex
from edge.printing import TextReader
from edge.publishing.announce import Announcer, Identity
from edge.publishing.discovery import Device
from edge.publishing.sink import EventSink
from edge.publishing.state import ModelState
from edge.replay import EventPrinter, OneIndex, ReplayCamera, ReplayedEvent, WaitingEmbedder, camera_for
from edge.service import machine
from edge.service.clock import Clock
from edge.service.commands import ControlDesk
from edge.service.device_id import derive_device_id
from edge.service.health import HealthReporter, Setting
from edge.service.number_desk import NumberDesk, ReadBand, ReadingThread, read_at_once
from edge.service.supervision import NoSupervisor, Supervisor
from edge.settings import BackendName, CameraSection, NetworkSection, RecognitionSection, Settings
from edge.settings_file import load_settings
from edge.track import Tracker, TrackId

if TYPE_CHECKING:
    from edge.web.page import Page

RECORDED: Final = {"film", "stills"}
"""Kinds of sources that have an end and may stand still: no watch for frozen pictures."""

TOP_K: Final = 5
"""Candidates listed for a picture that somebody sends to the page."""

ANSWER_TIMEOUT_S: Final[dict[BackendName, float]] = {"onnx": 9.0, "hailo": 3.0}
"""A CPU that is busy is slow and an NPU that is silent hangs; both stay below what the watchdog allows the recogniser."""


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """A network that runs and has passed its self-test with the least cosine ``agreement``; ``npu`` reads the chip, where it is one."""

    model: Model
    embedder: Embedder
    agreement: float
    npu: Callable[[], NpuReadings] | None = None


@contextmanager
def open_network(settings: NetworkSection) -> Iterator[Network]:
    """Open the network, run it on its golden pictures, and close it at the end. Raises ``ModelError`` or ``EmbedderError``."""
    model = open_model(find_model(settings.model))
    if settings.backend == "hailo":
        from edge.adapters.hailo import HailoEmbedder

        npu = HailoEmbedder(model)
        with closing(npu):
            yield Network(model, npu, self_test(npu.submit, model, kind="hef"), npu.readings)
        return
    from edge.adapters.onnx import OnnxEmbedder

    embedder = OnnxEmbedder(
        model, threads=settings.threads, arena=settings.arena, spin=settings.spin, graph_optimization=settings.graph_optimization
    )
    with closing(embedder):
        yield Network(model, embedder, self_test(embedder.submit, model, kind="onnx"))


def make_vector_index(bundle: Bundle, kind: Literal["hnsw", "exact"]) -> VectorIndex:
    """Return the index among the rows of an open bundle; ``hnsw`` is the bundle's own, which may be a scan. Raises ``BundleError``."""
    if kind == "exact":
        from edge.adapters.exact import ExactIndex

        return ExactIndex(bundle)
    if bundle.coarse is not None:
        from edge.adapters.int8 import Int8Index

        return Int8Index(bundle)
    from edge.adapters.hnsw import HnswIndex

    return HnswIndex(bundle)


def for_embeddings(index: VectorIndex, bundle: Bundle) -> VectorIndex:
    """Return ``index``, which searches the rows of ``bundle``, such that embeddings can be asked for."""
    if bundle.projection is None:
        return index
    from edge.adapters.projected import ProjectedIndex

    return ProjectedIndex(index, bundle.projection)


def load_gallery(bundle: Bundle, settings: Settings) -> LoadedGallery:
    """Return a bundle made ready to be asked. Raises ``BundleError``."""
    index = make_vector_index(bundle, settings.index.search)
    run_self_test(bundle, index.search)
    return LoadedGallery(
        bundle.manifest.bundle_id, bundle.gallery, for_embeddings(index, bundle), settings.thresholds.over(bundle.thresholds)
    )


def graph_writer() -> GraphWriter:
    """Return what writes the graphs of bundles."""
    from edge.adapters.hnsw import write_graph

    return write_graph


def loading_for(network: Network) -> Loading:
    """Return how bundles are made ready for a network, and cards are added with it."""
    model_id, artefact = network.model.model_id, network.embedder.artefact

    def load(bundle: Bundle, settings: Settings) -> LoadedGallery:
        check_pairing(network.model.manifest, bundle.manifest.artefact, artefact)
        return load_gallery(bundle, settings)

    return Loading(model_id, artefact, load, _added_index, graph_writer())


def _added_index(bundle: Bundle) -> VectorIndex:
    return for_embeddings(make_vector_index(bundle, "exact"), bundle)


def open_gallery(settings: Settings, network: Network) -> OpenedIndex:
    """Open the bundle or the device's index that the settings name, with the cards that were added there. Raises ``BundleError``."""
    bundle = open_index(settings.index.directory, expected_model_id=network.model.model_id)
    return with_added(settings.index.directory, bundle, settings, loading_for(network))


@contextmanager
def open_recognizer(settings: Settings) -> Iterator[Recognizer]:
    """Open network and bundle and put them together. Raises ``ModelError``, ``BundleError`` or ``EmbedderError``."""
    with open_network(settings.network) as network:
        yield Recognizer(network.embedder, open_gallery(settings, network).loaded, neighbors_k=settings.recognition.neighbors_k)


def open_text_reader(settings: RecognitionSection) -> TextReader | None:
    """Return what reads collector numbers, None when nobody is to. Raises ``TextReaderError`` when it is wanted and not installed."""
    from edge.adapters.ocr import RapidOcrReader, is_installed

    wanted = settings.read_numbers
    if wanted == "never" or (wanted == "auto" and not is_installed()):
        return None
    return RapidOcrReader()


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
    from edge.publishing.broker_probe import probe_broker as probe

    device_id = settings.device.id or derive_device_id()
    mqtt = settings.mqtt.model_copy(update={"client_id": f"{settings.mqtt.client_id or f'cardedge-{device_id}'}-check"})
    # the will of this visit must not say that the daemon is offline
    visitor = Topics(mqtt.prefix, f"{device_id}-check")
    topic = Topics(mqtt.prefix, device_id).reply("check")
    return probe(lambda version: MqttSession(mqtt, visitor, version), protocol=mqtt.protocol, topic=topic, timeout_s=mqtt.connect_timeout_s)


@dataclass(frozen=True, slots=True)
class Names:
    """Who we are, and how tracks and events get their ids."""

    identity: Identity
    new_track_id: Callable[[], TrackId] = lambda: TrackId(str(ULID()))
    new_event_id: Callable[[], str] = lambda: str(ULID())


def numbered_names() -> Names:
    """Return names that are the same in every replay: tracks and events are counted."""
    tracks, events = count(1), count(1)
    return Names(Identity("replay", "replay"), lambda: TrackId(str(next(tracks))), lambda: str(ULID.from_int(next(events))))


def run_daemon(config: Path, *, verbose: bool = False) -> None:
    """Run the daemon by the settings in ``config`` until SIGTERM or SIGINT; SIGHUP makes it read settings and bundle again."""
    # before we can reload there is nothing to reload, and the signal's default would end us
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    settings = load_settings(config)
    set_up_logging("debug" if verbose else settings.log.level)
    faulthandler.enable()  # the supervisor's SIGABRT writes every thread's stack
    with open_daemon(config, settings, open_supervisor()) as daemon:

        def stop(_number: int, _frame: FrameType | None) -> None:
            daemon.stop()

        def reload(_number: int, _frame: FrameType | None) -> None:
            daemon.reload()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGHUP, reload)
        daemon.run()


@contextmanager
def open_daemon(config: Path, settings: Settings, supervisor: Supervisor) -> Iterator[Daemon]:
    """Open everything the daemon needs, in order; close it in reverse. ``config`` is what a reload reads."""
    from edge.adapters.mqtt import mqtt_sink

    identity = Identity(settings.device.id or derive_device_id(), boot_id=str(ULID()))
    with ExitStack() as stack:
        page = stack.enter_context(open_page(settings)) if settings.http.enabled else None
        network = stack.enter_context(open_network(settings.network))
        store = DeviceIndex(config, settings, loading_for(network), set_up_logging)
        opened = store.open_active()
        device = Device(settings.device.name, f"{machine.board_name()}, {settings.network.backend}", __version__)
        sink = mqtt_sink(settings.mqtt, settings.home_assistant, settings.outbox, device_id=identity.device_id, device=device)
        stack.callback(sink.close, 0.0)  # for a start that fails; the daemon closes it with time to send
        camera = open_camera(settings.camera)
        read_band = None
        if reader := open_text_reader(settings.recognition):
            read_band = ReadingThread(reader)
            stack.callback(read_band.close)
        lent = LentNetwork(network.embedder)
        daemon = _assemble(
            settings,
            Names(identity),
            network,
            opened,
            camera=camera,
            store=store,
            sink=sink,
            supervisor=supervisor,
            clock=Clock(),
            read_band=read_band,
            lent=lent,
            page=page,
        )
        if page is not None:
            stack.enter_context(serve_page(page, settings, daemon, lent))
        yield daemon


@contextmanager
def open_page(settings: Settings) -> Iterator[Page]:
    """Return the scanner's page, not yet served. Raises ``SettingsError`` when its address needs a token and has none."""
    from edge.web.page import Page

    page = Page(settings.http)
    page.open()
    with closing(page):
        yield page


@contextmanager
def serve_page(page: Page, settings: Settings, daemon: Daemon, lent: LentNetwork) -> Iterator[str]:
    """Serve the page of a daemon while the block lasts; its address is the value. Raises ``DeviceError`` for a port in use."""
    from edge.adapters.http import HttpServer
    from edge.identify import Request
    from edge.web.page import Recognition
    from edge.web.routes import make_application

    # without a reader of collector numbers: the daemon's own reads one at a time
    recognition = Recognition(
        lambda: daemon.opened, lambda: daemon.loaded, lent, Request(settings.locate.settings(), TOP_K), settings.recognition.neighbors_k
    )
    page.answer_for(recognition)
    server = HttpServer(make_application(page), page.hub, settings.http.host, settings.http.port)
    with closing(server):
        server.start()
        yield server.url


def replay(source: str, settings: Settings, emit: Callable[[ReplayedEvent], None], *, realtime: bool) -> None:
    """Show ``source`` to the daemon's loop and hand its events to ``emit``, until the source ends.

    Cameras always run in real time. Raises what keeps the source, the network or the bundle from being used.
    """
    section = camera_for(source)
    realtime = realtime or section.kind not in RECORDED
    camera = ReplayCamera(open_camera(section, realtime=realtime, recover=False))
    clock = Clock() if realtime else camera.film_clock()
    with ExitStack() as stack:
        if settings.http.enabled:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cardedge-review-"))
            http = settings.http.model_copy(update={"review_dir": Path(folder)})
            page = stack.enter_context(open_page(settings.model_copy(update={"http": http})))
        else:
            page = None
        opened_network = stack.enter_context(open_network(settings.network))
        network = opened_network if realtime else replace(opened_network, embedder=WaitingEmbedder(opened_network.embedder))
        opened = open_gallery(settings, network)
        sink = EventPrinter(emit, camera, clock)
        reader = open_text_reader(settings.recognition)
        lent = LentNetwork(network.embedder)
        daemon = _assemble(
            settings,
            numbered_names(),
            network,
            opened,
            camera=camera,
            store=OneIndex(),
            sink=sink,
            supervisor=NoSupervisor(),
            clock=clock,
            read_band=read_at_once(reader) if reader else None,
            lent=lent,
            page=page,
        )
        if page is not None:
            stack.enter_context(serve_page(page, settings, daemon, lent))
        camera.on_over = daemon.stop
        daemon.run()


def _assemble(
    settings: Settings,
    names: Names,
    network: Network,
    opened: OpenedIndex,
    *,
    camera: Camera,
    store: IndexStore,
    sink: EventSink,
    supervisor: Supervisor,
    clock: Clock,
    read_band: ReadBand | None,
    lent: LentNetwork,
    page: Page | None,
) -> Daemon:
    """Put a daemon together from open parts."""
    if page is not None:
        sink = page.beside(sink)
    manifest = network.model.manifest
    backend = settings.network.backend
    model = ModelState(
        at=clock.utc_now(),
        model_id=manifest.model_id,
        name=manifest.name,
        backend=backend,
        artefact=network.embedder.artefact,
        dim=manifest.dim,
    )
    recognizer = Recognizer(network.embedder, opened.loaded, neighbors_k=settings.recognition.neighbors_k)
    tracker = Tracker(names.new_track_id, settings.track.policy())
    announcer = Announcer(sink, names.identity, model, clock, names.new_event_id)
    about = Setting(names.identity, _shown(settings.camera), backend, manifest.model_id, _versions())
    locate = settings.locate.settings()
    return Daemon(
        camera,
        lambda pixels: locate_cards(pixels, locate),
        recognizer,
        tracker,
        ControlDesk(recognizer, tracker, opened, IndexChanger(store, lent.embed), announcer, supervisor),
        sink,
        supervisor,
        announcer=announcer,
        reporter=HealthReporter(sink, about, clock, npu=network.npu),
        make_picture=card_picture if settings.image.enabled else None,
        viewer=page.showcase if page else None,
        lent=lent,
        numbers=NumberDesk(read_band, tracker, always=settings.recognition.read_numbers == "always"),
        clock=clock,
        bounds=DaemonBounds(recognition_s=ANSWER_TIMEOUT_S[backend]),
    )


def _versions() -> dict[str, str]:
    """Return the versions that matter when two scanners behave differently."""
    libraries = {name: version(name) for name in ("onnxruntime", "hnswlib", "numpy", "opencv-python-headless", "paho-mqtt")}
    return {"cardedge": __version__, "python": platform.python_version(), **libraries}


def _shown(settings: CameraSection) -> str:
    """Return where the frames come from, for everybody to see: an address without its user and password."""
    return f"{settings.kind} {re.sub(r'//[^/@]*@', '//…@', settings.source)}"


def _camera_number(source: str) -> int:
    if not re.fullmatch(r"\d{1,2}", source):
        raise SettingsError(f'camera.source = "{source}": a Pi camera is named by its number, "0" for the first')
    return int(source)
