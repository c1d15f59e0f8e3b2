"""How many bytes an update of a bundle sends, and how long the device takes to assemble it, for ``tools/benchmark.py``.

Three updates of a catalog: 200 cards are appended, 200 cards stand between the others, 20 pictures are corrected. Each is pushed through
the push protocol to a device that has the catalog; all bytes in both directions are counted, below SSH. For comparison, the same two
folders are synchronized by rsync and casync, and the same two catalogs are pushed as bundles without chunks, file by file.
"""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.adapters.hnsw import write_graph
from edge.bundles.bundle import check_hashes, open_bundle
from edge.bundles.card_database import REFERENCE_HEIGHT, REFERENCE_WIDTH
from edge.bundles.manifest import CHUNKS_FILE, read_manifest
from edge.bundles.writer import BundleContents, GraphWriter, write_bundle
from edge.errors import DeviceError
from edge.index import releases
from edge.index.audit import Audit
from edge.receiving.acceptance import Acceptance, VerifiedOffer
from edge.receiving.assembly import Assembly
from edge.receiving.incoming import INCOMING
from edge.receiving.messages import REQUESTS, Offer
from edge.receiving.session import Receiver
from edge.receiving.transfer import Channel
from edge.recognition.embedding import EmbeddingMatrix, ModelId, l2_normalize
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId
from edge.recognition.verification import SIGNATURE_BYTES
from edge.settings.sections import PushSection
from edge.system.files import sync
from tools.benchmarks.vectors import random_vectors
from tools.drawing.cards import over_white
from tools.drawing.layout import draw_card
from tools.drawing.spec import card_specs
from tools.push.connection import Connection
from tools.push.local_bundle import read_bundle
from tools.push.sending import Transfer, chunk_packets

NEW_CARDS: Final = 200
CORRECTED: Final = 20
ASSEMBLIES: Final = 7

_MODEL: Final = ModelId("benchmark")
_SIDE_SIMILARITY: Final = 0.95
"""Cosine between the embeddings of a card's first scan and of a better one."""

_SPECTRUM_DECAY: Final = 20.0
_SPECTRUM_FLOOR: Final = 0.01
_DRAWN: Final = 48
_NOISE: Final = 2.0
_JPEG_QUALITY: Final = 80
_CREATED: Final = datetime(2026, 1, 1, tzinfo=UTC)
_TIMEOUT_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class UpdateFigures:
    """One update: bytes of the new bundle, and bytes sent (and received) by each way to update the old one.

    ``files`` is a push of format 2; ``rsync`` and ``casync`` are None if they are not installed.
    """

    name: str
    bundle_bytes: int
    chunks: int
    files: int
    rsync: int | None
    casync: int | None


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds by the clock and of the processor."""

    wall_s: float
    processor_s: float


@dataclass(frozen=True, slots=True)
class AssemblyFigures:
    """Medians: assembling a bundle and verifying its hashes, and copying the files of the same bundle; both until all is on the disk."""

    assembly: Times
    copy: Times
    bundle_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class _Catalog:
    """Cards with their data: a row of ``vectors`` and ``signatures`` and a picture each."""

    numbers: tuple[int, ...]
    vectors: EmbeddingMatrix
    signatures: NDArray[np.uint8]
    pictures: tuple[bytes, ...]

    def only(self, rows: Sequence[int]) -> _Catalog:
        chosen = list(rows)
        pictures = tuple(self.pictures[row] for row in chosen)
        return _Catalog(tuple(self.numbers[row] for row in chosen), self.vectors[chosen], self.signatures[chosen], pictures)

    def corrected(self, count: int) -> _Catalog:
        """Return the catalog with a better scan of ``count`` cards: other pixels, a similar embedding."""
        random = np.random.default_rng(7)
        chosen = np.sort(random.choice(len(self.numbers), count, replace=False))
        noise = l2_normalize(random.standard_normal((count, self.vectors.shape[1])).astype(np.float32))
        vectors, signatures, pictures = self.vectors.copy(), self.signatures.copy(), list(self.pictures)
        vectors[chosen] = l2_normalize(vectors[chosen] + np.sqrt(1.0 / _SIDE_SIMILARITY**2 - 1.0) * noise)
        signatures[chosen] = random.integers(0, 256, (count, SIGNATURE_BYTES), dtype=np.uint8)
        for row, picture in zip(chosen.tolist(), _pictures(count, seed=8), strict=True):
            pictures[row] = picture
        return _Catalog(self.numbers, vectors, signatures, tuple(pictures))


def measure_updates(folder: Path, cards: int, dim: int) -> Iterator[UpdateFigures]:
    """Measure the three updates of a catalog of ``cards`` cards, with bundles written below ``folder``."""
    everything = _catalog(cards + NEW_CARDS, dim)
    first = everything.only(range(cards))
    between = [*range(cards // 3), *range(cards, cards + NEW_CARDS), *range(cards // 3, cards)]
    updates = {
        f"{NEW_CARDS} new cards": everything,
        f"{NEW_CARDS} new cards between the others": everything.only(between),
        f"{CORRECTED} corrected pictures": first.corrected(CORRECTED),
    }
    old = folder / _folder("old", chunks=True)
    _write(old, first, write_graph, created=_CREATED)
    known = open_bundle(old).graph_projection
    write_next_graph = partial(write_graph, known_projection=known)
    _write(folder / _folder("old", chunks=False), first, write_next_graph, created=_CREATED, chunks=False)
    for number, (name, catalog) in enumerate(updates.items()):
        new = {chunks: folder / _folder(f"new-{number}", chunks=chunks) for chunks in (True, False)}
        for chunks, path in new.items():
            _write(path, catalog, write_next_graph, created=_CREATED + timedelta(days=1), chunks=chunks)
        yield UpdateFigures(
            name,
            _size_bytes(new[True]),
            pushed_bytes(old, new[True], folder),
            pushed_bytes(folder / _folder("old", chunks=False), new[False], folder),
            _rsync_bytes(old, new[True], folder),
            _casync_bytes(old, new[True], folder),
        )


def measure_assembly(folder: Path) -> AssemblyFigures:
    """Measure how long the bundle with new cards takes to assemble on a device with the old one, after ``measure_updates``."""
    old, new = folder / _folder("old", chunks=True), folder / _folder("new-0", chunks=True)
    with TemporaryDirectory(dir=folder) as name:
        root = Path(name) / "index"
        _install(root, old)
        (root / INCOMING).mkdir()
        rounds = [(_assemble(root, new), _copy(new, Path(name) / "copy")) for _ in range(ASSEMBLIES)]
    assembly, copy = (_median(times) for times in zip(*rounds, strict=True))
    return AssemblyFigures(assembly, copy, _size_bytes(new))


def pushed_bytes(old: Path, new: Path, folder: Path) -> int:
    """Push a bundle to a device that has another one; return the bytes sent in both directions, without those of SSH."""
    with TemporaryDirectory(dir=folder) as name:
        root = Path(name) / "index"
        _install(root, old)
        with _device(root) as device:
            bundle = read_bundle(new, check=False)
            transfer = Transfer(device, bundle)
            transfer.send(transfer.offer(Offer(manifest_bytes=len(bundle.manifest_bytes), signature_bytes=0)))
            transfer.commit([])
            return device.bytes_sent + device.bytes_received


@contextmanager
def _device(root: Path) -> Iterator[Connection]:
    """Yield a connection to a device's receiver, which runs in a thread."""
    device_in, our_out = os.pipe()
    our_in, device_out = os.pipe()

    def serve() -> None:
        channel = Channel(device_in, device_out, REQUESTS, idle_s=_TIMEOUT_S, session_s=_TIMEOUT_S)
        acceptance = Acceptance(root, PushSection(allow_unsigned=True, keep_free_mb=0), _MODEL, open_bundle)
        Receiver(channel, root, "benchmark", acceptance, Audit(root, {}, technician=None)).serve()
        os.close(device_out)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Connection(our_in, our_out, idle_s=_TIMEOUT_S, session_s=_TIMEOUT_S)
    finally:
        os.close(our_out)
        thread.join()
        os.close(our_in)
        os.close(device_in)


def _install(root: Path, bundle: Path) -> None:
    root.mkdir(parents=True)
    releases.activate(root, releases.install(root, bundle).bundle_id)


def _assemble(root: Path, new: Path) -> Times:
    """Return the time from the arrival of the chunk list to verified files on the disk; the chunks are sent in no time."""
    bundle = read_bundle(new, check=False)
    offer = VerifiedOffer(bundle.manifest, bundle.manifest_bytes, b"", None)
    list_bytes = (new / CHUNKS_FILE).read_bytes()
    bits = np.unpackbits(np.frombuffer(Assembly(root, offer, list_bytes).wanted().chunks, dtype=np.uint8))
    packets = list(chunk_packets(bundle, np.flatnonzero(bits)))
    with _timed() as times:
        assembly = Assembly(root, offer, list_bytes)
        assembly.prepare()
        for packet in packets:
            assembly.store(packet.message, packet.payload)
        assembly.require_complete()
        assembly.folder.write_manifest(offer)
        with assembly.folder.flushing():
            check_hashes(assembly.folder.path, bundle.manifest)
    assembly.folder.discard()
    return times[0]


def _copy(bundle: Path, target: Path) -> Times:
    """Return the time to copy the files of a bundle and flush them to the disk."""
    target.mkdir()
    names = list(read_manifest(bundle).files)
    with _timed() as times:
        for name in names:
            shutil.copyfile(bundle / name, target / name)
        for path in (*(target / name for name in names), target):
            sync(path)
    shutil.rmtree(target)
    return times[0]


@contextmanager
def _timed() -> Iterator[list[Times]]:
    """Yield a list that has the time of the block when it has ended; what was written before is on the disk when it begins."""
    times: list[Times] = []
    os.sync()
    began_s, processor_s = time.perf_counter(), time.process_time()
    yield times
    times.append(Times(time.perf_counter() - began_s, time.process_time() - processor_s))


def _median(times: Sequence[Times]) -> Times:
    return Times(statistics.median(one.wall_s for one in times), statistics.median(one.processor_s for one in times))


def _rsync_bytes(old: Path, new: Path, folder: Path) -> int | None:
    """Return the bytes that rsync sends in both directions to turn a copy of ``old`` into ``new``, with compression."""
    with TemporaryDirectory(dir=folder) as name:
        shutil.copytree(old, Path(name) / "copy")
        command = ["rsync", "-rtz", "--no-whole-file", "--stats", f"{new}/", f"{name}/copy/"]
        said = _output(command)
    if said is None:
        return None
    return sum(int(count.replace(",", "")) for count in re.findall(r"Total bytes (?:sent|received): ([\d,]+)", said))


def _casync_bytes(old: Path, new: Path, folder: Path) -> int | None:
    """Return the size of the index of ``new`` and of its chunks that are not chunks of ``old``, compressed, as casync would fetch them."""
    with TemporaryDirectory(dir=folder) as name:
        stores = {}
        for which, bundle in (("old", old), ("new", new)):
            store = Path(name) / f"{which}.castr"
            if _output(["casync", "make", f"--store={store}", f"{name}/{which}.caidx", str(bundle)]) is None:
                return None
            stores[which] = {path.name: path.stat().st_size for path in store.rglob("*.cacnk")}
        fetched = sum(size for chunk, size in stores["new"].items() if chunk not in stores["old"])
        return fetched + (Path(name) / "new.caidx").stat().st_size


def _output(command: list[str]) -> str | None:
    """Run a program and return its output, None if it is not installed. Raises ``DeviceError`` if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    except FileNotFoundError:
        return None
    if done.returncode:
        raise DeviceError(f"{command[0]} failed: {done.stderr.strip()}; its version is not one that this row knows")
    return done.stdout


def _catalog(cards: int, dim: int) -> _Catalog:
    signatures = np.random.default_rng(1).integers(0, 256, (cards, SIGNATURE_BYTES), dtype=np.uint8)
    return _Catalog(tuple(range(cards)), _vectors(cards, dim), signatures, tuple(_pictures(cards, seed=0)))


def _vectors(count: int, dim: int) -> EmbeddingMatrix:
    """Return unit rows, float32 (count, dim), in clusters and close to a space of fewer dimensions, as the embeddings of one game are."""
    spectrum = np.exp(-np.arange(dim) / _SPECTRUM_DECAY) + _SPECTRUM_FLOOR
    rotation = np.linalg.qr(np.random.default_rng(2).standard_normal((dim, dim)))[0]
    return l2_normalize((random_vectors(count, dim) * spectrum.astype(np.float32)) @ rotation.astype(np.float32))


def _pictures(count: int, *, seed: int) -> Iterator[bytes]:
    """Yield reference images of ``count`` cards that differ: the text of one drawn card below the picture of another, with noise."""
    size = (REFERENCE_WIDTH, REFERENCE_HEIGHT)
    drawn = [cv2.resize(over_white(draw_card(spec)), size, interpolation=cv2.INTER_AREA) for spec in card_specs(_DRAWN, 3)]
    random = np.random.default_rng(seed)
    for _ in range(count):
        upper, lower = random.integers(_DRAWN, size=2)
        card = np.concatenate([drawn[upper][: REFERENCE_HEIGHT // 2], drawn[lower][REFERENCE_HEIGHT // 2 :]]).astype(np.float32)
        noisy = np.clip(card + _NOISE * random.standard_normal(card.shape, dtype=np.float32), 0, 255).astype(np.uint8)
        _, encoded = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        yield encoded.tobytes()


def _write(path: Path, catalog: _Catalog, write: GraphWriter, *, created: datetime, chunks: bool = True) -> None:
    ids = [CardId(f"S{number // 200:03d}-{number % 200:03d}") for number in catalog.numbers]
    cards = {
        card_id: Card(card_id, f"The Card of Number {number}", str(card_id), f"S{number // 200:03d}", str(number % 200), "common", "en")
        for card_id, number in zip(ids, catalog.numbers, strict=True)
    }
    contents = BundleContents(
        name="benchmark",
        model_id=_MODEL,
        artefact="0" * 64,
        vectors=catalog.vectors,
        gallery=Gallery(cards, tuple(ids), catalog.signatures),
        reference_images=zip(ids, catalog.pictures, strict=True),
        created=created,
        chunks=chunks,
    )
    write_bundle(path, contents, write)


def _folder(name: str, *, chunks: bool) -> str:
    return f"{name}-{'chunks' if chunks else 'files'}"


def _size_bytes(bundle: Path) -> int:
    return sum(file.size_bytes for file in read_manifest(bundle).files.values())
