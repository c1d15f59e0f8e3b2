"""Measure how fast bundles open and answer, and how near building one comes to the speed of the bare network.

python -m tools.measure_index [--entries N] [--dim D]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

if not __package__:  # started as a file: the project's root is not on the path yet
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edge.adapters.exact import ExactIndex
from edge.adapters.hnsw import HnswIndex, disturbed_entries
from edge.bundles import releases
from edge.bundles.bundle import Bundle
from edge.embedding import EmbeddingMatrix, InputBatch
from edge.testing import random_vectors, write_vectors_bundle
from tools.build_index import EMBED_TIMEOUT_S, embed_pictures
from tools.card_list import CardList
from tools.reference import read_reference

if TYPE_CHECKING:
    from edge.pipeline import Embedder, VectorIndex

_Result = TypeVar("_Result")

CATALOGUE_ENTRIES: Final = 17_592
"""A whole game's catalogue, for which the budgets are set."""

_K: Final = 10
_QUERIES: Final = 300
_PICTURE_BYTES: Final = 7_000


@dataclass(frozen=True, slots=True)
class SearchFigures:
    """Medians of single queries. ``speedup`` is exact over graph; recall@1 by similarity against exact search."""

    entries: int
    exact_ms: float
    graph_ms: float
    speedup: float
    recall_at_1: float


@dataclass(frozen=True, slots=True)
class OpeningFigures:
    """Seconds from a directory to a bundle that can be searched; ``stamped`` is the start of a device after activation."""

    entries: int
    size_mb: float
    activate_s: float
    open_hashed_s: float
    open_stamped_s: float
    load_graph_s: float


@dataclass(frozen=True, slots=True)
class BuildingFigures:
    """Images per second: the bare network on prepared inputs, the index builder from files, and the second as a share of the first."""

    images: int
    network_images_per_s: float
    builder_images_per_s: float
    share: float


def measure_search(bundle: Bundle, *, queries: int = _QUERIES) -> SearchFigures:
    """Ask both indexes the same queries in turn, one at a time as the daemon does."""
    exact, graph = ExactIndex(bundle), HnswIndex(bundle)
    asked = disturbed_entries(bundle.vectors, queries, seed=1)
    exact_ms, best_exact = _ask(exact, asked)
    graph_ms, best_graph = _ask(graph, asked)
    recall = float(np.mean(np.array(best_graph) >= np.array(best_exact) - 1e-5))
    return SearchFigures(len(bundle.vectors), exact_ms, graph_ms, exact_ms / graph_ms, recall)


def measure_opening(root: Path, bundle_id: str) -> OpeningFigures:
    """Activate an installed release, then open it with and without hashing; the files are in the page cache."""
    activate_s, _ = _timed(lambda: releases.activate(root, bundle_id))
    stamp = root / releases.RELEASES / f"{bundle_id}.verified"
    kept = stamp.read_bytes()
    stamp.unlink()
    hashed_s, _ = _timed(lambda: releases.open_index(root))
    stamp.write_bytes(kept)
    stamped_s, bundle = _timed(lambda: releases.open_index(root))
    load_s, _ = _timed(lambda: HnswIndex(bundle))
    size_mb = sum(facts.size_bytes for facts in bundle.manifest.files.values()) / 1e6
    return OpeningFigures(len(bundle.vectors), size_mb, activate_s, hashed_s, stamped_s, load_s)


def measure_building(card_list: CardList, images: Path, embedder: Embedder, *, threads: int) -> BuildingFigures:
    """Embed the pictures of a list (a few dozen are enough) bare and through the builder, in turn; the better of two each counts."""
    inputs = np.concatenate([read_reference(images / row.image)[0] for row in card_list.rows])
    count = len(inputs)
    bare, built = [], []
    for _ in range(2):
        bare.append(_timed(lambda: _embed_bare(embedder, inputs))[0])
        built.append(_timed(lambda: embed_pictures(card_list.rows, images, embedder, threads=threads, advance=_ignored))[0])
    return BuildingFigures(count, count / min(bare), count / min(built), min(bare) / min(built))


def write_catalogue(path: Path, *, entries: int = CATALOGUE_ENTRIES, dim: int = 768) -> str:
    """Write a bundle of random vectors in loose clusters with pictures of the usual size; return its id."""
    picture = np.random.default_rng(0).bytes(_PICTURE_BYTES)
    return write_vectors_bundle(path, random_vectors(entries, dim), picture=picture).bundle_id


def _ask(index: VectorIndex, queries: EmbeddingMatrix) -> tuple[float, list[float]]:
    index.search(queries[:1], _K)
    times, best = [], []
    for query in queries:
        started = time.perf_counter()
        (neighbors,) = index.search(query[np.newaxis], _K)
        times.append(time.perf_counter() - started)
        best.append(neighbors[0].similarity)
    return statistics.median(times) * 1e3, best


def _embed_bare(embedder: Embedder, inputs: InputBatch) -> None:
    running: deque[Future[EmbeddingMatrix]] = deque()
    for start in range(0, len(inputs), embedder.max_batch):
        if len(running) == 2:
            running.popleft().result(EMBED_TIMEOUT_S)
        running.append(embedder.submit(inputs[start : start + embedder.max_batch]))
    for future in running:
        future.result(EMBED_TIMEOUT_S)


def _timed(work: Callable[[], _Result]) -> tuple[float, _Result]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def _ignored(count: int) -> None:
    """Progress nobody watches."""


def main() -> None:
    """Measure a catalogue of random vectors; one JSON object per line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=CATALOGUE_ENTRIES)
    parser.add_argument("--dim", type=int, default=768)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "index"
        write_s, bundle_id = _timed(lambda: write_catalogue(Path(folder) / "bundle", entries=args.entries, dim=args.dim))
        releases.install(root, Path(folder) / "bundle")
        opening = measure_opening(root, bundle_id)
        search = measure_search(releases.open_index(root))
    for figures in ({"write_s": write_s}, asdict(opening), asdict(search)):
        print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
