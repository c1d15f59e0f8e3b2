"""A queue of identified cards whose collector number is being read, to decide which printing they are.

OCR runs in a thread of its own, once per card, on the frame that identified the card. A change is published without its number when
there is nothing to decide (one printing), the queue is full, or OCR fails or takes too long.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from edge.daemon.announcer import EventContext
from edge.errors import TextReaderError
from edge.recognition.collector_number import TextLine, TextReader, needs_number, number_band, settle_printing
from edge.recognition.decision import Identified
from edge.system.clock import NS_PER_S
from edge.tracking.tracker import ChangeKind, TrackChange, Tracker, TrackId
from edge.vision.frame import RgbImage

_log = logging.getLogger(__name__)

MAX_QUEUED: Final = 4
MAX_WAIT_S: Final = 2.0
"""How long an identified card waits for its number; a Raspberry Pi 5 reads one in a fraction of this."""

ReadText: TypeAlias = Callable[[RgbImage], "Future[tuple[TextLine, ...]]"]
"""Starts OCR on an image and returns its future text; the future may raise ``TextReaderError``."""
ChangeInContext: TypeAlias = tuple[TrackChange, EventContext]


class TextReaderThread:
    """Runs a text reader in one thread of its own."""

    def __init__(self, reader: TextReader) -> None:
        self._reader = reader
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="numbers")

    def __call__(self, image: RgbImage) -> Future[tuple[TextLine, ...]]:
        """Queue an image; return its future text."""
        return self._pool.submit(self._reader.read_text, image)

    def close(self) -> None:
        """Cancel the queued images; return without waiting for the one being read."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def read_synchronously(reader: TextReader) -> ReadText:
    """Return a function that reads an image before it returns, so that a replay does not depend on the speed of the machine."""

    def read(image: RgbImage) -> Future[tuple[TextLine, ...]]:
        future: Future[tuple[TextLine, ...]] = Future()
        try:
            future.set_result(reader.read_text(image))
        except TextReaderError as error:
            future.set_exception(error)
        return future

    return read


@dataclass(frozen=True, slots=True, eq=False)
class _QueuedCard:
    change: TrackChange
    decision: Identified
    context: EventContext
    text: Future[tuple[TextLine, ...]]
    queued_ns: int


class CollectorNumberQueue:
    """Holds identified cards until OCR has read their collector number or a timeout expires. Used by one thread.

    Without ``read`` nothing is queued. With ``always`` the number is read even if there is only one printing. ``tracker`` is corrected if a
    number changes the decision. ``dropped`` counts the numbers that were due to be read and were not.
    """

    def __init__(self, read: ReadText | None, tracker: Tracker, *, always: bool = False, max_wait_s: float = MAX_WAIT_S) -> None:
        self._read = read
        self._tracker = tracker
        self._always = always
        self._max_wait_ns = round(max_wait_s * NS_PER_S)
        self._queued: dict[TrackId, _QueuedCard] = {}
        self.dropped = 0

    @property
    def busy(self) -> bool:
        """Whether any card is queued."""
        return bool(self._queued)

    def add(self, changes: Iterable[TrackChange], context: EventContext, now_ns: int) -> list[ChangeInContext]:
        """Queue the changes that need their collector number, to be read in the frame of ``context``; return those to publish now.

        If a track with a queued change has a new one, the queued change is returned too, first and without its number.
        """
        now: list[ChangeInContext] = []
        for change in changes:
            if queued := self._queued.pop(change.track_id, None):
                now.append((queued.change, queued.context))
            if not self._enqueue(change, context, now_ns):
                now.append((change, context))
        return now + self.completed(now_ns)

    def completed(self, now_ns: int, *, flush: bool = False) -> list[ChangeInContext]:
        """Remove and return the changes whose number was read, failed or timed out, oldest first; with ``flush`` all changes."""
        over = [queued for queued in self._queued.values() if flush or queued.text.done() or now_ns - queued.queued_ns >= self._max_wait_ns]
        for queued in over:
            del self._queued[queued.change.track_id]
        return [(self._finish_number(queued), queued.context) for queued in over]

    def _enqueue(self, change: TrackChange, context: EventContext, now_ns: int) -> bool:
        """Queue a change; return False if it does not need its number or cannot get it."""
        decision = change.decision
        if self._read is None or context.frame is None or change.kind is not ChangeKind.IDENTIFIED or not isinstance(decision, Identified):
            return False
        band = number_band(context.frame.pixels, change.quad) if needs_number(decision, always=self._always) else None
        if band is None:
            return False
        if len(self._queued) >= MAX_QUEUED:
            self.dropped += 1
            return False
        self._queued[change.track_id] = _QueuedCard(change, decision, context, self._read(band), now_ns)
        return True

    def _finish_number(self, queued: _QueuedCard) -> TrackChange:
        """Return the change with the printing that the number decides; the same change if no number was read."""
        if not queued.text.done():
            queued.text.cancel()
            self.dropped += 1
            return queued.change
        try:
            lines = queued.text.result()
        except TextReaderError as error:
            self.dropped += 1
            _log.warning("the collector number of a card was not read: %s", error)
            return queued.change
        decision = settle_printing(queued.decision, lines, queued.context.loaded.gallery.cards)
        if decision is queued.decision:
            return queued.change
        self._tracker.revise(queued.change.track_id, decision)
        kind = ChangeKind.IDENTIFIED if isinstance(decision, Identified) else ChangeKind.UNCERTAIN
        return replace(queued.change, kind=kind, decision=decision)
