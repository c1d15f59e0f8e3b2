"""A daemon with scripted camera, locator, recognizer and index, and a clock that only the camera advances. Nothing sleeps."""

import json
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from edge.bundles.manifest import Manifest
from edge.camera.capture import CaptureState, CaptureStatus
from edge.daemon.announcer import Announcer, Identity
from edge.daemon.control import CommandHandler
from edge.daemon.health import DeviceInfo, HealthReporter, HostSensors
from edge.daemon.locator import CardLocator
from edge.daemon.loop import Daemon
from edge.daemon.number_queue import CollectorNumberQueue
from edge.daemon.shared_embedder import SharedEmbedder
from edge.errors import BundleError, EmbedderTimeoutError
from edge.index.change import OpenedIndex
from edge.publishing.command import Command, parse_command
from edge.publishing.sink import SinkHealth
from edge.publishing.state import ModelState, PublisherHealth
from edge.recognition.decision import AcceptanceThresholds, Candidate, Identified, RejectReason, Sighting, Unknown
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId
from edge.recognition.recognizer import LoadedGallery
from edge.system.clock import Clock
from edge.tracking.tracker import Tracker
from edge.vision.card import LocatedCard, Point, Quad
from edge.vision.frame import Frame

S = 1_000_000_000
MORNING = datetime(2026, 11, 20, 9, tzinfo=UTC)
OLD_INDEX, NEW_INDEX = "0" * 16, "1" * 16
KNOWN = ("a", "b", "c")


def card_at(x: float) -> LocatedCard:
    quad = Quad(Point(x, 10), Point(x + 63, 10), Point(x + 63, 98), Point(x, 98))
    return LocatedCard(quad, (0, 180), 100.0)


def done(answer) -> Future:
    future = Future()
    future.set_result(answer)
    return future


def opened_index(index_id: str, *, waiting_settings=()) -> OpenedIndex:
    cards = {CardId(name): Card(CardId(name), f"Card {name.upper()}", f"art-{name}", set="S1", number="7") for name in KNOWN}
    gallery = Gallery(cards, tuple(cards), np.zeros((len(cards), 1), dtype=np.uint8))
    manifest = Manifest.model_construct(
        bundle_id=index_id, name=f"index {index_id[0]}", created=MORNING, model_id="m", cards=len(cards), entries=len(cards)
    )
    return OpenedIndex(LoadedGallery(index_id, gallery, None, AcceptanceThresholds()), manifest, waiting_settings)


@dataclass
class Script:
    """What the camera shows frame by frame, as ``{x: card name}``, and the actions to run before certain frames."""

    fps: float = 10.0
    now_ns: int = 1000 * S
    frames: list = field(default_factory=list)
    actions: list = field(default_factory=list)

    def show(self, seconds: float, cards=None) -> "Script":
        """Append frames that show cards, given as ``{x: name}``, for ``seconds``."""
        self.frames += [dict(cards or {})] * round(seconds * self.fps)
        return self

    def then(self, action) -> "Script":
        """Run ``action`` before the next frame that is shown."""
        self.actions.append((len(self.frames), action))
        return self


class ScriptedCamera:
    """Plays the script; every ``take`` moves the clock."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.played = 0
        self.state = CaptureState.OPENING
        self.last_error = None
        self.hung_calls = self.reopens = self.delivered = 0
        self.stopped = self.silent = False
        self.over = False
        self.last_frame_ns = None
        self.when_done = lambda: None

    def start(self) -> None:
        self.state = CaptureState.RUNNING

    def get_frame(self, timeout_s: float):
        script = self.script
        while script.actions and script.actions[0][0] <= self.played:
            script.actions.pop(0)[1]()
        if self.played >= len(script.frames):
            self.when_done()
            script.now_ns += round(timeout_s * S)
            return None
        due_ns = 1000 * S + round((self.played + 1) / script.fps * S)
        if due_ns > script.now_ns + round(timeout_s * S):
            script.now_ns += round(timeout_s * S)
            return None
        script.now_ns = max(due_ns, script.now_ns)
        scene = script.frames[self.played]
        self.played += 1
        if self.silent:
            return None
        self.delivered += 1
        self.last_frame_ns = script.now_ns
        pixels = np.full((110, 400, 3), 90, dtype=np.uint8)
        for x, name in scene.items():
            pixels[10, int(x)] = ord(name)
        return Frame(pixels, self.delivered, script.now_ns)

    def status(self) -> CaptureStatus:
        return CaptureStatus(
            self.state, self.last_error, frames=self.delivered, dropped=0, reopens=self.reopens, hung_calls=self.hung_calls,
            last_frame_ns=self.last_frame_ns,
        )  # fmt: skip

    def stop(self, timeout_s: float) -> bool:
        self.stopped = True
        self.state = CaptureState.STOPPED
        return True


def locate_scripted(pixels):
    """Locate the cards of a scripted frame: each is one odd pixel."""
    return tuple(card_at(float(x)) for x in np.flatnonzero(pixels[10, :, 0] != 90))


class ScriptedRecognizer:
    """Reads a card's name from its odd pixel within ``latency_s``; with ``hangs`` never. The next calls raise ``errors``."""

    def __init__(self, script: Script, opened: OpenedIndex) -> None:
        self.script = script
        self.loaded = opened.loaded
        self.latency_s = 0.05
        self.hangs = False
        self.errors = []
        self.submitted = 0
        self.known = KNOWN

    def swap(self, loaded) -> None:
        self.loaded = loaded

    def submit(self, pixels, located):
        self.submitted += 1
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        return ScriptedPending(self, pixels, tuple(located))


class ScriptedPending:
    def __init__(self, recognizer: ScriptedRecognizer, pixels, located) -> None:
        self.recognizer, self.pixels, self.located = recognizer, pixels, located
        self.loaded = recognizer.loaded
        self.ready_ns = recognizer.script.now_ns + round(recognizer.latency_s * S)
        self.timing_ms = {"embed": 50.0, "search": 0.3, "verify": 1.5}

    def done(self) -> bool:
        return not self.recognizer.hangs and self.recognizer.script.now_ns >= self.ready_ns

    def result(self, timeout_s: float):
        script = self.recognizer.script
        if self.recognizer.hangs or script.now_ns + round(timeout_s * S) < self.ready_ns:
            script.now_ns += round(timeout_s * S)
            raise EmbedderTimeoutError("the embedder did not answer")
        script.now_ns = max(script.now_ns, self.ready_ns)
        return tuple(self._sighting(located) for located in self.located)

    def _sighting(self, located) -> Sighting:
        name = chr(self.pixels[10, int(located.quad.top_left.x), 0])
        if name in self.recognizer.known:
            best = Candidate(CardId(name), f"art-{name}", 0.9, 0.95, 0)
            return Sighting(located, located.quad, Identified(best, 0.3, (CardId(name),), (best,)))
        nearest = Candidate(CardId("a"), "art-other", 0.6, 0.2, 0)
        return Sighting(located, located.quad, Unknown(RejectReason.FAILED_VERIFICATION, 0.1, (nearest,)))


class ListSink:
    """Keeps everything that is published."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.events, self.states, self.images, self.commands, self.replies = [], [], [], [], []
        self.started = self.closed = False
        self.refuses = None
        self.alive = True
        self.stuck_since_ns = None
        self.broker = "connected"

    def start(self) -> None:
        self.started = True

    def publish(self, event) -> None:
        assert not self.closed
        if self.refuses is not None:
            raise self.refuses
        self.events.append(event)

    def set_state(self, suffix: str, payload: bytes) -> None:
        assert not self.closed
        self.states.append((suffix, json.loads(payload)))

    def set_image(self, jpeg: bytes) -> None:
        self.images.append(jpeg)

    def poll_commands(self):
        commands, self.commands = self.commands, []
        return commands

    def health(self) -> SinkHealth:
        report = PublisherHealth(
            state=self.broker, connected=self.broker == "connected", protocol="5", reconnects=0, outbox_rows=0, outbox_bytes=0,
            oldest_age_s=None, dropped={}, quarantined=0, corrupt_databases=0, refused_states=0, refused_commands=0, last_error=None,
        )  # fmt: skip
        return SinkHealth(self.alive, self.script.now_ns if self.stuck_since_ns is None else self.stuck_since_ns, report)

    def close(self, timeout_s: float) -> None:
        self.closed = True

    def command(self, name: str, payload: bytes = b"") -> None:
        """Send a command as a broker would."""
        known, request = parse_command(name, payload)
        self.commands.append(Command(known, request, lambda reply: self.replies.append(json.loads(reply))))

    def of(self, suffix: str) -> list:
        """Return all payloads of one state, oldest first."""
        return [payload for name, payload in self.states if name == suffix]

    def published(self) -> list:
        """Return the events in short: (type, card)."""
        return [(event.type, event.card_id) for event in self.events]


class ListSupervisor:
    def __init__(self, script: Script) -> None:
        self.script = script
        self.reports = []
        self.alive_ns = []

    def extend_start(self, seconds: float) -> None:
        self.reports.append(f"extend_start {seconds:g}")

    def ready(self) -> None:
        self.reports.append("ready")

    def reloading(self) -> None:
        self.reports.append("reloading")

    def stopping(self) -> None:
        self.reports.append("stopping")

    def status(self, text: str) -> None:
        self.text = text

    def alive(self) -> None:
        self.alive_ns.append(self.script.now_ns)


class ScriptedStore:
    """Bundles on this device; ``gate`` holds a change up until it is set, ``error`` makes it fail."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.error = None
        self.activated = []
        self.confirmed, self.added, self.tended = [], [], []
        self.stopped = False
        self.reverted_because = None
        self.pushed = None
        self.waiting_settings = ()
        self.reloaded = None
        self.previous, self.latest = None, NEW_INDEX
        self.awaits_confirmation = False

    def reload(self, settings) -> OpenedIndex:
        self.reloaded = settings
        return replace(self.open(NEW_INDEX), waiting_settings=self.waiting_settings)

    def open(self, index_id: str) -> OpenedIndex:
        assert self.gate.wait(30.0)
        if self.error is not None:
            raise self.error
        if index_id not in (OLD_INDEX, NEW_INDEX):
            raise BundleError(f"{index_id}: no such release")
        return opened_index(index_id)

    def activate(self, index_id: str, confirm_within_s: float | None) -> None:
        self.activated.append(index_id)
        self.confirm_within_s = confirm_within_s
        self.awaits_confirmation = confirm_within_s is not None

    def confirm(self, index_id: str) -> None:
        self.confirmed.append(index_id)
        self.awaits_confirmation = False

    def add(self, card, embed):
        self.added.append((card, embed(np.zeros((1, 224, 224, 3), dtype=np.uint8))))
        return replace(opened_index(OLD_INDEX), added_images=len(self.added))

    def remove(self, card_id: str):
        raise BundleError(f"{card_id}: no such card was added")

    def has_due_work(self) -> bool:
        return bool(self.tended)

    def update_trial(self):
        return self.tended.pop(0)

    def stop(self) -> None:
        self.stopped = True

    def reverted(self):
        return self.reverted_because

    def warning(self):
        return None

    def last_push(self):
        return self.pushed

    def previous_id(self):
        return self.previous

    def latest_id(self):
        return self.latest

    def confirm_by(self):
        return datetime(2026, 11, 20, 9, tzinfo=UTC) if self.awaits_confirmation else None


class ScriptedDaemon:
    """A daemon whose parts are scripted or recorded; ``run`` runs it to the end of the script."""

    def __init__(
        self, script: Script, *, publish_images=False, viewer=None, sink=lambda sink: sink, temperatures=lambda: {"cpu-thermal": 51.0},
        config=Path("/dev/null"),
    ):  # fmt: skip
        self.script = script
        clock = Clock(lambda: script.now_ns, lambda: MORNING + timedelta(microseconds=script.now_ns // 1000))
        opened = opened_index(OLD_INDEX)
        self.camera = ScriptedCamera(script)
        self.recognizer = ScriptedRecognizer(script, opened)
        self.sink = ListSink(script)
        self.supervisor = ListSupervisor(script)
        self.store = ScriptedStore()
        self.shared_embedder = SharedEmbedder(SimpleNamespace(submit=lambda batch: done(np.ones((len(batch), 4), dtype=np.float32))))
        identity = Identity("dev", "boot")
        model = ModelState(at=MORNING, model_id="m", name="net", backend="onnx", artefact="f" * 64, dim=4)
        tracker = Tracker(map("t{}".format, count()).__next__)
        wrapped = sink(self.sink)
        device = DeviceInfo(identity, "a film", "onnx", "m", {"cardedge": "0"})
        reporter = HealthReporter(wrapped, device, clock, HostSensors(temperatures, lambda: 200.0))
        announcer = Announcer(wrapped, identity, model, clock, reporter.counters, publish_images=publish_images, viewer=viewer)
        locator = CardLocator(locate_scripted)
        self.commands = CommandHandler(
            locator, self.recognizer, tracker, opened, announcer, self.supervisor, embed=self.shared_embedder.embed, store=self.store,
            config=config,
        )  # fmt: skip
        self.daemon = Daemon(
            self.camera, locator, self.recognizer, tracker, self.commands, wrapped, self.supervisor,
            announcer=announcer, reporter=reporter, numbers=CollectorNumberQueue(None, tracker), shared_embedder=self.shared_embedder,
            clock=clock, viewer=viewer,
        )  # fmt: skip
        self.camera.when_done = self.daemon.stop

    def run(self) -> ListSink:
        """Run the daemon until the script ends; return its sink."""
        self.daemon.run()
        return self.sink
