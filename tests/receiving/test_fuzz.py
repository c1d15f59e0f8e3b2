"""Arbitrary input never crashes the receiver or writes outside its folders, and every refusal has a reason."""

import json
import os
import struct
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from edge.bundles.manifest import DATA_FILES, DataFile, Manifest, parse_manifest
from edge.errors import BundleError, ConnectionLostError, DataError, ExitCode
from edge.receiving.messages import RESPONSES, Chunk, Commit, ConfirmRequest, Offer, PruneRequest, Refused, RollbackRequest, StatusRequest
from edge.receiving.transfer import Channel
from tests.receiving.scanner import Scanner, bundle, day
from tools.bundle_build.card_list import read_card_list

bounded = examples(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
PATHS = st.sampled_from(["../../etc/passwd", "/etc/passwd", "vectors.npy/..", ".", "", "manifest.json", "a\0b", *DATA_FILES])


@pytest.fixture(scope="module")
def pushed(tmp_path_factory):
    return bundle(tmp_path_factory.mktemp("fuzz") / "new", seed=1, created=day(2))


@pytest.fixture(scope="module")
def scanner(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    made = Scanner(folder / "world" / "index")
    made.old_id = made.serving(bundle(folder / "old", created=day(1)))
    return made


def places(value, way=()):
    """Return the paths of all values inside a JSON value."""
    yield way
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*way, key))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from places(inner, (*way, place))


def replaced(value, way, new):
    if not way:
        return new
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[way[0]] = replaced(value[way[0]], way[1:], new)
    return changed


@given(data=st.data())
@bounded
def test_an_arbitrary_manifest_is_read_or_refused(pushed, data):
    content = json.loads((pushed / "manifest.json").read_text())
    way = data.draw(st.sampled_from(list(places(content))))
    text = data.draw(
        st.one_of(
            st.binary(max_size=200),
            JSON.map(lambda new: json.dumps(replaced(content, way, new)).encode()),
            st.tuples(PATHS, JSON).map(lambda new: json.dumps({**content, "files": {**content["files"], new[0]: new[1]}}).encode()),
            st.integers(0, 400).map(lambda cut: json.dumps(content).encode()[:cut]),
        )
    )
    try:
        manifest = parse_manifest(text, "the manifest")
    except BundleError as error:
        reason = str(error)
    else:
        reason = "the manifest is read"
        assert isinstance(manifest, Manifest)
        assert set(manifest.files) <= set(get_args(DataFile))
    assert reason.startswith("the manifest")


def frame(header: bytes, payload: bytes = b"") -> bytes:
    return struct.pack(">II", len(header), len(payload)) + header + payload


def said(message, payload=b""):
    return frame(message.model_dump_json().encode(), payload)


def offers(folder):
    manifest = (folder / "manifest.json").read_bytes()
    return said(Offer(manifest_bytes=len(manifest), signature_bytes=0, confirm_within_s=60), manifest)


NAMES = st.sampled_from([*DATA_FILES, "coarse.npy"])
CHUNKS = st.builds(Chunk, name=NAMES, offset=st.integers(0, 9))
REQUESTS = [Commit(), StatusRequest(), RollbackRequest(), PruneRequest(keep=1), ConfirmRequest(bundle_id="0" * 16)]
KINDS = st.sampled_from(["offer", "chunk", "commit", "confirm", "prune", "run"])
KEYS = st.sampled_from(["name", "offset", "keep", "x"])
MESSAGES = st.one_of(
    st.sampled_from(REQUESTS).map(said),
    st.builds(said, CHUNKS, st.binary(max_size=99)),
    st.builds(lambda kind, key, value: frame(json.dumps({"kind": kind, key: value}).encode()), KINDS, KEYS, JSON | PATHS),
    st.builds(frame, st.binary(max_size=60), st.binary(max_size=60)),
    st.binary(max_size=60),
)


def held(folder):
    """Return every file below a folder with its content, except those of audit and staging."""
    allowed = ("incoming", "audit.jsonl", ".lock")
    return {
        str(path.relative_to(folder)): path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if not str(path.relative_to(folder)).startswith(tuple(f"index/{name}" for name in allowed))
    }


@given(parts=st.lists(st.one_of(st.just("offer"), MESSAGES), max_size=6))
@bounded
def test_an_arbitrary_stream_is_answered_or_refused_and_changes_nothing(scanner, pushed, tmp_path_factory, parts):
    stream = b"".join(offers(pushed) if part == "offer" else part for part in parts)
    folder = tmp_path_factory.mktemp("stream")
    (folder / "in").write_bytes(stream)
    read_fd, write_fd = os.open(folder / "in", os.O_RDONLY), os.open(folder / "out", os.O_WRONLY | os.O_CREAT)
    before = held(scanner.root.parent)
    try:
        status = scanner.receiver(read_fd, write_fd).serve()
    except ConnectionLostError:
        status = None
    finally:
        os.close(read_fd)
        os.close(write_fd)
    reasons = [answer.reason for answer in heard(folder / "out") if isinstance(answer, Refused)]
    assert len(reasons) == (status not in {None, ExitCode.OK})
    assert all(reasons)
    assert held(scanner.root.parent) == before
    staged = {path.name for path in Path(scanner.root / "incoming").glob("*/*")}
    assert staged <= set(get_args(DataFile)), "nothing but bundle files in staging"


def heard(path):
    """Return all responses in a file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        channel, answers = Channel(descriptor, descriptor, RESPONSES, idle_s=5, session_s=5), []
        while (received := channel.receive_if_any()) is not None:
            answers.append(received.message)
    finally:
        os.close(descriptor)
    return answers


CELLS = st.one_of(st.text(max_size=12), st.sampled_from(["../../etc/passwd", "/etc/passwd", 'a"b', "a,b", "\0", "B1-7", "a.png"]))


@given(
    content=st.one_of(
        st.binary(max_size=300),
        st.lists(st.lists(CELLS, max_size=5), max_size=5).map(
            lambda rows: "\n".join(["card_id,name,image", *(",".join(row) for row in rows)]).encode("utf-8", "surrogatepass")
        ),
    )
)
@bounded
def test_an_arbitrary_card_list_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("csv") / "cards.csv"
    path.write_bytes(content)
    try:
        rows = read_card_list(path).rows
    except DataError as error:
        rows, reason = (), str(error)
    else:
        reason = str(path)
    assert str(path) in reason
    assert all(row.card.card_id and row.card.name for row in rows)
