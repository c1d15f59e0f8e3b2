"""Identified cards wait here, for a moment, until the collector number tells which printing they are.

The number is read in a thread of its own, once per card, from the frame that settled the card. What cannot wait is told at once as it is:
a card of one printing, one too many for the bounded queue, one whose reading failed or takes too long.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, Generic, Protocol, TypeVar

from edge.errors import TextReaderError
from edge.recognition.collector_number import TextLine
from edge.recognition.decision import Identified, Uncertain
from edge.recognition.gallery import Gallery
from edge.recognition.number_band import number_band
from edge.recognition.printing import TextReader, settle_printing, wants_number
from edge.tracking.tracker import ChangeKind, TrackChange, TrackId
from edge.vision.frame import RgbImage

_log = logging.getLogger(__name__)

_NS_PER_S: Final = 1_000_000_000
MOST_WAITING: Final = 4
PATIENCE_S: Final = 2.0
"""How long an identified card may wait for its number; a Pi reads one in a fraction of this."""

_Context = TypeVar("_Context")
ReadBand = Callable[[RgbImage], "Future[tuple[TextLine, ...]]"]
"""Start reading a picture; returns at once."""


class Tracks(Protocol):
    """What the desk tells the tracker; ``edge.tracking.tracker.Tracker`` in the product."""

    def revise(self, track_id: TrackId, decision: Identified | Uncertain) -> None:
        """Replace what was told about an identified card."""
        ...


class ReadingThread:
    """Runs a reader in one thread."""

    def __init__(self, reader: TextReader) -> None:
        self._reader = reader
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="numbers")

    def __call__(self, picture: RgbImage) -> Future[tuple[TextLine, ...]]:
        """Start reading."""
        return self._pool.submit(self._reader.read, picture)

    def close(self) -> None:
        """Abandon what waits; what is being read ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def read_at_once(reader: TextReader) -> ReadBand:
    """Return a way to read that waits for the answer: nothing depends on how fast the machine is."""

    def read(picture: RgbImage) -> Future[tuple[TextLine, ...]]:
        future: Future[tuple[TextLine, ...]] = Future()
        try:
            future.set_result(reader.read(picture))
        except TextReaderError as error:
            future.set_exception(error)
        return future

    return read


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting(Generic[_Context]):
    change: TrackChange
    decision: Identified
    gallery: Gallery
    context: _Context
    future: Future[tuple[TextLine, ...]]
    since_ns: int


class CollectorNumberQueue(Generic[_Context]):
    """Holds changes back while their number is read; without ``read`` none. One thread.

    ``context`` is whatever the caller needs to tell the change later. ``dropped`` counts the numbers that were not read although wanted.
    """

    def __init__(self, read: ReadBand | None, tracks: Tracks, *, always: bool = False, patience_s: float = PATIENCE_S) -> None:
        self._read = read
        self._tracks = tracks
        self._always = always
        self._patience_ns = round(patience_s * _NS_PER_S)
        self._waiting: dict[TrackId, _Waiting[_Context]] = {}
        self.dropped = 0

    @property
    def busy(self) -> bool:
        """Whether any card waits."""
        return bool(self._waiting)

    def hold(self, change: TrackChange, pixels: RgbImage, gallery: Gallery, context: _Context, now_ns: int) -> bool:
        """Keep the change and start reading its number in ``pixels``; False when it is to be told now."""
        decision = change.decision
        if self._read is None or change.kind is not ChangeKind.IDENTIFIED or not isinstance(decision, Identified):
            return False
        band = number_band(pixels, change.quad) if wants_number(decision, always=self._always) else None
        if band is None:
            return False
        if len(self._waiting) >= MOST_WAITING:
            self.dropped += 1
            return False
        self._waiting[change.track_id] = _Waiting(change, decision, gallery, context, self._read(band), now_ns)
        return True

    def release(self, track_id: TrackId) -> tuple[tuple[TrackChange, _Context], ...]:
        """Give back what waits about a track, as it is: something else is to be told about it."""
        waiting = self._waiting.pop(track_id, None)
        return ((waiting.change, waiting.context),) if waiting else ()

    def settled(self, now_ns: int, *, hurry: bool = False) -> Sequence[tuple[TrackChange, _Context]]:
        """Return the changes whose waiting is over, oldest first: read, failed, or out of patience. ``hurry``: all of them."""
        over = [
            waiting
            for waiting in self._waiting.values()
            if hurry or waiting.future.done() or now_ns - waiting.since_ns >= self._patience_ns
        ]
        for waiting in over:
            del self._waiting[waiting.change.track_id]
        return [(self._settle(waiting), waiting.context) for waiting in over]

    def _settle(self, waiting: _Waiting[_Context]) -> TrackChange:
        if not waiting.future.done():
            waiting.future.cancel()
            self.dropped += 1
            return waiting.change
        try:
            lines = waiting.future.result()
        except TextReaderError as error:
            self.dropped += 1
            _log.warning("the number of a card was not read: %s", error)
            return waiting.change
        decision = settle_printing(waiting.decision, lines, waiting.gallery.cards)
        if decision is waiting.decision:
            return waiting.change
        self._tracks.revise(waiting.change.track_id, decision)
        kind = ChangeKind.IDENTIFIED if isinstance(decision, Identified) else ChangeKind.UNCERTAIN
        return replace(waiting.change, kind=kind, decision=decision)
