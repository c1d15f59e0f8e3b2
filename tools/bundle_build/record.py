"""Serialization of an embedded image, for the cache and for workers that return their results in tables.

A record is a line of JSON that names the arrays with type and shape, and the arrays' bytes one after the other.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError
from edge.recognition.artwork import ArtworkView
from tools.bundle_build.embedded import EmbeddedImage
from tools.bundle_build.reference import Reference

_Arrays: TypeAlias = "dict[str, NDArray[Any]]"

_ARTWORK = "artwork."


def to_record(embedded: EmbeddedImage) -> bytes:
    """Return the bytes of an embedded image; equal images give equal bytes."""
    reference = embedded.reference
    arrays: _Arrays = {
        "content": np.frombuffer(bytes.fromhex(reference.content), dtype=np.uint8),
        "signature": reference.signature,
        "picture": np.frombuffer(reference.jpeg, dtype=np.uint8),
        "vector": embedded.vector,
        **{_ARTWORK + field.name: np.asarray(getattr(reference.artwork, field.name)) for field in fields(ArtworkView)},
    }
    head = json.dumps([(name, array.dtype.str, array.shape) for name, array in arrays.items()]).encode()
    return b"\n".join((head, b"".join(array.tobytes() for array in arrays.values())))


def from_record(record: bytes) -> EmbeddedImage:
    """Return the image of a record. Raises ``DataError`` for anything else."""
    try:
        arrays = _arrays(record)
        artwork = ArtworkView(**{name.removeprefix(_ARTWORK): array[()] for name, array in arrays.items() if name.startswith(_ARTWORK)})
        reference = Reference(
            content=arrays["content"].tobytes().hex(),
            signature=arrays["signature"],
            jpeg=arrays["picture"].tobytes(),
            artwork=artwork,
        )
        return EmbeddedImage(reference, arrays["vector"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"not the record of an embedded image ({error}); embed the image again") from error


def _arrays(record: bytes) -> _Arrays:
    head, _, body = record.partition(b"\n")
    arrays: _Arrays = {}
    start = 0
    for name, kind, shape in json.loads(head):
        dtype = np.dtype(kind)
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(body, dtype=dtype, count=count, offset=start).reshape(shape)
        start += count * dtype.itemsize
    if start != len(body):
        raise ValueError(f"{len(body)} bytes of arrays, {start} announced")
    return arrays
