"""Reading and embedding: images of a list in, references and embeddings out, on all cores.

``embed_contents`` processes a few images and is independent of lists and threads, so that any engine can distribute it;
``embed_images`` is the engine of one machine. Both give the same bytes, however the images are distributed: the embedder's answer for an
image does not depend on the others of its batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeAlias, TypeVar

import numpy as np

from edge.errors import ImageError
from edge.recognition.embedding import EmbeddingMatrix
from edge.vision.image_file import read_image_bytes
from tools.bundle_build.cache import EmbeddingCache
from tools.bundle_build.card_list import ListedImage
from tools.bundle_build.embedded import EmbeddedImage
from tools.bundle_build.finding import Fault, FindingKind, ImageFinding
from tools.bundle_build.reference import PreparedImage, Reference, prepare
from tools.bundle_build.similar_names import explain_missing

if TYPE_CHECKING:
    from edge.recognition.recognizer import Embedder

EMBED_TIMEOUT_S: Final = 120.0
_EXAMINED_AT_ONCE: Final = 8

Advance: TypeAlias = Callable[[int], object]
_Result = TypeVar("_Result")


class Content(NamedTuple):
    """The bytes of a file and its name for messages."""

    name: Path | str
    content: bytes


@dataclass(frozen=True, eq=False)
class ExaminedImages:
    """The usable images in the order of the list, and the findings about the others."""

    rows: tuple[ListedImage, ...]
    references: tuple[Reference, ...]
    findings: tuple[ImageFinding, ...]

    def with_findings(self, findings: Iterable[ImageFinding]) -> Self:
        """Return the same with ``findings``, and without the images that they leave out."""
        more = tuple(findings)
        gone = {finding.row.line for finding in more if finding.left_out}
        return self._only([index for index, row in enumerate(self.rows) if row.line not in gone], self.findings + more)

    def _only(self, kept: Sequence[int], findings: tuple[ImageFinding, ...]) -> Self:
        rows, references = tuple(self.rows[index] for index in kept), tuple(self.references[index] for index in kept)
        return replace(self, rows=rows, references=references, findings=findings)


@dataclass(frozen=True, eq=False)
class Entries(ExaminedImages):
    """Usable images with their embeddings: row i of ``vectors`` belongs to image i."""

    vectors: EmbeddingMatrix

    def _only(self, kept: Sequence[int], findings: tuple[ImageFinding, ...]) -> Self:
        return replace(super()._only(kept, findings), vectors=self.vectors[kept])


def embed_contents(contents: Sequence[Content], embedder: Embedder, cache: EmbeddingCache | None = None) -> list[EmbeddedImage | Fault]:
    """Prepare and embed at most ``embedder.info.max_batch`` images, using the cache. Returns one result each, in order."""
    known = [cache.find(one.content) if cache else None for one in contents]
    prepared = [found or prepare(one.content, one.name) for one, found in zip(contents, known, strict=True)]
    fresh = [one for one in prepared if isinstance(one, PreparedImage)]
    if not fresh:
        return [one for one in prepared if not isinstance(one, PreparedImage)]
    vectors = embedder.submit(np.concatenate([one.network_input for one in fresh])).result(EMBED_TIMEOUT_S)
    embedded = [EmbeddedImage(one.reference, vector) for one, vector in zip(fresh, vectors, strict=True)]
    if cache:
        cache.add(embedded)
    following = iter(embedded)
    return [next(following) if isinstance(one, PreparedImage) else one for one in prepared]


def embed_images(
    rows: Sequence[ListedImage], images: Path, embedder: Embedder, *, threads: int, advance: Advance, cache: EmbeddingCache | None = None
) -> Entries:
    """Read and embed the images of a list; ``advance`` is called after each one. Raises ``EmbedderError``."""

    def embed(part: Sequence[ListedImage]) -> list[EmbeddedImage | Fault]:
        return _embed_files(part, images, embedder, cache)

    usable, findings = _split(_on_threads(embed, rows, embedder.info.max_batch, threads), advance)
    listed, references = tuple(row for row, _ in usable), tuple(one.reference for _, one in usable)
    vectors = np.stack([one.vector for _, one in usable]) if usable else np.empty((0, embedder.info.dim), dtype=np.float32)
    return Entries(listed, references, findings, vectors)


def examine_images(rows: Sequence[ListedImage], images: Path, *, threads: int, advance: Advance) -> ExaminedImages:
    """Read the images of a list without embedding them."""

    def examine(part: Sequence[ListedImage]) -> list[Reference | Fault]:
        read = [_content(images, row.image) for row in part]
        prepared = [one if isinstance(one, Fault) else prepare(one.content, one.name) for one in read]
        return [one if isinstance(one, Fault) else one.reference for one in prepared]

    usable, findings = _split(_on_threads(examine, rows, _EXAMINED_AT_ONCE, threads), advance)
    return ExaminedImages(tuple(row for row, _ in usable), tuple(reference for _, reference in usable), findings)


def _split(
    answers: Iterable[tuple[Sequence[ListedImage], list[_Result | Fault]]], advance: Advance
) -> tuple[list[tuple[ListedImage, _Result]], tuple[ImageFinding, ...]]:
    """Split results into usable images and faults."""
    usable: list[tuple[ListedImage, _Result]] = []
    findings: list[ImageFinding] = []
    for rows, answer in answers:
        for row, one in zip(rows, answer, strict=True):
            if isinstance(one, Fault):
                findings.append(ImageFinding(row, one.kind, one.reason, one.thumbnail))
            else:
                usable.append((row, one))
        advance(len(rows))
    return usable, tuple(findings)


def _embed_files(
    rows: Sequence[ListedImage], images: Path, embedder: Embedder, cache: EmbeddingCache | None
) -> list[EmbeddedImage | Fault]:
    read = [_content(images, row.image) for row in rows]
    answers = iter(embed_contents([one for one in read if isinstance(one, Content)], embedder, cache))
    return [one if isinstance(one, Fault) else next(answers) for one in read]


def _content(images: Path, image: str) -> Content | Fault:
    path = images / image
    try:
        return Content(path, read_image_bytes(path))
    except ImageError as error:
        explanation = None if path.exists() else explain_missing(images, image)
        return Fault(FindingKind.UNREADABLE, str(error) if explanation is None else f"{path}: no such file, but {explanation}")


def _on_threads(
    work: Callable[[Sequence[ListedImage]], _Result], rows: Sequence[ListedImage], size: int, threads: int
) -> Iterator[tuple[Sequence[ListedImage], _Result]]:
    """Map over batches of the list in order; few results are pending, so that memory does not grow with the list."""
    parts = (rows[start : start + size] for start in range(0, len(rows), size))
    # one thread more than there are cores to use: a thread whose batch is with the network does nothing
    with ThreadPoolExecutor(threads + 1, thread_name_prefix="images") as pool:
        running = deque((part, pool.submit(work, part)) for part in islice(parts, 2 * threads + 2))
        try:
            while running:
                part, future = running.popleft()
                yield part, future.result()
                running.extend((part, pool.submit(work, part)) for part in islice(parts, 1))
        finally:
            for _, future in running:
                future.cancel()
