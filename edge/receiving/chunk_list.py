"""Receiving the chunk list of an offered bundle: only the groups of it that no release on the device has are sent."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from edge.bundles.chunks import chunk_sizes, chunk_table
from edge.bundles.manifest import CHUNK_RECORD_BYTES, CHUNKS_FILE
from edge.errors import BundleError, ProtocolError
from edge.receiving.assembly import known_groups
from edge.receiving.messages import Groups, GroupsRequest, Outline, OutlineRequest, Request

if TYPE_CHECKING:
    from pathlib import Path

    from edge.bundles.manifest import Manifest
    from edge.receiving.transfer import Channel


def receive_chunk_list(channel: Channel[Request], root: Path, manifest: Manifest) -> bytes:
    """Return the content of ``chunks.bin``, whose SHA-256 is that in the manifest.

    Raises ``BundleError``, ``ProtocolError`` or ``ConnectionLostError``.
    """
    channel.send(OutlineRequest())
    outline = _receive(channel, Outline)
    try:
        sizes = chunk_sizes(chunk_table(outline))
    except ValueError:
        raise ProtocolError("the outline of the chunk list is not a list of records; update the older of client and device") from None
    expected = manifest.files[CHUNKS_FILE]
    if int(sizes.sum()) != expected.size_bytes:
        raise BundleError(f"{CHUNKS_FILE}: its groups have {sizes.sum()} bytes, {expected.size_bytes} expected; build the bundle again")
    known = known_groups(root)
    found = [known.get(outline[start : start + CHUNK_RECORD_BYTES]) for start in range(0, len(outline), CHUNK_RECORD_BYTES)]
    wanted = np.array([group is None for group in found], dtype=np.bool_)
    missing_bytes = int(sizes[wanted].sum())
    channel.send(GroupsRequest(bytes_wanted=missing_bytes), np.packbits(wanted).tobytes())
    received = bytearray()
    while len(received) < missing_bytes:
        part = _receive(channel, Groups)
        if not part or len(received) + len(part) > missing_bytes:
            raise ProtocolError("more or fewer groups of the chunk list were sent than requested; start the push again")
        received += part
    content = _joined(found, sizes.tolist(), bytes(received))
    if hashlib.sha256(content).hexdigest() != expected.sha256:
        raise BundleError(f"{CHUNKS_FILE}: its content differs from the manifest; check the bundle with `cardedge index verify`")
    return content


def _joined(found: list[bytes | None], sizes: list[int], received: bytes) -> bytes:
    """Return the list, with the received groups in place of those that were not found."""
    parts, at = [], 0
    for group, size in zip(found, sizes, strict=True):
        if group is None:
            parts.append(received[at : at + size])
            at += size
        else:
            parts.append(group)
    return b"".join(parts)


def _receive(channel: Channel[Request], kind: type[Outline | Groups]) -> bytes:
    received = channel.receive()
    if not isinstance(received.message, kind):
        raise ProtocolError(f"{received.message.kind} in place of {kind.__name__.lower()}; update the older of client and device")
    return received.payload
