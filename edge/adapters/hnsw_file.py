"""Read a graph saved by hnswlib, without hnswlib's own reader.

``Index.load_index`` holds the interpreter lock while it reads the file element by element, which with a large graph stops all threads of
the daemon for longer than a frame. Here the file is mapped, its small parts are parsed, and hnswlib receives the arrays that it would be
unpickled from, so that only one copy in memory happens under the lock.

The layout is that of ``HierarchicalNSW::saveIndex`` (hnswlib 0.8, ``hnswalg.h``), unchanged since 0.4; the names of the state are those of
``Index.__getstate__``, serialization version 1.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Final

import numpy as np

_HEAD: Final = struct.Struct("<6QiI3QdQ")
_LINK_BYTES: Final = 4
_LABEL_BYTES: Final = 8


def read_state(path: Path, dim: int, *, expansion: int, threads: int) -> dict[str, Any]:
    """Return the state of an inner product index over ``dim`` dimensions. Raises ``ValueError`` or ``OSError`` for any other file."""
    if (found := path.stat().st_size) < _HEAD.size:
        raise ValueError(f"{found} bytes are too few for a graph")
    raw = np.memmap(path, dtype=np.int8, mode="r")
    head = _HEAD.unpack(raw[: _HEAD.size].tobytes())
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
    end = _HEAD.size + most * size
    if labels_at - vectors_at != 4 * dim or size != labels_at + _LABEL_BYTES or count > most or end > len(raw):
        raise ValueError(f"it contains {count} elements of {size} bytes, not of {dim} dimensions")
    data = raw[_HEAD.size : end]
    labels = np.ascontiguousarray(data.reshape(most, size)[:count, labels_at:]).view(np.uint64).ravel()
    per_level = most_links * _LINK_BYTES + _LINK_BYTES
    levels, link_lists = _upper_levels(raw[end:].tobytes(), count, per_level)
    return {
        "ser_version": 1, "space": "ip", "dim": dim, "index_inited": True, "ep_added": True, "normalize": False, "num_threads": threads,
        "seed": 1, "offset_level0": level0, "max_elements": most, "cur_element_count": count, "size_data_per_element": size,
        "label_offset": labels_at, "offset_data": vectors_at, "max_level": top_level, "enterpoint_node": entry_point,
        "max_M": most_links, "max_M0": most_links0, "M": links, "mult": level_factor, "ef_construction": expansion_add, "ef": expansion,
        "has_deletions": False, "size_links_per_element": per_level, "allow_replace_deleted": False, "label_lookup_external": labels,
        "label_lookup_internal": np.arange(count, dtype=np.uint32), "element_levels": levels, "data_level0": data, "link_lists": link_lists,
    }  # fmt: skip


def _upper_levels(tail: bytes, count: int, per_level: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the highest level of each element, and the concatenated links above the lowest level."""
    levels = np.zeros(count, dtype=np.int32)
    parts: list[bytes] = []
    at = 0
    for element in range(count):
        if at + _LINK_BYTES > len(tail):
            raise ValueError(f"it ends within the links of element {element}")
        length = int.from_bytes(tail[at : at + _LINK_BYTES], "little")
        at += _LINK_BYTES
        if length:
            levels[element] = length // per_level
            parts.append(tail[at : at + length])
            at += length
    if at != len(tail):
        raise ValueError(f"it has {len(tail)} bytes of links, {at} expected")
    return levels, np.frombuffer(b"".join(parts), dtype=np.int8)
