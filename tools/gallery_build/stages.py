"""Reading and embedding: pictures of a list in, references and embeddings out, on all cores.

``embed_contents`` does a handful of pictures and knows neither lists nor threads, so that any engine can spread it over workers;
``embed_pictures`` is the engine of one machine. Both give the same bytes however the pictures are shared out: the embedder's answer for a
picture does not depend on the others of its batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge.embedding import EmbeddingMatrix
from edge.errors import ImageError
from edge.image_file import read_picture_bytes
from tools.card_list import CardPicture
from tools.gallery_build.finding import Fault, Finding, Kind, fault_of
from tools.reference import Prepared, Reference, prepare

if TYPE_CHECKING:
    from edge.pipeline import Embedder

EMBED_TIMEOUT_S: Final = 120.0

Advance: TypeAlias = Callable[[int], object]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Content(NamedTuple):
    """A file's bytes and what to call it."""

    name: Path | str
    content: bytes


class Embedded(NamedTuple):
    """What a picture became: the reference, and its embedding float32 (dim,)."""

    reference: Reference
    vector: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Entries:
    """The usable pictures in the order of the list; row i of ``vectors`` belongs to picture i."""

    pictures: tuple[CardPicture, ...]
    references: tuple[Reference, ...]
    vectors: EmbeddingMatrix
    findings: tuple[Finding, ...]


def embed_contents(contents: Sequence[Content], embedder: Embedder) -> list[Embedded | Fault]:
    """Prepare and embed some pictures, at most ``embedder.max_batch``. One answer each, in order."""
    prepared = [prepare(content, name) for name, content in contents]
    usable = [one for one in prepared if isinstance(one, Prepared)]
    vectors = iter(())
    if usable:
        vectors = iter(embedder.submit(np.concatenate([one.network_input for one in usable])).result(EMBED_TIMEOUT_S))
    return [one if isinstance(one, Fault) else Embedded(one.reference, next(vectors)) for one in prepared]


def embed_pictures(rows: Sequence[CardPicture], images: Path, embedder: Embedder, *, threads: int, advance: Advance) -> Entries:
    """Read and embed the pictures of a list; ``advance`` hears of each one done. Raises ``EmbedderError``."""
    answers = _on_threads(lambda part: _embed_files(part, images, embedder), _parts(rows, embedder.max_batch), threads)
    pictures: list[CardPicture] = []
    embedded: list[Embedded] = []
    findings: list[Finding] = []
    for part, answer in zip(_parts(rows, embedder.max_batch), answers, strict=True):
        for row, one in zip(part, answer, strict=True):
            if isinstance(one, Fault):
                findings.append(fault_of(row, one))
            else:
                pictures.append(row)
                embedded.append(one)
        advance(len(part))
    vectors = np.stack([one.vector for one in embedded]) if embedded else np.empty((0, embedder.dim), dtype=np.float32)
    return Entries(tuple(pictures), tuple(one.reference for one in embedded), vectors, tuple(findings))


def _embed_files(rows: Sequence[CardPicture], images: Path, embedder: Embedder) -> list[Embedded | Fault]:
    read = [_content(images / row.image) for row in rows]
    answers = iter(embed_contents([one for one in read if isinstance(one, Content)], embedder))
    return [one if isinstance(one, Fault) else next(answers) for one in read]


def _content(path: Path) -> Content | Fault:
    try:
        return Content(path, read_picture_bytes(path))
    except ImageError as error:
        return Fault(Kind.UNREADABLE, str(error))


def _parts(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _on_threads(work: Callable[[_Item], _Result], items: Iterable[_Item], threads: int) -> Iterator[_Result]:
    """Map in order; few results wait, so that memory does not grow with the list."""
    with ThreadPoolExecutor(threads + 1, thread_name_prefix="pictures") as pool:
        iterator = iter(items)
        running: deque[Future[_Result]] = deque(pool.submit(work, item) for item in islice(iterator, 2 * threads + 2))
        try:
            while running:
                yield running.popleft().result()
                running.extend(pool.submit(work, item) for item in islice(iterator, 1))
        finally:
            for future in running:
                future.cancel()
