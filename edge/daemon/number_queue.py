"""A queue of identified cards whose collector number is being read, to decide which printing they are.

OCR runs in a thread of its own, on the frame that identified the card, and on up to two more while the text leaves the printing open; the
frames vote. A change is published without its number when there is nothing to decide (one printing), the queue is full, or OCR fails or
takes too long.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from edge.daemon.announcer import EventContext
from edge.errors import TextReaderError
from edge.recognition.collector_number import MAX_FRAMES, TextReader, needs_another_frame, needs_number, settle_printing
from edge.recognition.decision import Identified
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId
from edge.recognition.number_band import number_band, regions_of
from edge.recognition.number_formats import NumberRegion
from edge.recognition.number_text import TextLine
from edge.system.clock import NS_PER_S
from edge.system.worker_pool import start_pool
from edge.tracking.tracker import ChangeKind, Outline, TrackChange, Tracker, TrackId
from edge.vision.frame import RgbImage

_log = logging.getLogger(__name__)

MAX_QUEUED: Final = 4
MAX_WAIT_S: Final = 2.0
"""How long an identified card waits for its number; a Raspberry Pi 5 reads one in a fraction of this."""

ReadText: TypeAlias = Callable[[RgbImage], "Future[tuple[TextLine, ...]]"]
"""Starts OCR on an image and returns its future text; the future may raise ``TextReaderError``."""
ChangeInContext: TypeAlias = tuple[TrackChange, EventContext]


class TextReaderThread:
    """Runs a text reader in one thread of its own. Raises ``DeviceError`` if that cannot be started."""

    def __init__(self, reader: TextReader) -> None:
        self._reader = reader
        self._pool = start_pool(1, "numbers")

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
    """A change whose number is being read: ``text`` in one frame, None while it waits for another, ``texts`` in those before."""

    change: TrackChange
    decision: Identified
    context: EventContext
    queued_ns: int
    text: Future[tuple[TextLine, ...]] | None
    texts: tuple[tuple[TextLine, ...], ...] = ()

    @property
    def cards(self) -> Mapping[CardId, Card]:
        return self.context.loaded.gallery.cards


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

        If a track with a queued change has a new one, the queued change is returned too, first, with what was read of its number so far.
        """
        now: list[ChangeInContext] = []
        for change in changes:
            if queued := self._queued.pop(change.track_id, None):
                now.append((self._settle(queued), queued.context))
            if not self._enqueue(change, context, now_ns):
                now.append((change, context))
        return now + self.completed(now_ns)

    def look_again(self, pixels: RgbImage, outlines: Iterable[Outline]) -> None:
        """Read the numbers that the frames before left open in a new frame; ``outlines`` are where the tracks are in it."""
        quads = {outline.track_id: outline.quad for outline in outlines}
        for track_id, queued in self._queued.items():
            if queued.text is None and self._read is not None and track_id in quads:
                band = number_band(pixels, quads[track_id], _regions(queued.decision, queued.cards))
                if band is not None:
                    self._queued[track_id] = replace(queued, text=self._read(band))

    def completed(self, now_ns: int, *, flush: bool = False) -> list[ChangeInContext]:
        """Remove and return the changes whose number was read, failed or timed out, oldest first; with ``flush`` all changes."""
        over = []
        for track_id, queued in list(self._queued.items()):
            late = flush or now_ns - queued.queued_ns >= self._max_wait_ns
            current = self._collected(queued)
            if late or (current.text is None and not self._left_open(current)):
                del self._queued[track_id]
                over.append((self._settle(current), current.context))
            else:
                self._queued[track_id] = current
        return over

    def _enqueue(self, change: TrackChange, context: EventContext, now_ns: int) -> bool:
        """Queue a change; return False if it does not need its number or cannot get it."""
        decision = change.decision
        if self._read is None or context.frame is None or change.kind is not ChangeKind.IDENTIFIED or not isinstance(decision, Identified):
            return False
        if not needs_number(decision, always=self._always):
            return False
        band = number_band(context.frame.pixels, change.quad, _regions(decision, context.loaded.gallery.cards))
        if band is None:
            return False
        if len(self._queued) >= MAX_QUEUED:
            self.dropped += 1
            return False
        self._queued[change.track_id] = _QueuedCard(change, decision, context, now_ns, self._read(band))
        return True

    def _collected(self, queued: _QueuedCard) -> _QueuedCard:
        """Return the card with the text that OCR has returned in the meantime; without further frames if OCR failed."""
        if queued.text is None or not queued.text.done():
            return queued
        try:
            return replace(queued, text=None, texts=(*queued.texts, queued.text.result()))
        except TextReaderError as error:
            _log.warning("the collector number of a card was not read: %s", error)
            self.dropped += not queued.texts
            return replace(queued, text=None, texts=queued.texts + ((),) * (MAX_FRAMES - len(queued.texts)))

    def _left_open(self, queued: _QueuedCard) -> bool:
        return len(queued.texts) < MAX_FRAMES and needs_another_frame(queued.decision, queued.texts, queued.cards)

    def _settle(self, queued: _QueuedCard) -> TrackChange:
        """Return the change with the printing that the number decides; the same change if no number was read."""
        if queued.text is not None:
            queued.text.cancel()
            self.dropped += not queued.texts
        decision = settle_printing(queued.decision, queued.texts, queued.cards)
        if decision is queued.decision:
            return queued.change
        self._tracker.revise(queued.change.track_id, decision)
        kind = ChangeKind.IDENTIFIED if isinstance(decision, Identified) else ChangeKind.UNCERTAIN
        return replace(queued.change, kind=kind, decision=decision)


def _regions(decision: Identified, cards: Mapping[CardId, Card]) -> frozenset[NumberRegion]:
    return regions_of(cards[card_id] for card_id in decision.printings if card_id in cards)
