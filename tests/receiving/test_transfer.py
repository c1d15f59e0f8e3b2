"""Packets over pipes are received as sent; anything else raises a named error."""

import contextlib
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import ConnectionLostError, ProtocolError
from edge.receiving.messages import REQUESTS, RESPONSES, Chunk, Hello, StatusRequest
from edge.receiving.transfer import MAX_PAYLOAD_BYTES, Channel


@pytest.fixture
def pipes():
    read_fd, write_fd = os.pipe()
    yield read_fd, write_fd
    for descriptor in (read_fd, write_fd):
        with contextlib.suppress(OSError):
            os.close(descriptor)


def channel(read_fd, write_fd, expected=REQUESTS, **options):
    return Channel(read_fd, write_fd, expected, **{"idle_s": 5.0, "session_s": 10.0, **options})


@given(st.binary(max_size=2000), st.integers(0, 2**40))
def test_a_packet_is_received_as_sent(payload, offset):
    read_fd, write_fd = os.pipe()
    try:
        both = channel(read_fd, write_fd)
        message = Chunk(name="hnsw.bin", offset=offset)
        both.send(message, payload)
        received = both.receive()
        assert (received.message, received.payload) == (message, payload)
    finally:
        os.close(read_fd)
        os.close(write_fd)


def frame(header, payload=b""):
    return struct.pack(">II", len(header), len(payload)) + header + payload


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"Welcome to Raspberry Pi OS!\n", "invalid lengths"),
        (struct.pack(">II", 10, MAX_PAYLOAD_BYTES + 1), "invalid lengths"),
        (frame(b"{]"), "not JSON"),
        (frame(b"[" * 30_000), "not JSON"),
        (frame(b"\xff\xfe"), "not JSON"),
        (frame(b'{"kind": "format-disk"}'), "format-disk"),
        (frame(b'{"kind": "chunk", "name": "../../etc/passwd", "offset": 0}'), "chunk.name"),
        (frame(b'{"kind": "chunk", "name": "hnsw.bin", "offset": -1}'), "chunk.offset"),
        (frame(b'{"kind": "prune", "keep": 1, "force": true}'), "prune.force"),
    ],
)
def test_an_invalid_message_is_refused_with_the_reason(pipes, data, said):
    os.write(pipes[1], data)
    os.close(pipes[1])
    with pytest.raises(ProtocolError, match=said):
        channel(pipes[0], os.open(os.devnull, os.O_WRONLY)).receive()


@pytest.mark.parametrize("cut", [1, 7, 8, 20])
def test_an_end_inside_a_packet_is_a_lost_connection(pipes, cut):
    data = frame(b'{"kind": "chunk", "name": "hnsw.bin", "offset": 0}', b"12345")
    os.write(pipes[1], data[:cut])
    os.close(pipes[1])
    with pytest.raises(ConnectionLostError, match="disconnected"):
        channel(pipes[0], os.open(os.devnull, os.O_WRONLY)).receive_if_any()


def test_an_end_between_packets_is_a_clean_disconnect(pipes):
    os.close(pipes[1])
    assert channel(pipes[0], os.open(os.devnull, os.O_WRONLY)).receive_if_any() is None


def test_reading_and_writing_time_out(pipes):
    with pytest.raises(ConnectionLostError, match="silent"):
        channel(*pipes, idle_s=0.02).receive()
    with pytest.raises(ConnectionLostError, match="silent"):
        channel(*pipes, idle_s=0.02).send(StatusRequest(), bytes(1 << 20))
    with pytest.raises(ConnectionLostError, match="longer than allowed"):
        channel(*pipes, session_s=-1.0).receive()


def test_writing_to_a_closed_pipe_is_a_lost_connection(pipes):
    os.close(pipes[0])
    with pytest.raises(ConnectionLostError, match="broke"):
        channel(os.open(os.devnull, os.O_RDONLY), pipes[1]).send(StatusRequest())


def test_requests_and_responses_are_not_interchangeable(pipes):
    both = channel(*pipes, expected=RESPONSES)
    both.send(StatusRequest())
    with pytest.raises(ProtocolError):
        both.receive()
    both.send(Hello(device_id="a", version="1", model_id="m"))
    assert both.receive().message.device_id == "a"
