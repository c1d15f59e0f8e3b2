"""Assembles and runs the daemon.

The package ``edge.app`` is the composition root: only here is an adapter chosen for a port. Components are opened in order and closed in
reverse, also if opening fails. Adapters are imported where they are chosen, so that a command loads only the drivers it uses.
"""

from __future__ import annotations

import faulthandler
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

import cv2
from ulid import ULID

from edge import __version__
from edge.app.camera import open_camera, source_label
from edge.app.child_check import check_in_child
from edge.app.index import bundle_loader
from edge.app.locator import open_locate
from edge.app.model import LoadedModel, start_model
from edge.app.page import open_page, serve_page
from edge.app.recognizer import open_text_reader
from edge.app.storage import memory_storage
from edge.daemon.activity_sink import ActivitySink
from edge.daemon.announcer import Announcer, Identity
from edge.daemon.control import CommandHandler
from edge.daemon.health import DeviceInfo, HealthReporter
from edge.daemon.locator import CardLocator
from edge.daemon.loop import Daemon, DaemonBounds
from edge.daemon.number_queue import CollectorNumberQueue, ReadText, TextReaderThread
from edge.daemon.ports import Camera
from edge.daemon.shared_embedder import SharedEmbedder
from edge.daemon.supervision import NoSupervisor, Supervisor
from edge.index import releases
from edge.index.activity import ActivityLog
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
from edge.vision.card import Locate

if TYPE_CHECKING:
    from edge.web.service import PageService

RECOGNITION_TIMEOUT_S: Final[dict[BackendName, float]] = {"onnx": 9.0, "hailo": 3.0}
"""How long the embeddings of a frame may take: a busy CPU is slow, a silent NPU hangs. Below the watchdog's bound of the recognizer."""


SWITCH_INTERVAL_S: Final = 0.0005
"""How long a thread may keep the interpreter while another waits for it. A frame waits after each of its dozens of calls into a library:
with Python's 5 ms, a bundle that is loaded meanwhile would hold up several frames."""


@dataclass(frozen=True, slots=True)
class IdSource:
    """The identity of the scanner and the functions that make ids of tracks and events."""

    identity: Identity
    new_track_id: Callable[[], TrackId] = lambda: TrackId(str(ULID()))
    new_event_id: Callable[[], str] = lambda: str(ULID())


def run_daemon(config: Path, *, verbose: bool = False) -> None:
    """Run the daemon with the settings in ``config`` until SIGTERM or SIGINT; SIGHUP reloads settings and index.

    The caller handles signals until the daemon is open.
    """
    settings = load_settings(config)
    set_up_logging("debug" if verbose else settings.log.level)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    faulthandler.enable()  # on SIGABRT from the supervisor, print the stack of every thread
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
    """Open all components in order, yield the daemon, and close them in reverse. ``config`` is the file that a reload reads.

    Raises ``EdgeError`` if a component cannot be opened. An unavailable camera or broker is not an error.
    """
    from edge.app.broker import mqtt_sink

    identity = Identity(settings.device.id or derive_device_id(), boot_id=str(ULID()))
    cv2.setNumThreads(1)  # frames are small: OpenCV's threads take a quarter more processor time, and the network needs the cores
    with ExitStack() as stack:
        starting = stack.enter_context(start_model(settings.network))
        page = stack.enter_context(open_page(settings)) if settings.http.enabled else None
        locate = stack.enter_context(open_locate(settings.locate, starting.result().npu if settings.network.backend == "hailo" else None))
        check = partial(check_in_child, search=settings.index.search)
        store = DeviceIndex(settings, bundle_loader(starting.model, starting.artifact_sha256, check), locate)
        supervisor.extend_start(store.opening_s())
        opened = store.open_active()
        model = starting.result()
        device = Device(settings.device.name, f"{machine.board_name()}, {settings.network.backend}", __version__)
        sink: EventSink = mqtt_sink(
            settings.mqtt,
            settings.home_assistant,
            settings.outbox,
            device_id=identity.device_id,
            device=device,
            images=settings.image.enabled,
        )
        if releases.is_root(settings.index.directory):
            sink = ActivitySink(sink, ActivityLog(settings.index.directory))
        stack.callback(sink.close, 0.0)  # if start-up fails; the daemon itself closes it and leaves time to send
        camera = open_camera(settings.camera)
        read_text = None
        if reader := open_text_reader(settings.recognition):
            read_text = TextReaderThread(reader)
            stack.callback(read_text.close)
        daemon = assemble(
            settings,
            IdSource(identity),
            model,
            opened,
            locate=locate,
            camera=camera,
            store=store,
            storage_problem=memory_storage(settings, temporary=False),
            config=config,
            sink=sink,
            supervisor=supervisor,
            clock=Clock(),
            read_text=read_text,
            page=page,
        )
        if page is not None:
            stack.enter_context(serve_page(page, settings, daemon, locate))
        yield daemon


def assemble(
    settings: Settings,
    ids: IdSource,
    model: LoadedModel,
    opened: OpenedIndex,
    *,
    locate: Locate,
    camera: Camera,
    sink: EventSink,
    supervisor: Supervisor,
    clock: Clock,
    read_text: ReadText | None,
    page: PageService | None,
    store: DeviceIndex | None = None,
    storage_problem: str | None = None,
    config: Path = DEFAULT_SETTINGS_FILE,
) -> Daemon:
    """Return a daemon made of open components. Without ``store`` its index cannot be changed; a reload reads ``config``."""
    if page is not None:
        sink = page.wrap_sink(sink)
    backend = settings.network.backend
    recognizer = Recognizer(model.embedder, opened.loaded, neighbors_k=settings.recognition.neighbors_k)
    tracker = Tracker(ids.new_track_id, settings.track.policy())
    device = DeviceInfo(ids.identity, source_label(settings.camera), backend, model.model.model_id, _versions(), storage_problem)
    reporter = HealthReporter(sink, device, clock, npu=model.npu_status)
    viewer = page.live_state if page else None
    announcer = Announcer(
        sink,
        ids.identity,
        _model_state(model, backend, clock.utc_now()),
        clock,
        reporter.counters,
        new_event_id=ids.new_event_id,
        publish_images=settings.image.enabled,
        viewer=viewer,
    )
    locator = CardLocator(locate, still_interval_s=settings.locate.still_interval_s)
    shared_embedder = SharedEmbedder(model.embedder)
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
        reporter=reporter,
        viewer=viewer,
        shared_embedder=shared_embedder,
        numbers=CollectorNumberQueue(read_text, tracker, always=settings.recognition.read_numbers == "always"),
        clock=clock,
        bounds=DaemonBounds(recognition_s=RECOGNITION_TIMEOUT_S[backend]),
    )


def _model_state(model: LoadedModel, backend: BackendName, at: datetime) -> ModelState:
    manifest = model.model.manifest
    return ModelState(
        at=at,
        model_id=manifest.model_id,
        name=manifest.name,
        backend=backend,
        artefact=model.embedder.info.artifact_sha256,
        dim=manifest.dim,
    )


def _versions() -> dict[str, str]:
    """Return the versions of the programs and libraries that may explain a difference between two scanners."""
    libraries = {name: version(name) for name in ("onnxruntime", "hnswlib", "numpy", "opencv-python-headless", "paho-mqtt")}
    return {"cardedge": __version__, "python": platform.python_version(), **libraries}
