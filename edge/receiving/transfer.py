"""Packets over a pair of byte streams: the transport of messages and file contents between client and device.

    4 bytes   length of the header, big endian
    4 bytes   length of the payload
    header    a message as JSON, UTF-8
    payload   raw bytes, if the message has any

There is no archive format, and a packet cannot name a path.
"""

from __future__ import annotations

import json
import os
import select
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from edge.errors import ConnectionLostError, ProtocolError
from edge.schema import first_problem

if TYPE_CHECKING:
    from edge.receiving.messages import Message

CHUNK_BYTES: Final = 1 << 20
"""Largest part of a file in one packet."""

MAX_HEADER_BYTES: Final = 1 << 20
MAX_PAYLOAD_BYTES: Final = (1 << 20) + (1 << 16)
"""Enough for a manifest with its signature, or a chunk of a file."""

DISCONNECTED: Final = "the peer disconnected; push again to resume"
_LENGTHS: Final = struct.Struct(">II")
_READ_BYTES: Final = 1 << 18

_Incoming = TypeVar("_Incoming", bound="Message")


@dataclass(frozen=True, slots=True, eq=False)
class ReceivedMessage(Generic[_Incoming]):
    """A message with its payload."""

    message: _Incoming
    payload: bytes


class Channel(Generic[_Incoming]):
    """One end of a connection, on two file descriptors. ``expected`` parses the messages that the peer may send.

    ``idle_s`` bounds each wait for the peer, ``session_s`` the whole connection. All methods raise ``ConnectionLostError`` if the peer is
    gone, silent or out of time; receiving raises ``ProtocolError`` for anything but an expected message. ``bytes_sent`` and
    ``bytes_received`` count all bytes so far, with the headers of the packets.
    """

    def __init__(self, read_fd: int, write_fd: int, expected: TypeAdapter[_Incoming], *, idle_s: float, session_s: float) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._expected = expected
        self._idle_s = idle_s
        self._ends_at = time.monotonic() + session_s
        self.bytes_sent = 0
        self.bytes_received = 0
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)

    def send(self, message: Message, payload: bytes | memoryview = b"") -> None:
        """Send a message with its payload."""
        header = message.model_dump_json().encode()
        self._write(_LENGTHS.pack(len(header), len(payload)) + header)
        if payload:
            self._write(payload)

    def receive(self) -> ReceivedMessage[_Incoming]:
        """Return the next message. Raises ``ConnectionLostError`` also after a clean disconnect."""
        received = self.receive_if_any()
        if received is None:
            raise ConnectionLostError(DISCONNECTED)
        return received

    def receive_if_any(self) -> ReceivedMessage[_Incoming] | None:
        """Return the next message, None if the peer disconnected cleanly after its last one."""
        lengths = self._read(_LENGTHS.size, may_end=True)
        if not lengths:
            return None
        header_bytes, payload_bytes = _LENGTHS.unpack(lengths)
        if not 2 <= header_bytes <= MAX_HEADER_BYTES or payload_bytes > MAX_PAYLOAD_BYTES:
            raise ProtocolError("the peer does not use the push protocol (invalid lengths); check that its shell prints nothing at login")
        try:
            message = self._expected.validate_python(json.loads(self._read(header_bytes)))
        except ValidationError as error:
            raise ProtocolError(f"invalid message: {first_problem(error, 'message')}; update the older of client and device") from error
        except (ValueError, RecursionError) as error:
            raise ProtocolError(f"a message is not JSON ({error}); update the older of client and device") from error
        return ReceivedMessage(message, self._read(payload_bytes))

    def _read(self, count: int, *, may_end: bool = False) -> bytes:
        data = bytearray()
        while len(data) < count:
            self._wait([self._read_fd], [])
            try:
                part = os.read(self._read_fd, min(_READ_BYTES, count - len(data)))
            except BlockingIOError:
                continue
            except OSError as error:
                raise ConnectionLostError(f"the connection broke ({error.strerror}); push again to resume") from error
            if not part and may_end and not data:
                break
            if not part:
                raise ConnectionLostError(DISCONNECTED)
            data += part
            self.bytes_received += len(part)
        return bytes(data)

    def _write(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            self._wait([], [self._write_fd])
            try:
                written = os.write(self._write_fd, rest)
            except BlockingIOError:
                continue
            except OSError as error:
                raise ConnectionLostError(f"the connection broke ({error.strerror}); push again to resume") from error
            rest = rest[written:]
            self.bytes_sent += written

    def _wait(self, reading: list[int], writing: list[int]) -> None:
        session_s = self._ends_at - time.monotonic()
        if session_s <= 0:
            raise ConnectionLostError("the session took longer than allowed; push again to resume")
        if select.select(reading, writing, [], min(self._idle_s, session_s)) == ([], [], []):
            raise ConnectionLostError(f"the peer was silent for {min(self._idle_s, session_s):.0f} s; push again to resume")
