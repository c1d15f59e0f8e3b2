"""One embedding as bytes: round trips, and errors that name what is wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import DataError
from edge.recognition.embedding import l2_normalize
from edge.recognition.vector_bytes import HEADER_BYTES, from_bytes, to_bytes
from tools.benchmarks.vectors import random_vectors

LEAST_COSINE = {"float32": 1.0 - 1e-6, "float16": 0.9999, "int8": 0.999}
SIZE = {"float32": 4, "float16": 2, "int8": 1}


@given(seed=st.integers(0, 10_000), dim=st.integers(1, 1500), kind=st.sampled_from(sorted(SIZE)))
def test_a_round_trip_keeps_the_direction(seed, dim, kind):
    (vector,) = l2_normalize(np.random.default_rng(seed).standard_normal((1, dim)) + 1e-3)
    data = to_bytes(vector, kind)
    back = from_bytes(data, dim=dim)
    assert len(data) == HEADER_BYTES + dim * SIZE[kind]
    assert back.dtype == np.float32
    assert float(back @ vector / np.linalg.norm(back)) >= LEAST_COSINE[kind]
    if kind == "float32":
        assert np.array_equal(back, vector)


def test_the_layout_is_the_documented_one():
    data = to_bytes(np.array([0.6, -0.8], np.float32), "float32")
    assert data == b"CEV\x01\x01\x00\x02\x00" + np.array([0.6, -0.8], "<f4").tobytes()
    assert to_bytes(np.array([0.6, -0.8], np.float32), "int8")[HEADER_BYTES:] == bytes([95, 256 - 127])


GOOD = to_bytes(random_vectors(1, 8)[0], "float32")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "does not begin with `CEV`"),
        (b"CEV\x01", "does not begin with `CEV`"),
        (b"PNG" + GOOD[3:], "does not begin with `CEV`"),
        (b"CEV\x02" + GOOD[4:], "version 2, number format 1: this version reads version 1"),
        (GOOD[:4] + b"\x09" + GOOD[5:], "number format 9"),
        (GOOD[:5] + b"\x01" + GOOD[6:], "update cardedge"),
        (GOOD[:-1], r"39 bytes, 40 expected for dim 8 \(truncated\?\)"),
        (GOOD + b"\0", "41 bytes, 40 expected"),
        (GOOD[:6] + b"\0\0", "dim: 0, expected 8"),
        (to_bytes(random_vectors(1, 9)[0]), "dim: 9, expected 8"),
        (GOOD[:8] + np.full(8, np.nan, "<f4").tobytes(), "holds NaN or infinity"),
        (GOOD[:8] + np.full(8, 0.5, "<f4").tobytes(), "has length 1.41, expected 1"),
        (b"CEV\x01\x03\x00\x08\x00" + bytes(8), "all numbers are zero"),
    ],
)
def test_invalid_bytes_are_rejected(data, message):
    with pytest.raises(DataError, match=f"query.vec: .*{message}"):
        from_bytes(data, dim=8, where="query.vec")


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_rejected(data):
    try:
        row = from_bytes(b"CEV\x01" + data)
    except DataError:
        return
    assert abs(np.linalg.norm(row) - 1) <= 2e-2


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (np.zeros(4), "has length 0"),
        (np.full(4, np.nan), "holds NaN"),
        (np.ones(4), "has length 2"),
        (np.ones((1, 1)), "shape"),
        (np.ones(0), "shape"),
    ],
)
def test_only_vectors_of_unit_length_are_written(vector, message):
    with pytest.raises(DataError, match=f"vector: {message}"):
        to_bytes(vector)
