"""The composition root: puts the parts together. With ``edge.wiring`` the only place that knows which adapter serves which port.

Everything opens in order and closes in reverse, on failure too. Adapters are imported where they are chosen, so that a command loads only
the drivers it uses.
"""

from __future__ import annotations

import faulthandler
import os
import platform
import signal
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

from ulid import ULID

from edge import __version__
from edge.app.camera import open_camera, shown_source
from edge.app.index import bundle_loader
from edge.app.network import Network, open_network
from edge.app.page import open_page, serve_page
from edge.app.recognizer import open_text_reader
from edge.daemon.announcer import Announcer, Identity
from edge.daemon.control import CommandHandler
from edge.daemon.health import DeviceInfo, HealthReporter
from edge.daemon.locator import CardLocator
from edge.daemon.loop import Daemon, DaemonBounds
from edge.daemon.number_queue import CollectorNumberQueue, ReadText, TextReaderThread
from edge.daemon.ports import Camera
from edge.daemon.shared_embedder import SharedEmbedder
from edge.daemon.supervision import NoSupervisor, Supervisor
from edge.index.change import OpenedIndex
from edge.index.device_index import DeviceIndex
from edge.logs import set_up_logging
from edge.publishing.discovery import Device
from edge.publishing.sink import EventSink
from edge.publishing.state import ModelState
from edge.recognition.recognizer import Recognizer
from edge.settings.file import DEFAULT_SETTINGS_FILE, load_settings
from edge.settings.sections import BackendName, Settings
from edge.system import machine
from edge.system.clock import Clock
from edge.system.device_id import derive_device_id
from edge.tracking.tracker import Tracker, TrackId

if TYPE_CHECKING:
    from edge.web.service import PageService

ANSWER_TIMEOUT_S: Final[dict[BackendName, float]] = {"onnx": 9.0, "hailo": 3.0}
"""A CPU that is busy is slow and an NPU that is silent hangs; both stay below what the watchdog allows the recogniser."""


@dataclass(frozen=True, slots=True)
class IdSource:
    """Who we are, and how tracks and events get their ids."""

    identity: Identity
    new_track_id: Callable[[], TrackId] = lambda: TrackId(str(ULID()))
    new_event_id: Callable[[], str] = lambda: str(ULID())


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


def open_supervisor(environment: MutableMapping[str, str] = os.environ) -> Supervisor:
    """Return systemd if it started this process (``NOTIFY_SOCKET`` is set), else a supervisor that ignores every call.

    Removes the variables from ``environment``, so that child processes cannot send notifications for this one.
    """
    from edge.adapters.systemd import Systemd

    address = environment.pop("NOTIFY_SOCKET", "")
    watchdog_usec = environment.pop("WATCHDOG_USEC", "")
    watchdog_pid = environment.pop("WATCHDOG_PID", "")
    if not address:
        return NoSupervisor()
    watched = not watchdog_pid or watchdog_pid == str(os.getpid())
    return Systemd(address, watchdog_s=int(watchdog_usec) / 1e6 if watched and watchdog_usec.isdigit() else None)


@contextmanager
def open_daemon(config: Path, settings: Settings, supervisor: Supervisor) -> Iterator[Daemon]:
    """Open everything the daemon needs, in order; close it in reverse. ``config`` is what a reload reads."""
    from edge.app.broker import mqtt_sink

    identity = Identity(settings.device.id or derive_device_id(), boot_id=str(ULID()))
    with ExitStack() as stack:
        page = stack.enter_context(open_page(settings)) if settings.http.enabled else None
        network = stack.enter_context(open_network(settings.network))
        store = DeviceIndex(settings, bundle_loader(network))
        opened = store.open_active()
        device = Device(settings.device.name, f"{machine.board_name()}, {settings.network.backend}", __version__)
        sink = mqtt_sink(settings.mqtt, settings.home_assistant, settings.outbox, device_id=identity.device_id, device=device)
        stack.callback(sink.close, 0.0)  # for a start that fails; the daemon closes it with time to send
        camera = open_camera(settings.camera)
        read_text = None
        if reader := open_text_reader(settings.recognition):
            read_text = TextReaderThread(reader)
            stack.callback(read_text.close)
        shared_embedder = SharedEmbedder(network.embedder)
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
            read_text=read_text,
            shared_embedder=shared_embedder,
            page=page,
        )
        if page is not None:
            stack.enter_context(serve_page(page, settings, daemon, shared_embedder))
        yield daemon


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
    read_text: ReadText | None,
    shared_embedder: SharedEmbedder,
    page: PageService | None,
    store: DeviceIndex | None = None,
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
    locator = CardLocator(settings.locate.settings())
    return Daemon(
        camera,
        locator,
        recognizer,
        tracker,
        CommandHandler(
            locator, recognizer, tracker, opened, announcer, supervisor, embed=shared_embedder.embed, store=store, config=config
        ),
        sink,
        supervisor,
        announcer=announcer,
        reporter=HealthReporter(sink, about, clock, npu=network.npu),
        publish_images=settings.image.enabled,
        viewer=page.live_state if page else None,
        shared_embedder=shared_embedder,
        numbers=CollectorNumberQueue(read_text, tracker, always=settings.recognition.read_numbers == "always"),
        clock=clock,
        bounds=DaemonBounds(recognition_s=ANSWER_TIMEOUT_S[backend]),
    )


def _versions() -> dict[str, str]:
    """Return the versions that matter when two scanners behave differently."""
    libraries = {name: version(name) for name in ("onnxruntime", "hnswlib", "numpy", "opencv-python-headless", "paho-mqtt")}
    return {"cardedge": __version__, "python": platform.python_version(), **libraries}
