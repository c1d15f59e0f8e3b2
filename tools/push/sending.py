"""The client's end of one transfer: offers a bundle, and sends the files or chunks that the device lacks."""

from __future__ import annotations

import hashlib
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.bundles.chunks import chunk_record, groups, read_chunk_list
from edge.bundles.manifest import CHUNKS_FILE, DataFile
from edge.errors import BundleError
from edge.receiving.messages import (
    PLANES,
    Blocks,
    BlocksStored,
    Chunk,
    Commit,
    Completed,
    Encoding,
    Groups,
    GroupsRequest,
    Offer,
    Outline,
    OutlineRequest,
    Stored,
    TransferPlan,
    WantedFile,
)
from edge.receiving.transfer import CHUNK_BYTES

if TYPE_CHECKING:
    from tools.push.connection import Connection
    from tools.push.local_bundle import LocalBundle

_WORTH_COMPRESSING: Final = 0.9
"""A packet that is less reduced costs the device more time to decompress than a network to carry. Pictures and vectors are not reduced."""

ChunkNumbers: TypeAlias = NDArray[np.int64]
"""Numbers of chunks in the order of the chunk list, ascending."""

ReportStored: TypeAlias = Callable[[int], object]

MAX_UNACKNOWLEDGED: Final = 4
"""Packets sent before the first one is acknowledged: hides the round trip and limits what an interruption can lose."""


class ChunkPacket(NamedTuple):
    """A packet with chunks, and how many bytes of files the device stores from it."""

    message: Blocks
    payload: bytes
    stored_bytes: int


_OUTLINE_OR_PLAN: Final[tuple[type[OutlineRequest | TransferPlan], ...]] = (OutlineRequest, TransferPlan)
_COMPLETED_OR_PLAN: Final[tuple[type[Completed | TransferPlan], ...]] = (Completed, TransferPlan)


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The device's answer to an offer, with the numbers of the chunks to send."""

    message: TransferPlan
    chunks: ChunkNumbers


class Transfer:
    """Sends one bundle over a connection. ``report_stored`` is called with how many more bytes of its files the device has stored."""

    def __init__(self, device: Connection, bundle: LocalBundle, report_stored: ReportStored | None = None) -> None:
        self._device = device
        self._bundle = bundle
        self._report_stored = report_stored
        self._unacknowledged: deque[int] = deque()

    def offer(self, offer: Offer) -> Plan:
        """Offer the bundle and return what the device wants of it."""
        device, bundle = self._device, self._bundle
        device.send(offer, bundle.manifest_bytes + bundle.signature)
        if bundle.manifest.chunks is None:
            return Plan(device.expect(TransferPlan), np.empty(0, dtype=np.int64))
        received = device.expect_one(_OUTLINE_OR_PLAN)
        if isinstance(received.message, OutlineRequest):
            self._send_chunk_list()
            answer = device.expect_one((TransferPlan,))
            return _plan(answer.message, answer.payload)
        return _plan(received.message, received.payload)

    def send(self, plan: Plan) -> None:
        """Send what is wanted; return when the device has stored it."""
        for name, wanted in plan.message.wanted.items():
            self._send_file(name, wanted)
        if len(plan.chunks):
            self._send_chunks(plan.chunks)

    def commit(self, steps: list[str]) -> Completed:
        """Have the bundle checked and activated; send again what the device has found to be damaged."""
        while True:
            self._device.send(Commit())
            received = self._device.expect_one(_COMPLETED_OR_PLAN, steps)
            if isinstance(received.message, Completed):
                return received.message
            self.send(_plan(received.message, received.payload))

    def _send_chunk_list(self) -> None:
        """Send the outline of the chunk list, then the groups that the device requests."""
        listed = groups((self._bundle.folder / CHUNKS_FILE).read_bytes())
        self._device.send(Outline(), b"".join(map(chunk_record, listed)))
        received = self._device.expect_one((GroupsRequest,))
        wanted = np.unpackbits(np.frombuffer(received.payload, dtype=np.uint8), count=len(listed))
        content = b"".join(group for group, is_wanted in zip(listed, wanted, strict=True) if is_wanted)
        for start in range(0, len(content), CHUNK_BYTES):
            self._device.send(Groups(), content[start : start + CHUNK_BYTES])

    def _send_file(self, name: DataFile, wanted: WantedFile) -> None:
        """Send a file from the end of the part that the device has."""
        with (self._bundle.folder / name).open("rb") as file:
            offset = wanted.offset if hashlib.sha256(file.read(wanted.offset)).hexdigest() == wanted.sha256 else 0
            file.seek(offset)
            while content := file.read(CHUNK_BYTES):
                self._send_packet(Chunk(name=name, offset=offset), content, len(content))
                offset += len(content)
        self._await_acknowledgments(0)
        if offset != wanted.size_bytes:
            raise BundleError(f"{file.name}: {offset} bytes, but the manifest has {wanted.size_bytes}; build the bundle again")

    def _send_chunks(self, numbers: ChunkNumbers) -> None:
        for packet in chunk_packets(self._bundle, numbers):
            self._send_packet(packet.message, packet.payload, packet.stored_bytes)
        self._await_acknowledgments(0)

    def _send_packet(self, message: Chunk | Blocks, payload: bytes, stored_bytes: int) -> None:
        self._device.send(message, payload)
        self._unacknowledged.append(stored_bytes)
        self._await_acknowledgments(MAX_UNACKNOWLEDGED)

    def _await_acknowledgments(self, at_most: int) -> None:
        """Wait until at most so many packets are not acknowledged."""
        while len(self._unacknowledged) > at_most:
            self._device.expect_one((Stored, BlocksStored))
            stored_bytes = self._unacknowledged.popleft()
            if self._report_stored:
                self._report_stored(stored_bytes)


def chunk_packets(bundle: LocalBundle, numbers: ChunkNumbers) -> Iterator[ChunkPacket]:
    """Yield packets with the chunks of a bundle that have these numbers: chunks of one file, as many as fit, compressed where that pays."""
    chunks = read_chunk_list(bundle.folder, bundle.manifest)
    for file, name in enumerate(chunks.names):
        wanted = numbers[chunks.file[numbers] == file]
        with (bundle.folder / name).open("rb") as source:
            parts: list[bytes] = []
            packed_bytes = 0
            for offset, size in zip(chunks.offset[wanted].tolist(), chunks.size[wanted].tolist(), strict=True):
                if packed_bytes + size > CHUNK_BYTES:
                    yield _packet(parts)
                    parts, packed_bytes = [], 0
                source.seek(offset)
                parts.append(source.read(size))
                packed_bytes += size
            if parts:
                yield _packet(parts)


def _packet(parts: list[bytes]) -> ChunkPacket:
    content = b"".join(parts)
    encoded: dict[Encoding, bytes] = {"zlib": zlib.compress(content, 9)}
    if len(content) % PLANES == 0:
        encoded["zlib-planes"] = zlib.compress(np.frombuffer(content, dtype=np.uint8).reshape(-1, PLANES).T.tobytes(), 9)
    encoding, compressed = min(encoded.items(), key=lambda one: len(one[1]))
    if len(compressed) < _WORTH_COMPRESSING * len(content):
        return ChunkPacket(Blocks(count=len(parts), encoding=encoding), compressed, len(content))
    return ChunkPacket(Blocks(count=len(parts)), content, len(content))


def _plan(message: TransferPlan, payload: bytes) -> Plan:
    return Plan(message, np.flatnonzero(np.unpackbits(np.frombuffer(payload, dtype=np.uint8))))
