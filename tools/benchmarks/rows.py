"""The rows of the benchmark: each measures a performance target as a ratio to something measured on the same machine."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from edge.adapters.hnsw import write_graph
from edge.adapters.onnx import OnnxEmbedder
from edge.bundles.bundle import Bundle, open_bundle
from edge.bundles.writer import BundleContents, write_bundle
from edge.recognition.embedding import EmbeddingMatrix, to_input_batch
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId
from edge.recognition.recognizer import PendingSightings, Recognizer
from tools.benchmarks.delivery import PUBLISHED, measure_delivery
from tools.benchmarks.fixed_latency import FixedLatencyEmbedder
from tools.benchmarks.fixture import Fixture
from tools.benchmarks.index import measure_building, measure_search, write_formats
from tools.benchmarks.libraries import measure_libraries
from tools.benchmarks.locating import STILL_FPS, measure_locating, measure_still, nine_cards
from tools.benchmarks.npu import measure_events, measure_share
from tools.benchmarks.previews import measure_previews
from tools.benchmarks.queries import LARGE_CARDS, enlarged, search_queries
from tools.benchmarks.session import LONG_ENTRIES, SHORT_ENTRIES, measure_export, measure_session
from tools.benchmarks.swapping import FRAME_S, measure_swaps
from tools.benchmarks.updates import measure_assembly, measure_updates
from tools.bundle_build.card_list import read_card_list
from tools.bundle_build.stages import EMBED_TIMEOUT_S
from tools.drawing.spec import card_specs

REPEATS: Final = 15

MAX_NEW_SHARE: Final = 0.03
MAX_CORRECTED_SHARE: Final = 0.005


@dataclass(frozen=True, slots=True)
class Measurement:
    """One row: ``value`` against ``bound``; ``better`` is ``lower`` or ``higher``; ``detail`` has the underlying figures."""

    name: str
    value: float
    unit: str
    bound: float
    better: str
    detail: str

    @property
    def holds(self) -> bool:
        """Whether the value meets its bound."""
        return self.value <= self.bound if self.better == "lower" else self.value >= self.bound


def work(fixture: Fixture) -> Iterator[Measurement]:
    """Measure the processor time per frame with one card, without the embedder, against that of the embedder, on one core."""
    answer = fixture.bundle.vectors[:1].astype(np.float32)
    recognizer = Recognizer(FixedLatencyEmbedder(0.0, answer), fixture.loaded())
    cv2.setNumThreads(1)

    def frame() -> None:
        located = fixture.locate(fixture.photo)
        recognizer.recognize(fixture.photo, located)

    with closing(OnnxEmbedder(fixture.model, threads=1)) as embedder:
        network_input = to_input_batch([fixture.photo])
        network_s = _cpu_seconds(lambda: embedder.submit(network_input).result())
    stages = {"locate": _cpu_seconds(lambda: fixture.locate(fixture.photo))}
    frame_s = _cpu_seconds(frame)
    detail = f"{frame_s * 1e3:.1f} ms (locate {stages['locate'] * 1e3:.1f}) against {network_s * 1e3:.0f} ms for one card"
    yield Measurement("work per frame outside the network / network", frame_s / network_s, "", 0.10, "lower", detail)


def locate(fixture: Fixture) -> Iterator[Measurement]:
    """Measure the processor time of locating with a network against the classical locator, and that of a frame of a still scene."""
    for cards, scene, bound in (("one card", fixture.photo, 1 / 3), ("nine cards", nine_cards(fixture.card), 1 / 2)):
        figures = measure_locating(scene)
        for method, seconds, count in (
            ("network", figures.network_s, figures.cards[0]),
            ("combined", figures.combined_s, figures.cards[1]),
        ):
            found = f"{count} and {figures.cards[2]} cards found"
            detail = f"{seconds * 1e3:.1f} against {figures.classical_s * 1e3:.1f} ms; {found}"
            yield Measurement(f"locate, {cards}: {method} / classical", seconds / figures.classical_s, "", bound, "lower", detail)
    classical_s, still = measure_locating(fixture.photo).classical_s, measure_still(fixture.photo)
    detail = f"{still.seconds * 1e3:.2f} ms per frame, {still.searches} searches in {still.frames} frames"
    yield Measurement("locate, still scene / classical", still.seconds / classical_s, "", 0.10, "lower", detail)


def search(fixture: Fixture) -> Iterator[Measurement]:
    """Measure graph search against exact search: recall and time per query."""
    yield from _search_rows("search", fixture.bundle, search_queries(fixture))


def large(fixture: Fixture) -> Iterator[Measurement]:
    """Measure graph search among 100,000 entries: those of the bundle and variants of them."""
    ids = [CardId(str(row)) for row in range(LARGE_CARDS)]
    contents = BundleContents(
        name="large",
        model_id=fixture.model.model_id,
        artefact=None,
        vectors=enlarged(fixture.bundle.vectors, LARGE_CARDS),
        gallery=Gallery({each: Card(each, each, each) for each in ids}, tuple(ids), np.empty((LARGE_CARDS, 0), dtype=np.uint8)),
        reference_images=(),
        created=datetime.now(UTC).replace(microsecond=0),
    )
    write_bundle(fixture.folder / "large", contents, write_graph)
    yield from _search_rows(f"search, {LARGE_CARDS} cards", open_bundle(fixture.folder / "large"), search_queries(fixture))


def _search_rows(name: str, bundle: Bundle, queries: EmbeddingMatrix) -> Iterator[Measurement]:
    figures = measure_search(bundle, queries)
    detail = f"{figures.graph_ms:.2f} ms against {figures.exact_ms:.2f} ms per query, {figures.entries} entries, {len(queries)} queries"
    yield Measurement(f"{name}: recall@1 against exact", figures.recall_at_1, "", 0.999, "higher", detail)
    yield Measurement(f"{name}: exact time / graph time", figures.speedup, "times", 6.0, "higher", detail)


def energy(fixture: Fixture) -> Iterator[Measurement]:
    """Measure the processor time of identifying a card from a frame, and that of a minute in which the scene is still."""
    with closing(OnnxEmbedder(fixture.model, threads=1)) as embedder:
        recognizer = Recognizer(embedder, fixture.loaded())
        cv2.setNumThreads(1)
        batch = to_input_batch([fixture.photo])
        network_s = _cpu_seconds(lambda: embedder.submit(batch).result())
        card_s = _cpu_seconds(lambda: recognizer.recognize(fixture.photo, fixture.locate(fixture.photo)))
    detail = f"{network_s * 1e3:.0f} ms of it are one inference"
    yield Measurement("processor time per identified card", card_s, "s", 1.5 * network_s, "lower", detail)
    still = measure_still(fixture.photo)
    detail = f"{still.seconds * 1e3:.2f} ms per frame at {STILL_FPS}/s"
    yield Measurement("processor time per idle minute", 60.0 * STILL_FPS * still.seconds, "s", 1.8, "lower", detail)


def libraries(fixture: Fixture) -> Iterator[Measurement]:
    """Measure the graph search of other libraries on the same queries, with as many candidates as a recall of 0.999 needs, against ours."""
    for library in measure_libraries(fixture.bundle, search_queries(fixture)):
        detail = (
            f"{library.search_ms:.2f} ms per query, ours {library.ours_ms:.2f}; recall@1 {library.recall_at_1:.4f} with "
            f"{library.expansion} candidates; {library.version}"
        )
        yield Measurement(f"search: {library.name} time / ours", library.search_ms / library.ours_ms, "times", 1.0, "higher", detail)


def build(fixture: Fixture) -> Iterator[Measurement]:
    """Measure the images per second of building a bundle from files of each format against those of the embedder alone."""
    cores = os.cpu_count() or 1
    with closing(OnnxEmbedder(fixture.model, threads=1, workers=cores, arena=True, submit_timeout_s=EMBED_TIMEOUT_S)) as embedder:
        for name, cards in write_formats(card_specs(64, 5), fixture.folder / "pictures"):
            figures = measure_building(read_card_list(cards), cards.parent, embedder, threads=cores)
            rates = f"{figures.builder_images_per_s:.1f} against {figures.network_images_per_s:.1f} images/s"
            detail = f"{rates}, {figures.images} cards; {figures.cpu_share:.3f} in processor time"
            yield Measurement(f"index build / bare network, {name}", figures.share, "", 0.95, "higher", detail)


def start(fixture: Fixture) -> Iterator[Measurement]:
    """Measure the time from the start of a process to its first decision, and its resident memory at that point."""
    frame = fixture.folder / "frame.npy"
    np.save(frame, fixture.photo)
    places = ["--index", str(fixture.bundle.path), "--model", str(fixture.model.folder), str(frame)]
    command = [sys.executable, "-m", "tools.benchmarks.first_decision", *places]
    # modules are compiled, as on a scanner, where the installer does it; the first run does it here
    compiled = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(fixture.folder / "compiled")}
    runs = []
    for _ in range(4):
        started = time.perf_counter()
        root = Path(__file__).resolve().parents[2]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root, env=compiled)
        status, *figures = done.stdout.split()
        runs.append((time.perf_counter() - started, *map(float, figures)))
    seconds, cpu_s = min(run[0] for run in runs[1:]), min(run[2] for run in runs[1:])
    detail = f"{status}, {len(fixture.bundle.vectors)} entries, process start to decision, best of 3; {cpu_s:.2f} s of processor time"
    yield Measurement("start to first decision", seconds, "s", 1.2, "lower", detail)
    resident_mb = max(run[1] for run in runs)
    yield Measurement("resident memory, CPU backend", resident_mb, "MB", 300.0, "lower", "after the first decision")


def swap(fixture: Fixture) -> Iterator[Measurement]:
    """Measure the longest time of one frame, and the longest wait for the interpreter, while other bundles are loaded and activated."""
    figures = measure_swaps(fixture)
    detail = f"{figures.swaps} swaps in {figures.frames} frames at no more than {1 / FRAME_S:.0f}/s, {figures.unanswered} without an answer"
    yield Measurement("swap: longest time on one frame / frame time", figures.longest_frame_s / FRAME_S, "frames", 1.0, "lower", detail)
    detail = f"{figures.held_s * 1e3:.1f} ms; {figures.idle_s * 1e3:.1f} ms while nothing is loaded"
    yield Measurement("swap: longest hold of the interpreter / frame", figures.held_s / FRAME_S, "frames", 1.0, "lower", detail)


def throughput(fixture: Fixture) -> Iterator[Measurement]:
    """Measure the images per second of the daemon with the Hailo adapter and the HailoRT double, against the NPU alone."""
    for cards in (1, 2, 4):
        figures = measure_share(fixture.npu(), cards)
        detail = (
            f"{figures.daemon_per_s:.1f} of {figures.npu_per_s:.1f} pictures/s ({fixture.npu_latency_ms:g} ms each); the adapter "
            f"alone {figures.adapter_per_s:.1f}, one frame after the other {figures.in_turn_per_s:.1f}; {figures.deepest} in flight"
        )
        share = figures.daemon_per_s / figures.npu_per_s
        yield Measurement(f"NPU, {cards} in view: rate / its own", share, "", 0.95, "higher", detail)


def overload(fixture: Fixture) -> Iterator[Measurement]:
    """Measure the latency of events with a camera faster than the NPU, against one that uses half of its rate."""
    calm, loaded = (measure_events(fixture.npu(), overloaded=overloaded) for overloaded in (False, True))
    frames = f"of {loaded.frames} frames {loaded.asked} were submitted, the others only located ({loaded.overwritten} overwritten)"
    for name, unloaded_ms, loaded_ms in (("p50", calm.p50_ms, loaded.p50_ms), ("p95", calm.p95_ms, loaded.p95_ms)):
        detail = (
            f"{loaded_ms:.0f} ms at {loaded.camera_fps:.0f} frames/s against {unloaded_ms:.0f} at {calm.camera_fps:.0f}; "
            f"{loaded.events} and {calm.events} events; {frames}"
        )
        yield Measurement(f"NPU overloaded: event {name} / unloaded", loaded_ms / unloaded_ms, "times", 2.5, "lower", detail)


def previews(fixture: Fixture) -> Iterator[Measurement]:
    """Measure the frames recognized per second with ten live previews open, against the rate without, at a fixed embedder latency."""
    latency_s = fixture.npu_latency_ms / 1e3
    network = FixedLatencyEmbedder(latency_s, fixture.bundle.vectors[:1].astype(np.float32))
    recognizer = Recognizer(network, fixture.loaded())
    pending: list[PendingSightings] = []

    def recognize() -> None:
        located = fixture.locate(fixture.photo)
        pending.append(recognizer.submit(fixture.photo, located))
        if len(pending) > 1:
            pending.pop(0).result(10.0)

    figures = measure_previews(recognize, fixture.photo, network, recognizer.loaded)
    detail = f"{figures.watched_per_s:.1f} against {figures.alone_per_s:.1f} frames/s; {figures.encoded_per_s:.1f} pictures/s for all ten"
    yield Measurement("ten previews open / none", figures.watched_per_s / figures.alone_per_s, "", 0.97, "higher", detail)


def session(fixture: Fixture) -> Iterator[Measurement]:
    """Measure the processor time and the bytes of one more card in a full session list against those in a short one."""
    figures = measure_session(fixture.folder)
    for name, (short, full), unit in (
        ("processor time", figures.cpu_us, "us"),
        ("bytes to a browser", figures.sent_bytes, "B"),
        ("bytes to the disk", figures.saved_bytes, "B"),
    ):
        detail = f"{full:.0f} {unit} at {LONG_ENTRIES} entries, {short:.0f} {unit} at {SHORT_ENTRIES}"
        yield Measurement(f"session list, full / short: {name}", full / short, "times", 2.0, "lower", detail)
    detail = f"processor time of the slowest shipped profile, {LONG_ENTRIES} lines"
    yield Measurement("export of a long list", measure_export(), "s", 2.0, "lower", detail)


def delivery(fixture: Fixture) -> Iterator[Measurement]:
    """Measure the processor time per event with what makes a kill of the broker harmless against that without."""
    figures = measure_delivery(fixture.folder)
    detail = (
        f"{figures.safe_us:.0f} us per event, {figures.unsafe_us:.0f} us if the broker saves nothing; {PUBLISHED} events a round, rounds "
        f"{figures.ratios[0]:.3f} to {figures.ratios[-1]:.3f}"
    )
    yield Measurement("delivery, broker may be killed / may not", statistics.median(figures.ratios), "times", 1.1, "lower", detail)


def updates(fixture: Fixture) -> Iterator[Measurement]:
    """Measure the bytes that updates of a catalog send, against the bundle, and the time to assemble it, against copying its files."""
    folder = fixture.folder / "updates"
    folder.mkdir()
    for figures in measure_updates(folder, len(fixture.bundle.vectors), fixture.model.manifest.dim):
        others = {"file by file": figures.files, "rsync": figures.rsync, "casync": figures.casync}
        ratios = ", ".join(f"{figures.chunks / sent:.3f} of {name}" for name, sent in others.items() if sent)
        detail = f"{figures.chunks / 1e6:.2f} of {figures.bundle_bytes / 1e6:.1f} MB; {ratios}"
        bound = MAX_CORRECTED_SHARE if "corrected" in figures.name else MAX_NEW_SHARE
        yield Measurement(f"update, {figures.name}: sent / bundle", figures.chunks / figures.bundle_bytes, "", bound, "lower", detail)
    assembled = measure_assembly(folder)
    assembly, copy = assembled.assembly, assembled.copy
    detail = (
        f"{assembly.wall_s:.2f} against {copy.wall_s:.2f} s for {assembled.bundle_bytes / 1e6:.1f} MB, with verifying hashes, until all is "
        f"on the disk; {assembly.processor_s:.2f} against {copy.processor_s:.2f} s of the processor"
    )
    yield Measurement("update: assembling / copying", assembly.wall_s / copy.wall_s, "times", 1.5, "lower", detail)


ROWS: Final[dict[str, Callable[[Fixture], Iterator[Measurement]]]] = {
    "work": work,
    "locate": locate,
    "energy": energy,
    "search": search,
    "large": large,
    "libraries": libraries,
    "build": build,
    "start": start,
    "swap": swap,
    "throughput": throughput,
    "overload": overload,
    "previews": previews,
    "session": session,
    "delivery": delivery,
    "updates": updates,
}


def _cpu_seconds(action: Callable[[], object]) -> float:
    """Return the median processor time of all threads over some repeats."""
    action()
    taken = []
    for _ in range(REPEATS):
        before = time.process_time()
        action()
        taken.append(time.process_time() - before)
    return statistics.median(taken)
