"""Writing a bundle: the files are written to a directory beside the target, flushed to the disk, and renamed into place."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from edge.bundles.bundle import digest_files
from edge.bundles.calibration import Calibration
from edge.bundles.card_database import write_cards
from edge.bundles.chunks import write_chunk_list
from edge.bundles.former_database import write_former_cards
from edge.bundles.graph_links import write_links
from edge.bundles.manifest import (
    CARDS_FILE,
    COARSE_FILE,
    GRAPH_FILE,
    LINKS_FILE,
    MANIFEST_FILE,
    PICTURES_FILE,
    PROJECTION_FILE,
    SIGNATURES_FILE,
    UNSEALED,
    VECTORS_FILE,
    GraphNodes,
    GraphParameters,
    Manifest,
    MeasuredRecall,
    ProjectionInfo,
    Proposals,
    SelfTestQuery,
    VectorDtype,
    file_names,
    read_manifest,
)
from edge.bundles.pictures import write_pictures
from edge.bundles.vector_files import StoredVectors
from edge.errors import DataError
from edge.recognition.embedding import PREPROCESSING_ID, EmbeddingMatrix, ModelId, Projection, l2_normalize
from edge.recognition.gallery import Gallery
from edge.recognition.neighbors import CardId, exact_similarities
from edge.recognition.verification import LUMA_SIGNATURE_ID, STORED_BYTES, stored_kind
from edge.system.files import locked, sync, write_atomically

SELF_TEST_QUERIES: Final = 16
SELF_TEST_LEAD: Final = 0.01
"""Lead of a self-test query's nearest entry over the second, so that rounding cannot change the result."""


class BuiltGraph(NamedTuple):
    """A written search structure: the parameters to search it with, and its measured recall (None for an empty gallery).

    ``nodes`` is None unless it is a graph that has other nodes than one for each entry, in the dimensions of the rows.
    """

    parameters: GraphParameters
    recall: MeasuredRecall | None
    nodes: GraphNodes | None = None


GraphWriter: TypeAlias = Callable[[StoredVectors, GraphParameters, Path], BuiltGraph]
"""Writes the search structure of vectors to a file: ``edge.adapters.hnsw.write_graph`` or ``edge.adapters.int8.write_coarse``.

If the nodes of a graph have fewer dimensions than the rows, the projection is written beside it."""


@dataclass(frozen=True, slots=True, eq=False)
class Reduction:
    """A projection applied to the vectors, and its description in the manifest."""

    projection: Projection
    info: ProjectionInfo


@dataclass(frozen=True, slots=True)
class VectorForm:
    """How vectors are stored and searched: the ``dtype`` of ``vectors.npy``, and the ``proposals``, which the graph writer must match."""

    dtype: VectorDtype = "float16"
    proposals: Proposals = "graph"


@dataclass(frozen=True, eq=False)
class BundleContents:
    """The contents of a new bundle.

    ``vectors`` are unit rows, float32 (entries, dim); row i belongs to ``gallery.entry_card_ids[i]``. ``reference_images`` yields one JPEG
    of 126x176 pixels per card and is consumed once. ``artefact`` is the SHA-256 of the model file that embedded the cards; None for
    imported vectors, whose ``gallery`` has signatures of zero bytes. ``reduction`` was applied to ``vectors`` already. Without ``chunks``
    the files are those of formats 1 and 2, for devices that do not know format 3.
    """

    name: str
    model_id: ModelId
    artefact: str | None
    vectors: EmbeddingMatrix
    gallery: Gallery
    reference_images: Iterable[tuple[CardId, bytes]]
    created: datetime
    graph: GraphParameters = field(default_factory=GraphParameters)
    calibration: Calibration | None = None
    form: VectorForm = field(default_factory=VectorForm)
    reduction: Reduction | None = None
    chunks: bool = True


def write_bundle(target: Path, contents: BundleContents, write_graph: GraphWriter) -> Manifest:
    """Write a bundle to ``target``, which must not exist, and return its manifest. A killed process leaves no ``target``.

    Raises ``DataError`` if ``target`` exists, its parent does not, or the disk is full.
    """
    unit = l2_normalize(contents.vectors) if len(contents.vectors) else contents.vectors
    vectors: StoredVectors = unit.astype(contents.form.dtype)
    reduction, recognizes = contents.reduction, contents.artefact is not None
    stored = stored_kind(contents.gallery.signatures) if contents.chunks else LUMA_SIGNATURE_ID  # version 0.1.0 knows no other
    signature = stored if recognizes else None
    with _new_directory(target) as directory:
        np.save(directory / VECTORS_FILE, vectors)
        signature_bytes = 0 if signature is None else STORED_BYTES[signature]
        picture_sizes = _write_gallery(directory, contents, signature_bytes)
        if reduction is not None:
            np.save(directory / PROJECTION_FILE, reduction.projection.to_array())
        graph = _write_proposals(directory, contents, vectors, write_graph)
        names = file_names(
            contents.form.proposals,
            projected=reduction is not None,
            graph_projected=graph.nodes is not None and graph.nodes.dim < vectors.shape[1],
            chunked=contents.chunks,
        )
        chunks = write_chunk_list(directory, names[:-1], picture_sizes) if contents.chunks else None
        manifest = Manifest(
            bundle_id=UNSEALED,
            created=contents.created,
            name=contents.name,
            model_id=contents.model_id,
            artefact=contents.artefact,
            preprocessing=PREPROCESSING_ID if recognizes else None,
            signature=signature,
            dim=vectors.shape[1],
            entries=len(vectors),
            cards=len(contents.gallery.cards),
            artwork_groups=len({card.artwork_group for card in contents.gallery.cards.values()}),
            graph=graph.parameters,
            recall=graph.recall,
            calibration=contents.calibration,
            self_test=_self_test_queries(vectors, contents.gallery),
            files=digest_files(directory, names),
            vectors=contents.form.dtype,
            proposals=contents.form.proposals,
            projection=reduction.info if reduction is not None else None,
            graph_nodes=graph.nodes,
            chunks=chunks,
        ).sealed()
        (directory / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
    return manifest


def _write_gallery(directory: Path, contents: BundleContents, signature_bytes: int) -> list[int]:
    """Write cards, signatures and pictures; return the sizes of the pictures in ``pictures.bin``."""
    gallery = contents.gallery
    if not contents.chunks:
        write_former_cards(directory / CARDS_FILE, gallery, contents.reference_images, signature_bytes=signature_bytes)
        return []
    sizes = write_pictures(directory / PICTURES_FILE, gallery.cards, dict(contents.reference_images))
    write_cards(directory / CARDS_FILE, gallery, sizes)
    np.save(directory / SIGNATURES_FILE, np.ascontiguousarray(gallery.signatures[:, :signature_bytes]))
    return list(sizes.values())


def _write_proposals(directory: Path, contents: BundleContents, vectors: StoredVectors, write_graph: GraphWriter) -> BuiltGraph:
    """Write what selects the entries for an exact comparison: the graph or its links, or rows of int8."""
    graph = directory / GRAPH_FILE
    if contents.form.proposals == "int8":
        if not contents.chunks:
            graph.touch()
        return write_graph(vectors, contents.graph, directory / COARSE_FILE)
    built = write_graph(vectors, contents.graph, graph)
    if contents.chunks:
        write_links(graph, directory / LINKS_FILE)
        graph.unlink()
    return built


def set_calibration(path: Path, calibration: Calibration) -> Manifest:
    """Add a calibration to a bundle: replace its manifest in one step, with a new ``bundle_id``. Return the manifest.

    Only for a bundle on a workstation: the directory of a release is named by its id.
    """
    manifest = read_manifest(path).model_copy(update={"calibration": calibration}).sealed()
    write_atomically(path / MANIFEST_FILE, manifest.to_json())
    return manifest


def check_new(target: Path) -> None:
    """Raise ``DataError`` if ``target`` exists and is not an empty directory, or if its parent does not exist."""
    if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
        raise DataError(f"{target}: already exists; name another directory or remove it first")
    if not target.absolute().parent.is_dir():
        raise DataError(f"{target.absolute().parent}: no such directory; create it first")


@contextmanager
def claimed(target: Path) -> Iterator[None]:
    """Keep other builds from writing ``target`` while the block runs, from before a long computation until the bundle is written.

    Raises ``DataError`` like ``check_new``, if the parent cannot be written, or while another process has claimed ``target``.
    """
    check_new(target)
    lock = target.absolute().with_name(f".{target.name}.lock")
    try:
        claim = locked(lock)
    except BlockingIOError:
        raise DataError(f"{target}: another build is writing it; wait until it has finished, or name another directory") from None
    except OSError as error:
        raise _cannot_write(target, error) from error
    with claim:
        try:
            check_new(target)
            yield
        finally:
            lock.unlink(missing_ok=True)


def _cannot_write(target: Path, error: OSError | sqlite3.Error) -> DataError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return DataError(f"{target}: cannot be written ({reason}); nothing was kept of it; free space there or name another directory")


@contextmanager
def _new_directory(target: Path) -> Iterator[Path]:
    """Yield a temporary directory beside ``target``; it is renamed to ``target`` when the block ends without an exception."""
    check_new(target)
    target = target.absolute()
    try:
        directory = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    except OSError as error:
        raise _cannot_write(target, error) from error
    try:
        yield directory
        directory.chmod(0o755)
        for path in directory.iterdir():
            path.chmod(0o644)
            sync(path)
        sync(directory)
        directory.replace(target)
        sync(target.parent)
    except (OSError, sqlite3.Error) as error:
        shutil.rmtree(directory, ignore_errors=True)
        raise _cannot_write(target, error) from error
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def _self_test_queries(vectors: StoredVectors, gallery: Gallery) -> tuple[SelfTestQuery, ...]:
    """Return evenly distributed entries that find themselves first with a clear lead."""
    queries: list[SelfTestQuery] = []
    for entry in np.linspace(0, max(len(vectors) - 1, 0), min(len(vectors), 4 * SELF_TEST_QUERIES)).astype(int):
        similarities = exact_similarities(vectors[entry : entry + 1].astype(np.float32), vectors)[0]
        own = similarities[entry]
        similarities[entry] = -1.0
        if own - similarities.max() >= SELF_TEST_LEAD and len(queries) < SELF_TEST_QUERIES:
            queries.append(SelfTestQuery(entry=int(entry), nearest=gallery.entry_card_ids[entry]))
    return tuple(queries)
