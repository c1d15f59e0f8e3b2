"""The composition root: puts the parts together. With ``edge.wiring`` the only place that knows which adapter serves which port.

Everything opens in order and closes in reverse, on failure too. Adapters are imported where they are chosen, so that a command loads only
the drivers it uses.
"""

from __future__ import annotations

import faulthandler
import platform
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import count
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from ulid import ULID

from edge import __version__
from edge.adapters.systemd import open_supervisor
from edge.app.camera import RECORDED, open_camera, shown_source
from edge.app.index import loading_for, open_gallery
from edge.app.network import Network, open_network
from edge.app.replay import BlockingEmbedder, EventCallbackSink, ReplayCamera, ReplayedEvent, camera_for
from edge.daemon.announcer import Announcer, Identity
from edge.daemon.control import CommandHandler
from edge.daemon.health import DeviceInfo, HealthReporter
from edge.daemon.loop import Camera, Daemon, DaemonBounds
from edge.daemon.number_queue import CollectorNumberQueue, ReadBand, ReadingThread, read_at_once
from edge.daemon.shared_embedder import SharedEmbedder
from edge.daemon.supervision import NoSupervisor, Supervisor
from edge.index.change import IndexStore, OpenedIndex
from edge.index.device_index import DeviceIndex
from edge.logs import set_up_logging
from edge.publishing.discovery import Device
from edge.publishing.event import Topics
from edge.publishing.sink import EventSink
from edge.publishing.state import ModelState
from edge.recognition.printing import TextReader
from edge.recognition.recognizer import Recognizer
from edge.settings.file import DEFAULT_SETTINGS_FILE, load_settings
from edge.settings.sections import BackendName, RecognitionSection, Settings
from edge.system import machine
from edge.system.clock import Clock
from edge.system.device_id import derive_device_id
from edge.tracking.tracker import Tracker, TrackId
from edge.vision.card_jpeg import card_picture
from edge.vision.locate import locate_cards

if TYPE_CHECKING:
    from edge.web.service import PageService

TOP_K: Final = 5
"""Candidates listed for a picture that somebody sends to the page."""

ANSWER_TIMEOUT_S: Final[dict[BackendName, float]] = {"onnx": 9.0, "hailo": 3.0}
"""A CPU that is busy is slow and an NPU that is silent hangs; both stay below what the watchdog allows the recogniser."""


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
class IdSource:
    """Who we are, and how tracks and events get their ids."""

    identity: Identity
    new_track_id: Callable[[], TrackId] = lambda: TrackId(str(ULID()))
    new_event_id: Callable[[], str] = lambda: str(ULID())


def numbered_names() -> IdSource:
    """Return names that are the same in every replay: tracks and events are counted."""
    tracks, events = count(1), count(1)
    return IdSource(Identity("replay", "replay"), lambda: TrackId(str(next(tracks))), lambda: str(ULID.from_int(next(events))))


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
        store = DeviceIndex(settings, loading_for(network))
        opened = store.open_active()
        device = Device(settings.device.name, f"{machine.board_name()}, {settings.network.backend}", __version__)
        sink = mqtt_sink(settings.mqtt, settings.home_assistant, settings.outbox, device_id=identity.device_id, device=device)
        stack.callback(sink.close, 0.0)  # for a start that fails; the daemon closes it with time to send
        camera = open_camera(settings.camera)
        read_band = None
        if reader := open_text_reader(settings.recognition):
            read_band = ReadingThread(reader)
            stack.callback(read_band.close)
        lent = SharedEmbedder(network.embedder)
        daemon = assemble(
            settings,
            IdSource(identity),
            network,
            opened,
            camera=camera,
            store=store,
            config=config,
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
def open_page(settings: Settings) -> Iterator[PageService]:
    """Return the scanner's page, not yet served. Raises ``SettingsError`` when its address needs a token and has none."""
    from edge.web.service import PageService

    page = PageService(settings.http)
    page.open()
    with closing(page):
        yield page


@contextmanager
def serve_page(page: PageService, settings: Settings, daemon: Daemon, lent: SharedEmbedder) -> Iterator[str]:
    """Serve the page of a daemon while the block lasts; its address is the value. Raises ``DeviceError`` for a port in use."""
    from edge.adapters.http import HttpServer
    from edge.identification.images import IdentifyOptions
    from edge.web.application import make_application
    from edge.web.service import ImageQueryContext

    # without a reader of collector numbers: the daemon's own reads one at a time
    recognition = ImageQueryContext(
        lambda: daemon.opened,
        lambda: daemon.loaded,
        lent,
        IdentifyOptions(settings.locate.settings(), TOP_K),
        settings.recognition.neighbors_k,
    )
    page.use_for_queries(recognition)
    server = HttpServer(make_application(page), page.broadcaster.end, settings.http.host, settings.http.port)
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
        network = opened_network if realtime else replace(opened_network, embedder=BlockingEmbedder(opened_network.embedder))
        opened = open_gallery(settings, network)
        sink = EventCallbackSink(emit, camera, clock)
        reader = open_text_reader(settings.recognition)
        lent = SharedEmbedder(network.embedder)
        daemon = assemble(
            settings,
            numbered_names(),
            network,
            opened,
            camera=camera,
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


def assemble(
    settings: Settings,
    names: IdSource,
    network: Network,
    opened: OpenedIndex,
    *,
    camera: Camera,
    sink: EventSink,
    supervisor: Supervisor,
    clock: Clock,
    read_band: ReadBand | None,
    lent: SharedEmbedder,
    page: PageService | None,
    store: IndexStore | None = None,
    config: Path = DEFAULT_SETTINGS_FILE,
) -> Daemon:
    """Return a daemon made of open parts. Without ``store`` it keeps its index; ``config`` is the settings file that a reload reads."""
    if page is not None:
        sink = page.wrap_sink(sink)
    manifest = network.model.manifest
    backend = settings.network.backend
    model = ModelState(
        at=clock.utc_now(),
        model_id=manifest.model_id,
        name=manifest.name,
        backend=backend,
        artefact=network.embedder.info.artifact_sha256,
        dim=manifest.dim,
    )
    recognizer = Recognizer(network.embedder, opened.loaded, neighbors_k=settings.recognition.neighbors_k)
    tracker = Tracker(names.new_track_id, settings.track.policy())
    announcer = Announcer(sink, names.identity, model, clock, names.new_event_id)
    about = DeviceInfo(names.identity, shown_source(settings.camera), backend, manifest.model_id, _versions())
    locate = settings.locate.settings()
    return Daemon(
        camera,
        lambda pixels: locate_cards(pixels, locate),
        recognizer,
        tracker,
        CommandHandler(recognizer, tracker, opened, announcer, supervisor, embed=lent.embed, store=store, config=config),
        sink,
        supervisor,
        announcer=announcer,
        reporter=HealthReporter(sink, about, clock, npu=network.npu),
        make_picture=card_picture if settings.image.enabled else None,
        viewer=page.live_state if page else None,
        lent=lent,
        numbers=CollectorNumberQueue(read_band, tracker, always=settings.recognition.read_numbers == "always"),
        clock=clock,
        bounds=DaemonBounds(recognition_s=ANSWER_TIMEOUT_S[backend]),
    )


def _versions() -> dict[str, str]:
    """Return the versions that matter when two scanners behave differently."""
    libraries = {name: version(name) for name in ("onnxruntime", "hnswlib", "numpy", "opencv-python-headless", "paho-mqtt")}
    return {"cardedge": __version__, "python": platform.python_version(), **libraries}
