"""Read a graph saved by hnswlib, without hnswlib's own reader.

``Index.load_index`` holds the interpreter lock while it reads the file element by element, which with a large graph stops all threads of
the daemon for longer than a frame. Here the file is mapped, its small parts are parsed, and hnswlib receives the arrays that it would be
unpickled from, so that only one copy in memory happens under the lock.

The library trusts what it is given, so all that it uses as an index or a size is checked here first: sizes, entry point, labels, levels
and every link.

``edge.bundles.graph_links`` describes the layout. The names of the state are those of ``Index.__getstate__``, serialization version 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from edge.bundles.graph_links import GRAPH_HEAD, LABEL_BYTES, LINK_BYTES, MAX_LINKS, read_graph
from edge.bundles.vector_files import StoredVectors

_Content: TypeAlias = np.ndarray[Any, np.dtype[np.int8]]
_Lists: TypeAlias = np.ndarray[Any, np.dtype[np.uint32]]


def read_state(path: Path, dim: int, *, expansion: int, threads: int) -> dict[str, Any]:
    """Return the state of an inner product index over ``dim`` dimensions.

    Raises ``OSError``, or ``ValueError`` for any other file and for one that would make hnswlib read or write outside its memory.
    """
    if (found := path.stat().st_size) < GRAPH_HEAD.size:
        raise ValueError(f"{found} bytes are too few for a graph")
    return _state(np.memmap(path, dtype=np.int8, mode="r"), dim, expansion=expansion, threads=threads)


def read_links_state(path: Path, vectors: StoredVectors, *, expansion: int, threads: int) -> dict[str, Any]:
    """Return the state of an inner product index over ``vectors`` whose links are in ``path``. Raises like ``read_state``."""
    return _state(read_graph(path, vectors), vectors.shape[1], expansion=expansion, threads=threads)


def _state(raw: _Content, dim: int, *, expansion: int, threads: int) -> dict[str, Any]:
    head = GRAPH_HEAD.unpack(raw[: GRAPH_HEAD.size].tobytes())
    (
        level0,
        most,
        count,
        size,
        labels_at,
        vectors_at,
        top_level,
        entry_point,
        most_links,
        most_links0,
        links,
        level_factor,
        expansion_add,
    ) = head
    end = GRAPH_HEAD.size + most * size
    if labels_at - vectors_at != 4 * dim or size != labels_at + LABEL_BYTES or count > most or end > len(raw):
        raise ValueError(f"it contains {count} elements of {size} bytes, not of {dim} dimensions")
    sizes_fit = level0 == 0 and most_links == links and most_links0 == 2 * links and vectors_at == LINK_BYTES * (1 + most_links0)
    if not sizes_fit or not 1 <= links <= MAX_LINKS:
        raise ValueError(f"its lists of {links}, {most_links} and {most_links0} links do not fit elements of {size} bytes")
    data = raw[GRAPH_HEAD.size : end]
    labels = np.ascontiguousarray(data.reshape(most, size)[:count, labels_at:]).view(np.uint64).ravel()
    if not np.array_equal(np.sort(labels), np.arange(count, dtype=np.uint64)):
        raise ValueError(f"its labels are not the numbers from 0 to {count - 1}")
    _check_lists(data.view(np.uint32).reshape(most, size // LINK_BYTES)[:count, : 1 + most_links0], count)
    per_level = most_links * LINK_BYTES + LINK_BYTES
    levels, link_lists = _upper_levels(raw[end:].tobytes(), count, per_level)
    if not 0 <= entry_point < count or not levels[entry_point] == levels.max() == top_level:
        raise ValueError(f"its entry point, element {entry_point} of {count}, is not on its highest level, {top_level}")
    _check_upper_lists(link_lists.view(np.uint32).reshape(-1, 1 + most_links), levels)
    return {
        "ser_version": 1, "space": "ip", "dim": dim, "index_inited": True, "ep_added": True, "normalize": False, "num_threads": threads,
        "seed": 1, "offset_level0": level0, "max_elements": most, "cur_element_count": count, "size_data_per_element": size,
        "label_offset": labels_at, "offset_data": vectors_at, "max_level": top_level, "enterpoint_node": entry_point,
        "max_M": most_links, "max_M0": most_links0, "M": links, "mult": level_factor, "ef_construction": expansion_add, "ef": expansion,
        "has_deletions": False, "size_links_per_element": per_level, "allow_replace_deleted": False, "label_lookup_external": labels,
        "label_lookup_internal": np.arange(count, dtype=np.uint32), "element_levels": levels, "data_level0": data, "link_lists": link_lists,
    }  # fmt: skip


def _check_lists(lists: _Lists, count: int) -> None:
    """Check lists of links: a row each, its first number says how many of the others are in use; unused ones are old links or 0.

    The upper half of the first number marks deleted elements; a bundle has none.
    """
    wrong = np.flatnonzero(lists[:, 0] >= lists.shape[1])
    if wrong.size:
        raise ValueError(f"list {wrong[0]} of links has {lists[wrong[0], 0]}, {lists.shape[1] - 1} at most")
    if lists[:, 1:].max(initial=0) >= count:
        element = np.flatnonzero((lists[:, 1:] >= count).any(axis=1))[0]
        raise ValueError(f"list {element} of links names elements beyond the {count} there are")


def _check_upper_lists(lists: _Lists, levels: np.ndarray[Any, Any]) -> None:
    """Check the lists above the lowest level, which are ordered by element, then by level: each link leads to an element on its level."""
    _check_lists(lists, len(levels))
    upper = levels[levels > 0]
    level = np.arange(len(lists)) - np.repeat(np.cumsum(upper) - upper, upper) + 1
    used = np.arange(1, lists.shape[1]) <= lists[:, :1]
    wrong = np.flatnonzero((used & (levels[lists[:, 1:]] < level[:, None])).any(axis=1))
    if wrong.size:
        raise ValueError(f"list {wrong[0]} of links on level {level[wrong[0]]} names an element that is not on that level")


def _upper_levels(tail: bytes, count: int, per_level: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the highest level of each element, and the concatenated links above the lowest level."""
    levels = np.zeros(count, dtype=np.int32)
    parts: list[bytes] = []
    at = 0
    for element in range(count):
        if at + LINK_BYTES > len(tail):
            raise ValueError(f"it ends within the links of element {element}")
        length = int.from_bytes(tail[at : at + LINK_BYTES], "little")
        at += LINK_BYTES
        if length:
            if length % per_level:
                raise ValueError(f"the links of element {element} take {length} bytes, not a multiple of {per_level}")
            levels[element] = length // per_level
            parts.append(tail[at : at + length])
            at += length
    if at != len(tail):
        raise ValueError(f"it has {len(tail)} bytes of links, {at} expected")
    return levels, np.frombuffer(b"".join(parts), dtype=np.int8)
