"""Speed of searching an index, and of building one compared with the embedder alone; for ``tools/benchmark.py``."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from edge.adapters.exact import ExactIndex
from edge.adapters.hnsw import HnswIndex
from edge.bundles.bundle import Bundle
from edge.recognition.embedding import EmbeddingMatrix, InputBatch
from tools.bundle_build.card_list import CardList
from tools.bundle_build.reference import read_reference
from tools.bundle_build.stages import EMBED_TIMEOUT_S, embed_images
from tools.drawing.cards import write_cards

if TYPE_CHECKING:
    from edge.recognition.recognizer import Embedder
    from tools.drawing.spec import CardSpec

_K: Final = 10
_QUALITY: Final = 90


@dataclass(frozen=True, slots=True)
class SearchFigures:
    """Medians of single queries. ``speedup`` is exact over graph; recall@1 by similarity against exact search."""

    entries: int
    exact_ms: float
    graph_ms: float
    speedup: float
    recall_at_1: float


@dataclass(frozen=True, slots=True)
class BuildingFigures:
    """Images per second: the bare network on prepared inputs, the index builder from files, and the second as a share of the first.

    ``cpu_share`` is the same share counted in processor time, which other programs on the machine disturb less.
    """

    images: int
    network_images_per_s: float
    builder_images_per_s: float
    share: float
    cpu_share: float


def measure_search(bundle: Bundle, queries: EmbeddingMatrix) -> SearchFigures:
    """Query both indexes in turn with the same queries, one at a time as the daemon does."""
    exact, graph = ExactIndex(bundle.vectors, bundle.gallery.entry_card_ids), HnswIndex(bundle)
    times: tuple[list[float], list[float]] = ([], [])
    best: tuple[list[float], list[float]] = ([], [])
    for query in (queries[0], *queries):  # the first time warms up
        for index, index_times, nearest in zip((exact, graph), times, best, strict=True):
            started = time.perf_counter()
            (neighbors,) = index.search(query[np.newaxis], _K)
            index_times.append(time.perf_counter() - started)
            nearest.append(neighbors[0].similarity)
    exact_ms, graph_ms = (statistics.median(each[1:]) * 1e3 for each in times)
    best_exact, best_graph = best
    recall = float(np.mean(np.array(best_graph) >= np.array(best_exact) - 1e-5))
    return SearchFigures(len(bundle.vectors), exact_ms, graph_ms, exact_ms / graph_ms, recall)


def write_formats(specs: Iterable[CardSpec], folder: Path) -> Iterator[tuple[str, Path]]:
    """Draw cards once and save them as PNG, JPEG and WebP; yield the name of each format and the card list of its files."""
    write_cards(specs, folder / "png")
    yield "PNG", folder / "png" / "cards.csv"
    for name, suffix in (("JPEG", ".jpg"), ("WebP", ".webp")):
        target = folder / name
        for path in sorted((folder / "png").rglob("*.png")):
            (target / path.relative_to(folder / "png")).parent.mkdir(parents=True, exist_ok=True)
            with Image.open(path) as image:
                image.convert("RGB").save((target / path.relative_to(folder / "png")).with_suffix(suffix), quality=_QUALITY)
        listed = (folder / "png" / "cards.csv").read_text(encoding="utf-8")
        (target / "cards.csv").write_text(listed.replace(".png", suffix), encoding="utf-8")
        yield name, target / "cards.csv"


def measure_building(card_list: CardList, images: Path, embedder: Embedder, *, threads: int) -> BuildingFigures:
    """Embed the images of a list (a few dozen are enough) bare and through the builder, in turn; the better of three each counts.

    Both sides use the embedder alike: ``threads`` batches and one more under way.
    """
    inputs = np.concatenate([read_reference(images / row.image)[0] for row in card_list.rows])
    count = len(inputs)
    bare, built = [], []
    for _ in range(3):
        bare.append(_timed(lambda: _embed_bare(embedder, inputs, threads + 1)))
        built.append(_timed(lambda: embed_images(card_list.rows, images, embedder, threads=threads, advance=_ignored)))
    bare_s, built_s = min(taken.wall_s for taken in bare), min(taken.wall_s for taken in built)
    cpu_share = min(taken.cpu_s for taken in bare) / min(taken.cpu_s for taken in built)
    return BuildingFigures(count, count / bare_s, count / built_s, bare_s / built_s, cpu_share)


def _embed_bare(embedder: Embedder, inputs: InputBatch, submitted: int) -> None:
    running: deque[Future[EmbeddingMatrix]] = deque()
    for start in range(0, len(inputs), embedder.info.max_batch):
        if len(running) == submitted:
            running.popleft().result(EMBED_TIMEOUT_S)
        running.append(embedder.submit(inputs[start : start + embedder.info.max_batch]))
    for future in running:
        future.result(EMBED_TIMEOUT_S)


@dataclass(frozen=True, slots=True)
class _Taken:
    wall_s: float
    cpu_s: float


def _timed(work: Callable[[], object]) -> _Taken:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    work()
    return _Taken(time.perf_counter() - wall_s, time.process_time() - cpu_s)


def _ignored(count: int) -> None:
    """Ignore progress."""
