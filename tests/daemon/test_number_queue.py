"""The queue of identified cards whose collector number is being read."""

from concurrent.futures import Future

import numpy as np
import pytest

from edge.daemon.announcer import EventContext
from edge.daemon.number_queue import MAX_QUEUED, CollectorNumberQueue, TextReaderThread, read_synchronously
from edge.errors import TextReaderError
from edge.recognition.collector_number import MAX_FRAMES
from edge.recognition.decision import AcceptanceThresholds, Candidate, Identified, RejectReason
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId
from edge.recognition.number_text import TextLine
from edge.recognition.recognizer import LoadedGallery
from edge.tracking.tracker import ChangeKind, Outline, TrackChange
from edge.vision.card import Point, Quad, Size
from edge.vision.frame import Frame

S = 1_000_000_000
CARDS = {
    CardId(card_id): Card(CardId(card_id), card_id, "fox", set=card_id[:2], number=card_id[3:]) for card_id in ("A1-53", "B1-7")
}  # fmt: skip
GALLERY = LoadedGallery("index", Gallery(CARDS, tuple(CARDS), np.zeros((2, 1), dtype=np.uint8)), None, AcceptanceThresholds())
QUAD = Quad(Point(100, 100), Point(500, 100), Point(500, 660), Point(100, 660))
IMAGE = np.zeros((720, 1280, 3), dtype=np.uint8)
CONTEXT = EventContext(GALLERY, Size(1280, 720), frame=Frame(IMAGE, 0, 0))


class RecordingTracker:
    def __init__(self):
        self.revised = []

    def revise(self, track_id, decision):
        self.revised.append((track_id, decision))


class PendingReader:
    """Leaves every text pending until the test sets it."""

    def __init__(self):
        self.futures = []

    def __call__(self, image):
        self.futures.append(Future())
        return self.futures[-1]


def fox(*printings) -> Identified:
    best = Candidate(CardId("A1-53"), "fox", 0.8, 0.9, 0)
    return Identified(best, 0.3, printings or ("A1-53", "B1-7"), (best, Candidate(CardId("B1-7"), "fox", 0.8, 0.88, 0)))


def lines(*texts):
    return tuple(TextLine(text, 0.95) for text in texts)


def identified(track_id="t1", decision=None) -> TrackChange:
    return TrackChange(ChangeKind.IDENTIFIED, track_id, decision or fox(), QUAD, 0)


@pytest.fixture
def reader():
    return PendingReader()


@pytest.fixture
def tracker():
    return RecordingTracker()


@pytest.fixture
def numbers(reader, tracker):
    return CollectorNumberQueue(reader, tracker, max_wait_s=2.0)


def test_an_identified_card_of_several_printings_is_queued_until_its_number_is_read(numbers, reader, tracker):
    assert numbers.add([identified()], CONTEXT, 0) == []
    assert numbers.busy
    assert numbers.completed(S) == []
    reader.futures[0].set_result(lines("007/120"))
    [(change, context)] = numbers.completed(S)
    assert (change.kind, change.decision.best.card_id, context) == (ChangeKind.IDENTIFIED, "B1-7", CONTEXT)
    assert tracker.revised == [("t1", change.decision)]
    assert not numbers.busy


def test_a_number_that_disagrees_makes_the_change_uncertain(numbers, reader):
    numbers.add([identified()], CONTEXT, 0)
    reader.futures[0].set_result(lines("121/150"))
    [(change, _)] = numbers.completed(2 * S)
    assert (change.kind, change.decision.reason) == (ChangeKind.UNCERTAIN, RejectReason.NUMBER_DISAGREES)


@pytest.mark.parametrize(
    ("change", "context"),
    [
        (identified(decision=fox("A1-53")), CONTEXT),
        (TrackChange(ChangeKind.REMOVED, "t1", fox(), QUAD, 0), CONTEXT),
        (identified(), EventContext(GALLERY, Size(1280, 720))),
        (TrackChange(ChangeKind.IDENTIFIED, "t1", fox(), Quad(Point(0, 0), Point(99, 0), Point(99, 140), Point(0, 140)), 0), CONTEXT),
    ],
    ids=["one printing", "removed", "without a frame", "too small to read"],
)
def test_a_change_that_needs_no_number_is_not_queued(numbers, reader, change, context):
    assert numbers.add([change], context, 0) == [(change, context)]
    assert reader.futures == []


def test_without_a_reader_nothing_is_queued(tracker):
    assert CollectorNumberQueue(None, tracker).add([identified()], CONTEXT, 0) == [(identified(), CONTEXT)]


def test_the_queue_is_bounded_and_counts_the_numbers_it_drops(numbers):
    assert numbers.add([identified(f"t{number}") for number in range(MAX_QUEUED)], CONTEXT, 0) == []
    assert numbers.add([identified("one too many")], CONTEXT, 0) == [(identified("one too many"), CONTEXT)]
    assert numbers.dropped == 1


def test_a_timeout_or_a_failure_leaves_the_change_as_it_was(numbers, reader, tracker):
    slow, failed = identified("slow"), identified("failed")
    numbers.add([slow], CONTEXT, 0)
    numbers.add([failed], CONTEXT, S)
    reader.futures[1].set_exception(TextReaderError("out of memory"))
    assert [change for change, _ in numbers.completed(S)] == [failed]
    assert [change for change, _ in numbers.completed(2 * S)] == [slow]
    assert numbers.dropped == 2
    assert tracker.revised == []


def looked_again(numbers, track_id="t1"):
    numbers.look_again(IMAGE, [Outline(track_id, QUAD)])


def test_what_one_frame_leaves_open_is_read_in_another(numbers, reader):
    numbers.add([identified()], CONTEXT, 0)
    looked_again(numbers)
    assert len(reader.futures) == 1, "the first is still being read"
    reader.futures[0].set_result(lines("HP 120"))
    assert numbers.completed(S // 10) == []
    looked_again(numbers, "another track")
    assert len(reader.futures) == 1
    looked_again(numbers)
    reader.futures[1].set_result(lines("007/120"))
    [(change, context)] = numbers.completed(S // 5)
    assert (change.decision.best.card_id, change.decision.number_read, context) == ("B1-7", "007/120", CONTEXT)
    assert numbers.dropped == 0


def test_a_number_of_no_printing_needs_a_second_frame_and_a_right_one_outweighs_it(numbers, reader):
    numbers.add([identified("wrong"), identified("misread")], CONTEXT, 0)
    for future in reader.futures:
        future.set_result(lines("121/150"))
    assert numbers.completed(S // 10) == []
    numbers.look_again(IMAGE, [Outline("wrong", QUAD), Outline("misread", QUAD)])
    reader.futures[2].set_result(lines("121/150"))
    reader.futures[3].set_result(lines("053/120"))
    settled = {change.track_id: change for change, _ in numbers.completed(S // 5)}
    assert settled["wrong"].kind is ChangeKind.UNCERTAIN
    assert settled["misread"].decision.printings == ("A1-53",)


def test_a_number_is_read_in_a_few_frames_and_then_left_open(numbers, reader):
    change = identified()
    numbers.add([change], CONTEXT, 0)
    for number in range(MAX_FRAMES):
        assert len(reader.futures) == number + 1
        reader.futures[number].set_result(lines("HP 120"))
        done = numbers.completed(S // 10)
        looked_again(numbers)
    assert done == [(change, CONTEXT)]
    assert len(reader.futures) == MAX_FRAMES


def test_a_card_that_leaves_is_published_with_what_was_read_of_it(numbers, reader):
    numbers.add([identified()], CONTEXT, 0)
    reader.futures[0].set_result(lines("121/150"))
    assert numbers.completed(S // 10) == []
    removed = TrackChange(ChangeKind.REMOVED, "t1", fox(), QUAD, S)
    (queued, _), _ = numbers.add([removed], CONTEXT, S)
    assert (queued.kind, queued.decision.number_read) == (ChangeKind.UNCERTAIN, "121/150")


def test_a_later_change_of_the_track_ends_the_wait_and_all_can_be_flushed(numbers):
    first, second = identified("t1"), identified("t2")
    numbers.add([first, second], CONTEXT, 0)
    removed = TrackChange(ChangeKind.REMOVED, "t1", fox(), QUAD, S)
    assert numbers.add([removed], CONTEXT, S) == [(first, CONTEXT), (removed, CONTEXT)]
    assert numbers.completed(0, flush=True) == [(second, CONTEXT)]


class FixedReader:
    def read_text(self, image):
        if image is None:
            raise TextReaderError("no image")
        return lines("007/120")


def test_reading_in_a_thread_and_reading_synchronously_give_the_same_text():
    thread = TextReaderThread(FixedReader())
    try:
        for read in (thread, read_synchronously(FixedReader())):
            assert read(IMAGE).result(30) == lines("007/120")
            with pytest.raises(TextReaderError):
                read(None).result(30)
    finally:
        thread.close()
