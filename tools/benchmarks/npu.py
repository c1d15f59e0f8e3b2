"""How well the daemon uses an NPU: the share of the NPU's own rate that it reaches, and the latency of events under overload.

The daemon's loop, the Hailo adapter and HailoRT's contract double (``tests/support/hailo_double``), which answers after a settable time per
image as a chip does: one submission at a time, whatever this process does meanwhile. It needs a clone of the repository. The network
that the double runs takes no time of its own and always answers with the first entry of the bundle; every image shows that card.
"""

from __future__ import annotations

import importlib
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from edge.adapters.hailo import HailoEmbedder
from edge.app.camera import open_camera
from edge.app.daemon import assemble
from edge.app.model import LoadedModel
from edge.app.replay import EventCallbackSink, ReplayCamera, ReplayedEvent, sequential_ids
from edge.bundles.bundle import Bundle
from edge.daemon.supervision import NoSupervisor
from edge.errors import UsageError
from edge.index.change import OpenedIndex
from edge.recognition.embedding import EmbeddingMatrix, to_input_batch
from edge.recognition.model import Artifact, Model
from edge.recognition.recognizer import Embedder, LoadedGallery, Recognizer
from edge.settings.sections import CameraSection, NetworkSection, Settings, TrackSection
from edge.system.clock import Clock
from edge.vision.card import Locate
from edge.vision.frame import RgbImage
from tools.extras import extra_required
from tools.simulation.camera import PRESETS, CardPose, photograph

MAX_BATCH: Final = 8
CAMERA_FPS: Final = 30.0
CALM_LOAD: Final = 0.5
"""Share of the NPU's rate that the frames of the unloaded camera ask for."""

ROUNDS: Final = 3
PIECE_S: Final = 4.0
WARM_UP_S: Final = 1.0
EVENTS_S: Final = 30.0
SHOWN_S: Final = 1.2
"""How long cards lie there, and how long they are away, while events are timed."""

_POSES: Final = {1: (640,), 2: (380, 900), 4: (190, 490, 790, 1090)}
_FRAME: Final = (720, 1280)


@dataclass(frozen=True, slots=True)
class ShareFigures:
    """Images per second: of the daemon, of the adapter alone, of locating and naming one frame after the other; and of the NPU itself."""

    cards: int
    daemon_per_s: float
    adapter_per_s: float
    in_turn_per_s: float
    npu_per_s: float
    deepest: int
    """Most submissions that were with the runtime at one time."""


@dataclass(frozen=True, slots=True)
class EventFigures:
    """Latency of events from the capture of their frame, in milliseconds, and the numbers of the camera's frames by outcome."""

    camera_fps: float
    events: int
    p50_ms: float
    p95_ms: float
    frames: int
    overwritten: int
    asked: int


@dataclass(frozen=True, slots=True, eq=False)
class NpuFixture:
    """A model with a HEF for the test double, a gallery, the card that all its results mean, and a locator. ``npu`` is the double."""

    npu: Any
    model: Model
    locate: Locate
    bundle: Bundle
    loaded: LoadedGallery
    card: RgbImage
    folder: Path
    latency_s: float

    @contextmanager
    def network(self) -> Iterator[tuple[LoadedModel, Any]]:
        """Open the Hailo adapter with the double; the second value is the device below it."""
        board = self.npu.Board(latency_s=self.latency_s)
        with ExitStack() as stack:
            stack.enter_context(self.npu.installed(board))
            embedder = stack.enter_context(closing(HailoEmbedder(self.model)))
            yield LoadedModel(self.model, embedder, 1.0, embedder.status), board

    def scene(self, xs: tuple[int, ...]) -> RgbImage:
        """Photograph the card once at each position on a table."""
        table = np.full((*_FRAME, 3), (96, 84, 70), np.uint8)
        poses = [(self.card, CardPose(float(x), 360.0, 2.9, roll_deg=6.0, tilt_deg=8.0)) for x in xs]
        return photograph(poses, table, PRESETS["clean"], np.random.default_rng(1))[0]


def make_npu_fixture(
    model: Model, locate: Locate, bundle: Bundle, loaded: LoadedGallery, card: RgbImage, folder: Path, latency_s: float
) -> NpuFixture:
    """Write the model for the test double. Raises ``UsageError`` if the double is not available."""
    try:
        npu = importlib.import_module("tests.support.hailo_double")
    except ImportError as error:
        raise UsageError(
            f"the NPU's double is not here ({error}); run this row from the root of a clone, its extra `dev` installed"
        ) from error
    folder = folder / "npu"
    folder.mkdir()
    _write_constant_network(folder / "constant.onnx", bundle.vectors[:1].astype(np.float32))
    npu.write_hef(folder / "model.hef", folder / "constant.onnx")
    hef = Artifact(file="model.hef", sha256="0" * 64, size_bytes=1, precision="int8", max_batch=MAX_BATCH)
    manifest = model.manifest.model_copy(update={"artefacts": {**model.manifest.artefacts, "hef": hef}})
    return NpuFixture(npu, replace(model, folder=folder, manifest=manifest), locate, bundle, loaded, card, folder, latency_s)


def _write_constant_network(path: Path, answer: EmbeddingMatrix) -> None:
    """Write uint8 (n, 224, 224, 3) → ``answer``, n times."""
    with extra_required("a row of the NPU"):
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    constants = {"from": [0, 0, 0, 0], "to": [1 << 30, 1, 1, 1], "flat": [-1, 1]}
    nodes = [
        helper.make_node("Slice", ["pixels", "from", "to"], ["corner"]),
        helper.make_node("Reshape", ["corner", "flat"], ["column"]),
        helper.make_node("Cast", ["column"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["number", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "answer"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", 224, 224, 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", answer.shape[1]])],
        [
            *(numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants.items()),
            numpy_helper.from_array(np.zeros(1, np.float32), "zero"),
            numpy_helper.from_array(answer, "answer"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


# --- the share of the NPU's own rate ---


def measure_share(fixture: NpuFixture, cards: int) -> ShareFigures:
    """Measure with ``cards`` cards in view, all submitted in every frame for which there is capacity; alternately, on one machine."""
    scene = fixture.scene(_POSES[cards])
    stills = _stills(fixture.folder / f"scene-{cards}", scene)
    rates: dict[str, list[float]] = {"daemon": [], "adapter": [], "in turn": []}
    with fixture.network() as (network, board):
        for _ in range(ROUNDS):
            rates["adapter"].append(_rate(board, _keep_busy(network.embedder, scene, cards)))
            rates["in turn"].append(_rate(board, _one_after_the_other(Recognizer(network.embedder, fixture.loaded), fixture.locate, scene)))
            with _running(fixture, network, stills, CAMERA_FPS, lambda _: None):
                time.sleep(WARM_UP_S)
                rates["daemon"].append(_rate(board, lambda: time.sleep(0.01)))
    daemon, adapter, in_turn = (statistics.median(rates[name]) for name in ("daemon", "adapter", "in turn"))
    return ShareFigures(cards, daemon, adapter, in_turn, 1.0 / fixture.latency_s, board.deepest)


def _rate(board: Any, work: Callable[[], object]) -> float:
    """Return the images per second that the NPU processes while ``work`` is repeated."""
    before, began_s = board.pictures, time.perf_counter()
    while time.perf_counter() - began_s < PIECE_S:
        work()
    return float(board.pictures - before) / (time.perf_counter() - began_s)


def _keep_busy(embedder: Embedder, scene: RgbImage, cards: int) -> Callable[[], object]:
    batch = np.repeat(to_input_batch([scene]), cards, axis=0)
    submitted: deque[Future[EmbeddingMatrix]] = deque()

    def work() -> None:
        submitted.append(embedder.submit(batch))
        if len(submitted) > 2:
            submitted.popleft().result(10.0)

    return work


def _one_after_the_other(recognizer: Recognizer, locate: Locate, scene: RgbImage) -> Callable[[], object]:
    return lambda: recognizer.recognize(scene, locate(scene))


# --- events under overload ---


def measure_events(fixture: NpuFixture, *, overloaded: bool) -> EventFigures:
    """Measure the latency of events of two cards that come and go beside two that stay, all submitted whenever there is capacity."""
    places = _POSES[4]
    stills = _stills(fixture.folder / f"coming-{overloaded}", fixture.scene(places), fixture.scene(places[::2]))
    frame_s = len(places) * fixture.latency_s
    fps = max(CAMERA_FPS, 2.0 / frame_s) if overloaded else CALM_LOAD / frame_s
    events: list[ReplayedEvent] = []
    with fixture.network() as (network, board), _running(fixture, network, stills, fps, events.append) as camera:
        time.sleep(WARM_UP_S)
        events.clear()
        time.sleep(EVENTS_S)
        status = camera.status()
    took_ms = [event.timing_ms["capture_to_event"] for event in events if event.type == "identified"]
    if len(took_ms) < 4:
        raise UsageError(f"only {len(took_ms)} events in {EVENTS_S:g} s; measure with a smaller --npu-latency")
    p50, p95 = (float(np.percentile(took_ms, percent)) for percent in (50, 95))
    return EventFigures(fps, len(took_ms), p50, p95, status.frames, status.dropped, board.submissions)


def _stills(folder: Path, *scenes: RgbImage) -> Path:
    folder.mkdir()
    for number, scene in enumerate(scenes):
        cv2.imwrite(str(folder / f"{number}.png"), cv2.cvtColor(scene, cv2.COLOR_RGB2BGR))
    return folder


@contextmanager
def _running(
    fixture: NpuFixture, network: LoadedModel, stills: Path, fps: float, emit: Callable[[ReplayedEvent], None]
) -> Iterator[ReplayCamera]:
    """Run the daemon's loop with a camera that shows ``stills`` in turn, submitting every card in every frame."""
    settings = Settings(
        network=NetworkSection(backend="hailo"),
        camera=CameraSection(kind="stills", source=str(stills), loop=True, fps=fps, seconds_per_still=SHOWN_S),
        track=TrackSection(evidence_interval_s=0.0, retry_s=0.0, recheck_s=0.0, removed_after_s=0.2),
    )
    camera, clock = ReplayCamera(open_camera(settings.camera)), Clock()
    daemon = assemble(
        settings,
        sequential_ids(),
        network,
        OpenedIndex(fixture.loaded, fixture.bundle.manifest, catalogs=(fixture.bundle,)),
        locate=fixture.locate,
        camera=camera,
        sink=EventCallbackSink(emit, camera, clock),
        supervisor=NoSupervisor(),
        clock=clock,
        read_text=None,
        page=None,
    )
    loop = threading.Thread(target=daemon.run, name="daemon", daemon=True)
    loop.start()
    try:
        yield camera
    finally:
        daemon.stop()
        loop.join(10.0)
