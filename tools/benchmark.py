"""Measure the budgets of the design as ratios taken in one run on this machine.

    python -m tools.benchmark [--rows NAME,NAME …] [--cards N] [--npu-latency MS] [--json]

Each row is compared with something measured beside it (the bare network, exact search, the NPU alone), so a slow machine slows both sides.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from edge.adapters.hnsw import HnswIndex, write_graph
from edge.adapters.onnx import OnnxEmbedder
from edge.bundles.bundle import Bundle, open_bundle
from edge.bundles.writer import BundleContents, write_bundle
from edge.errors import EdgeError, UsageError
from edge.recognition.embedding import EmbedderInfo, EmbeddingMatrix, InputBatch, ModelId, to_input_batch
from edge.recognition.gallery import Card, Gallery
from edge.recognition.model import Model, open_model
from edge.recognition.model_search import find_model
from edge.recognition.neighbors import CardId
from edge.recognition.recognizer import LoadedGallery, PendingSightings, Recognizer
from edge.recognition.verification import SIGNATURE_BYTES, signature_of
from edge.vision.frame import RgbImage
from edge.vision.locate import LocateSettings, locate_cards
from tools.benchmarks.index import measure_building, measure_search
from tools.benchmarks.libraries import measure_libraries
from tools.benchmarks.npu import NpuBench, make_npu_bench, measure_events, measure_share
from tools.benchmarks.previews import measure_previews
from tools.benchmarks.vectors import random_vectors
from tools.bundle_build.card_list import read_card_list
from tools.bundle_build.stages import EMBED_TIMEOUT_S
from tools.drawing.cards import over_white, write_cards
from tools.drawing.layout import draw_card
from tools.drawing.spec import card_specs
from tools.simulation.camera import PRESETS, CardPose, photograph

CATALOGUE: Final = 17_592
REPEATS: Final = 15
FRAME_S: Final = 1.0 / 15.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """One row: ``value`` against ``bound`` (``better`` says which side is good), with the figures it was made of."""

    name: str
    value: float
    unit: str
    bound: float
    better: str
    detail: str

    @property
    def holds(self) -> bool:
        """Whether the value is on the right side of its bound."""
        return self.value <= self.bound if self.better == "lower" else self.value >= self.bound


@dataclass(frozen=True, slots=True, eq=False)
class Fixture:
    """What the rows share: the network, a drawn card, and a bundle of the catalogue's size whose first entries are drawn cards."""

    model: Model
    bundle: Bundle
    photo: RgbImage
    card: RgbImage
    folder: Path
    npu_latency_ms: float

    def loaded(self) -> LoadedGallery:
        """Return the bundle ready to be asked."""
        return LoadedGallery(self.bundle.manifest.bundle_id, self.bundle.gallery, HnswIndex(self.bundle), self.bundle.thresholds)

    def npu(self) -> NpuBench:
        """Return the NPU's double with a network on it."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        return make_npu_bench(self.model, self.bundle, self.loaded(), self.card, folder, self.npu_latency_ms / 1e3)


class FixedLatency:
    """An embedder that answers after a fixed time, one batch after the other, and leaves the processor alone: what an NPU looks like."""

    def __init__(self, latency_s: float, answer: EmbeddingMatrix) -> None:
        self._latency_s = latency_s
        self._answer = answer
        self._free_at_s = 0.0

    @property
    def info(self) -> EmbedderInfo:
        """Placeholders but for the length of an embedding."""
        return EmbedderInfo(ModelId("fixed-latency"), "0" * 64, int(self._answer.shape[1]), 8)

    def submit(self, batch: InputBatch) -> Future[EmbeddingMatrix]:
        """Answer with the same embedding for every input when the latency is over."""
        self._free_at_s = max(self._free_at_s, time.perf_counter()) + self._latency_s
        future: Future[EmbeddingMatrix] = Future()
        answer = np.repeat(self._answer, len(batch), axis=0)
        timer = threading.Timer(self._free_at_s - time.perf_counter(), future.set_result, [answer])
        timer.daemon = True
        timer.start()
        return future

    def close(self) -> None:
        """Nothing is held."""


def work(bench: Fixture) -> Iterator[Measurement]:
    """Processor time per frame with one card, all but the network, against the network's, on one core."""
    answer = bench.bundle.vectors[:1].astype(np.float32)
    recognizer = Recognizer(FixedLatency(0.0, answer), bench.loaded())
    cv2.setNumThreads(1)

    def frame() -> None:
        located = locate_cards(bench.photo, LocateSettings())
        recognizer.recognize(bench.photo, located)

    with closing(OnnxEmbedder(bench.model, threads=1)) as embedder:
        batch = np.repeat(to_input_batch([bench.photo]), 2, axis=0)
        network_s = _cpu_seconds(lambda: embedder.submit(batch).result())
    stages = {"locate": _cpu_seconds(lambda: locate_cards(bench.photo, LocateSettings()))}
    frame_s = _cpu_seconds(frame)
    detail = f"{frame_s * 1e3:.1f} ms (locate {stages['locate'] * 1e3:.1f}) against {network_s * 1e3:.0f} ms for both readings of one card"
    yield Measurement("work per frame outside the network / network", frame_s / network_s, "", 0.10, "lower", detail)


def search(bench: Fixture) -> Iterator[Measurement]:
    """Graph search against exact search: recall and time per query."""
    figures = measure_search(bench.bundle)
    detail = f"{figures.graph_ms:.2f} ms against {figures.exact_ms:.2f} ms per query, {figures.entries} entries"
    yield Measurement("search: recall@1 against exact", figures.recall_at_1, "", 0.999, "higher", detail)
    yield Measurement("search: exact time / graph time", figures.speedup, "times", 4.0, "higher", detail)


def libraries(bench: Fixture) -> Iterator[Measurement]:
    """Graph search of other libraries with the same parameters, against exact search and ours, on the same queries."""
    for library in measure_libraries(bench.bundle):
        detail = f"{library.search_ms:.2f} ms per query, ours {library.ours_ms:.2f}; recall@1 {library.recall_at_1:.4f}; {library.version}"
        yield Measurement(f"search: {library.name} time / ours", library.search_ms / library.ours_ms, "times", 1.0, "higher", detail)


def build(bench: Fixture) -> Iterator[Measurement]:
    """Images per second of the builder against those of the bare network on the same cores."""
    pictures = bench.folder / "pictures"
    write_cards(card_specs(64, 5), pictures)
    cores = os.cpu_count() or 1
    with closing(OnnxEmbedder(bench.model, threads=1, workers=cores, arena=True, submit_timeout_s=EMBED_TIMEOUT_S)) as embedder:
        figures = measure_building(read_card_list(pictures / "cards.csv"), pictures, embedder, threads=cores)
    rates = f"{figures.builder_images_per_s:.1f} against {figures.network_images_per_s:.1f} images/s"
    detail = f"{rates}, {figures.images} cards; {figures.cpu_share:.3f} in processor time"
    yield Measurement("index build / bare network", figures.share, "", 0.95, "higher", detail)


def start(bench: Fixture) -> Iterator[Measurement]:
    """From starting the process to the first decision, and the memory it then holds."""
    photo = bench.folder / "photo.png"
    cv2.imwrite(str(photo), cv2.cvtColor(bench.photo, cv2.COLOR_RGB2BGR))
    places = ["--index", str(bench.bundle.path), "--model", str(bench.model.folder), str(photo)]
    command = [sys.executable, "-m", "tools.benchmarks.first_decision", *places]
    runs = []
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).resolve().parents[1])
        runs.append((time.perf_counter() - started, float(done.stdout.split()[-1])))
    seconds, memory_mb = min(runs)[0], max(memory for _, memory in runs)
    detail = f"{len(bench.bundle.vectors)} entries, process start to decision, best of 3"
    yield Measurement("start to first decision", seconds, "s", 2.0, "lower", detail)
    yield Measurement("resident memory, CPU backend", memory_mb, "MB", 400.0, "lower", "after the first decision")


def swap(bench: Fixture) -> Iterator[Measurement]:
    """Keep recognising while another bundle is loaded and swapped in: the longest time on one frame, and frames without an answer."""
    answer = bench.bundle.vectors[:1].astype(np.float32)
    recognizer = Recognizer(FixedLatency(0.005, answer), bench.loaded())
    located = locate_cards(bench.photo, LocateSettings())
    gaps_s, swaps, unanswered = [], 0, 0
    loading: Future[LoadedGallery] | None = None
    deadline_s = time.perf_counter() + 8.0
    due_s = time.perf_counter()
    while due_s < deadline_s:
        if loading is None:
            loading = _in_thread(lambda: replace(bench, bundle=open_bundle(bench.bundle.path)).loaded())
        elif loading.done():
            recognizer.swap(loading.result())
            swaps, loading = swaps + 1, None
        unanswered += not recognizer.recognize(bench.photo, located)
        gaps_s.append(max(0.0, time.perf_counter() - due_s))
        due_s += FRAME_S
        time.sleep(max(0.0, due_s - time.perf_counter()))
    detail = f"{swaps} swaps in {len(gaps_s)} frames at {1 / FRAME_S:.0f}/s, {unanswered} frames without an answer"
    yield Measurement("swap: longest time on one frame / frame time", max(gaps_s) / FRAME_S, "frames", 1.0, "lower", detail)


def throughput(bench: Fixture) -> Iterator[Measurement]:
    """Pictures per second of the daemon over the Hailo adapter and HailoRT's double, against the NPU alone, with one card and several."""
    for cards in (1, 2, 4):
        figures = measure_share(bench.npu(), cards)
        detail = (
            f"{figures.daemon_per_s:.1f} of {figures.npu_per_s:.1f} pictures/s ({bench.npu_latency_ms:g} ms each); the adapter "
            f"alone {figures.adapter_per_s:.1f}, one frame after the other {figures.in_turn_per_s:.1f}; {figures.deepest} in flight"
        )
        share = figures.daemon_per_s / figures.npu_per_s
        yield Measurement(f"NPU, {cards} in view: rate / its own", share, "", 0.95, "higher", detail)


def overload(bench: Fixture) -> Iterator[Measurement]:
    """Time from capture to event with a camera faster than the NPU, against one that asks half of what it can."""
    calm, loaded = (measure_events(bench.npu(), overloaded=overloaded) for overloaded in (False, True))
    frames = f"of {loaded.frames} frames {loaded.asked} asked about, the others looked at ({loaded.overwritten} overwritten) and let go"
    for name, unloaded_ms, loaded_ms in (("p50", calm.p50_ms, loaded.p50_ms), ("p95", calm.p95_ms, loaded.p95_ms)):
        detail = (
            f"{loaded_ms:.0f} ms at {loaded.camera_fps:.0f} frames/s against {unloaded_ms:.0f} at {calm.camera_fps:.0f}; "
            f"{loaded.events} and {calm.events} events; {frames}"
        )
        yield Measurement(f"NPU overloaded: event {name} / unloaded", loaded_ms / unloaded_ms, "times", 2.5, "lower", detail)


def previews(bench: Fixture) -> Iterator[Measurement]:
    """Frames recognised per second with ten live previews open, against the same without; an NPU of a fixed latency, as fast as it goes."""
    latency_s = bench.npu_latency_ms / 1e3
    network = FixedLatency(latency_s, bench.bundle.vectors[:1].astype(np.float32))
    recognizer = Recognizer(network, bench.loaded())
    pending: list[PendingSightings] = []

    def recognise() -> None:
        located = locate_cards(bench.photo, LocateSettings())
        pending.append(recognizer.submit(bench.photo, located))
        if len(pending) > 1:
            pending.pop(0).result(10.0)

    figures = measure_previews(recognise, bench.photo, network, recognizer.loaded)
    detail = f"{figures.watched_per_s:.1f} against {figures.alone_per_s:.1f} frames/s; {figures.encoded_per_s:.1f} pictures/s for all ten"
    yield Measurement("ten previews open / none", figures.watched_per_s / figures.alone_per_s, "", 0.97, "higher", detail)


ROWS: Final[dict[str, Callable[[Fixture], Iterator[Measurement]]]] = {
    "work": work,
    "search": search,
    "libraries": libraries,
    "build": build,
    "start": start,
    "swap": swap,
    "throughput": throughput,
    "overload": overload,
    "previews": previews,
}


WITH_EXTRA: Final = "libraries"
"""The row that needs the extra `benchmark`."""


def make_bench(folder: Path, model: Model, cards: int, npu_latency_ms: float) -> Fixture:
    """Write a bundle of ``cards`` entries (drawn cards first, then random vectors in loose clusters) and photograph one of the cards."""
    specs = card_specs(8, 3)
    drawn = [over_white(draw_card(spec)) for spec in specs]
    with closing(OnnxEmbedder(model)) as embedder:
        real = embedder.submit(to_input_batch(drawn)).result()
    vectors = np.concatenate([real, random_vectors(cards - len(real), model.manifest.dim)])
    ids = [CardId(f"card-{row}") for row in range(cards)]
    signatures = np.random.default_rng(0).integers(0, 256, size=(cards, SIGNATURE_BYTES), dtype=np.uint8)
    signatures[: len(drawn)] = np.stack([signature_of(card) for card in drawn])
    contents = BundleContents(
        name="benchmark",
        model_id=model.model_id,
        artefact=model.artefact("onnx").sha256,
        vectors=vectors,
        gallery=Gallery({card_id: Card(card_id, f"Card {card_id}", str(card_id)) for card_id in ids}, tuple(ids), signatures),
        pictures=((card_id, b"\xff\xd8" + bytes(6000)) for card_id in ids),
        created=datetime.now(UTC).replace(microsecond=0),
    )
    write_bundle(folder / "bundle", contents, write_graph)
    table = np.full((720, 1280, 3), (96, 84, 70), np.uint8)
    pose = CardPose(620.0, 360.0, 4.0, roll_deg=12.0, tilt_deg=12.0)
    photo, _ = photograph([(drawn[0], pose)], table, PRESETS["clean"], np.random.default_rng(1))
    return Fixture(model, open_bundle(folder / "bundle"), photo, drawn[0], folder, npu_latency_ms)


def _cpu_seconds(action: Callable[[], object]) -> float:
    """Return the least processor time of all threads over some repeats."""
    action()
    taken = []
    for _ in range(REPEATS):
        before = time.process_time()
        action()
        taken.append(time.process_time() - before)
    return statistics.median(taken)


def _in_thread(action: Callable[[], LoadedGallery]) -> Future[LoadedGallery]:
    future: Future[LoadedGallery] = Future()
    threading.Thread(target=lambda: future.set_result(action()), daemon=True).start()
    return future


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen rows; return 0 whether or not the bounds hold: figures of one machine are no test."""
    parser = argparse.ArgumentParser(prog="benchmark", description="Measure the design's budgets on this machine.")
    parser.add_argument(
        "--rows",
        default=",".join(row for row in ROWS if row != WITH_EXTRA),
        metavar="NAMES",
        help=f"comma-separated: {', '.join(ROWS)} (default all but {WITH_EXTRA})",
    )
    parser.add_argument("--cards", type=int, default=CATALOGUE, metavar="N", help=f"entries of the bundle (default {CATALOGUE})")
    parser.add_argument(
        "--npu-latency", type=float, default=25.0, metavar="MS", help="what the stand-in NPU takes per picture (default 25)"
    )
    parser.add_argument("--model", type=Path, metavar="DIR", help="folder of the network (default: the one under hef/)")
    parser.add_argument("--json", action="store_true", help="one JSON object per row on standard output")
    args = parser.parse_args(arguments)
    try:
        names = args.rows.split(",")
        if unknown := [name for name in names if name not in ROWS]:
            raise UsageError(f"--rows: no row {unknown[0]!r}; known: {', '.join(ROWS)}")
        with tempfile.TemporaryDirectory(prefix="cardedge-benchmark-") as directory:
            print(f"making a bundle of {args.cards} entries ...", file=sys.stderr)
            bench = make_bench(Path(directory), open_model(find_model(args.model)), args.cards, args.npu_latency)
            for name in names:
                for row in ROWS[name](bench):
                    sign = "<=" if row.better == "lower" else ">="
                    mark = "holds" if row.holds else "MISSED"
                    text = f"{row.name:<48} {row.value:8.3f} {row.unit:<6} {sign} {row.bound:<6g} {mark:<7} {row.detail}"
                    print(json.dumps({**asdict(row), "holds": row.holds}) if args.json else text, flush=True)
    except EdgeError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
