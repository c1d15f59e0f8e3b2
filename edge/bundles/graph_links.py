"""``links.bin``: a graph of hnswlib without the vectors, which a bundle has in ``vectors.npy`` already.

A file of hnswlib (``HierarchicalNSW::saveIndex``, hnswlib 0.8, unchanged since 0.4) has a head, an element per entry (its links on the
lowest level, its vector as float32, its label) and the links above the lowest level. ``links.bin`` has the head, the links of each element,
and the links above. Element i is entry i, so vectors and labels can be put back. Without them the graph is 2 MB instead of 57 for 17,592
entries, and a new link does not change a page full of old vectors.

The links of an element are in ascending order, and 0 where there are fewer: their order means nothing to hnswlib, and a graph that was
built again then differs from the former one only where it leads elsewhere.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.bundles.vector_files import StoredVectors

GRAPH_HEAD: Final = struct.Struct("<6QiI3QdQ")
LINK_BYTES: Final = 4
LABEL_BYTES: Final = 8

MAX_LINKS: Final = 10_000
"""hnswlib's own limit, beyond which it silently uses this one."""

_ROWS: Final = 2048


class GraphSizes(NamedTuple):
    """Sizes in the head of a graph: elements, bytes of an element, and where its vector and label begin."""

    elements: int
    element_bytes: int
    vector_at: int
    label_at: int

    @property
    def links_end(self) -> int:
        """Where ``links.bin`` has the links above the lowest level."""
        return GRAPH_HEAD.size + self.elements * self.vector_at


def graph_sizes(head: bytes) -> GraphSizes:
    """Return the sizes in a head. Raises ``ValueError`` if it is too short, or the sizes do not fit each other."""
    if len(head) < GRAPH_HEAD.size:
        raise ValueError(f"{len(head)} bytes are too few for a graph")
    _, most, _, size, label_at, vector_at, *_ = GRAPH_HEAD.unpack(head[: GRAPH_HEAD.size])
    if not LINK_BYTES <= vector_at <= LINK_BYTES * (1 + 2 * MAX_LINKS) or size != label_at + LABEL_BYTES or label_at < vector_at:
        raise ValueError(f"its elements of {size} bytes with a vector at {vector_at} and a label at {label_at} are not those of a graph")
    return GraphSizes(most, size, vector_at, label_at)


def write_links(graph: Path, links: Path) -> None:
    """Write the graph of hnswlib in ``graph`` to ``links`` without its vectors and labels; an empty file stays empty."""
    if graph.stat().st_size == 0:
        links.write_bytes(b"")
        return
    raw = np.memmap(graph, dtype=np.uint8, mode="r")
    sizes = graph_sizes(raw[: GRAPH_HEAD.size].tobytes())
    end = GRAPH_HEAD.size + sizes.elements * sizes.element_bytes
    elements = raw[GRAPH_HEAD.size : end].reshape(sizes.elements, sizes.element_bytes)
    with links.open("wb") as file:
        file.write(raw[: GRAPH_HEAD.size].tobytes())
        for start in range(0, sizes.elements, _ROWS):
            lists = np.ascontiguousarray(elements[start : start + _ROWS, : sizes.vector_at]).view("<u4")
            file.write(_in_order(lists).tobytes())
        file.write(raw[end:].tobytes())


def read_graph(links: Path, vectors: StoredVectors) -> NDArray[np.int8]:
    """Return the content of the hnswlib file that ``links`` was made from, int8, with ``vectors`` as its elements.

    Raises ``OSError``, or ``ValueError`` if the links are not those of so many vectors of this length.
    """
    raw = np.fromfile(links, dtype=np.uint8)
    sizes = graph_sizes(raw[: GRAPH_HEAD.size].tobytes())
    count, dim = vectors.shape
    if sizes.elements != count or sizes.label_at - sizes.vector_at != 4 * dim or len(raw) < sizes.links_end:
        raise ValueError(f"it has {len(raw)} bytes of links for {sizes.elements} elements, not for {count} of {dim} dimensions")
    end = GRAPH_HEAD.size + count * sizes.element_bytes
    graph = np.empty(end + len(raw) - sizes.links_end, dtype=np.uint8)
    graph[: GRAPH_HEAD.size] = raw[: GRAPH_HEAD.size]
    graph[end:] = raw[sizes.links_end :]
    elements = graph[GRAPH_HEAD.size : end].reshape(count, sizes.element_bytes)
    elements[:, : sizes.vector_at] = raw[GRAPH_HEAD.size : sizes.links_end].reshape(count, sizes.vector_at)
    for start in range(0, count, _ROWS):
        block = np.ascontiguousarray(vectors[start : start + _ROWS], dtype="<f4")
        elements[start : start + _ROWS, sizes.vector_at : sizes.label_at] = block.view(np.uint8)
    elements[:, sizes.label_at :] = np.arange(count, dtype="<u8").reshape(-1, 1).view(np.uint8)
    return graph.view(np.int8)


def _in_order(lists: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return lists of links, uint32 (elements, 1 + links), with the used ones in ascending order and 0 in place of the others."""
    used = np.arange(1, lists.shape[1]) <= lists[:, :1]
    links = np.where(used, lists[:, 1:], np.uint32(0xFFFFFFFF))
    links.sort(axis=1)
    return np.concatenate([lists[:, :1], np.where(used, links, np.uint32(0))], axis=1)
