"""Collector numbers in the daemon, and the text reader on drawn cards."""

import sys
from concurrent.futures import Future

import cv2
import numpy as np
import pytest

from edge.adapters import ocr
from edge.app.recognizer import open_text_reader
from edge.daemon import number_queue
from edge.daemon.number_queue import CollectorNumberQueue
from edge.errors import TextReaderError
from edge.recognition.decision import Candidate, Identified, Sighting
from edge.recognition.neighbors import CardId
from edge.recognition.number_band import number_band
from edge.recognition.number_text import TextLine
from edge.settings.sections import RecognitionSection
from edge.vision.card import Point, Quad, Size
from tests.support import scripted_daemon
from tests.support.scripted_daemon import Script, ScriptedDaemon
from tools.drawing.cards import over_white
from tools.drawing.layout import draw_card
from tools.drawing.spec import card_specs


@pytest.fixture
def reprinted(monkeypatch):
    """Give card "a" two printings, and make the scripted cards large enough to be read."""

    def sighting(self, located):
        best = Candidate(CardId("a"), "art-a", 0.9, 0.95, 0)
        return Sighting(located, located.quad, Identified(best, 0.3, ("a", "b"), (best,)))

    monkeypatch.setattr(scripted_daemon.ScriptedPending, "_sighting", sighting)
    monkeypatch.setattr(number_queue, "number_band", lambda pixels, quad, regions: pixels)


def play(scenes: Script, future: Future):
    scripted = ScriptedDaemon(scenes)
    scripted.daemon._numbers = CollectorNumberQueue(lambda _: future, scripted.daemon._tracker)
    return scripted.run()


def done(*texts) -> Future:
    future: Future = Future()
    future.set_result(tuple(TextLine(text, 0.95) for text in texts))
    return future


def test_a_number_that_was_read_is_published(reprinted):
    [came, went] = play(Script().show(2, {20: "a"}).show(4), done("007/165")).events
    assert (came.type, came.number_read, came.printings) == ("identified", "007/165", ("a", "b"))
    assert (went.type, went.card_id) == ("removed", "a")


def test_a_number_that_disagrees_with_the_image_makes_the_card_uncertain_for_good(reprinted):
    sink = play(Script().show(20, {20: "a"}).show(4), done("121/150"))
    assert sink.published() == [("uncertain", None), ("removed", None)]
    assert (sink.events[0].reason, sink.events[0].number_read) == ("number_disagrees", "121/150")


def test_an_identified_card_waits_for_its_number_until_the_timeout(reprinted):
    [came] = play(Script().show(5, {20: "a"}), Future()).events
    assert (came.type, came.number_read, came.printings) == ("identified", None, ("a", "b"))
    assert 2000.0 <= came.timing_ms["capture_to_event"] < 2500.0


def test_a_card_removed_while_its_number_is_read_is_published_in_order(reprinted):
    scripted = ScriptedDaemon(Script().show(1, {20: "a"}).show(4))
    scripted.daemon._numbers = CollectorNumberQueue(lambda _: Future(), scripted.daemon._tracker, max_wait_s=100.0)
    assert scripted.run().published() == [("identified", "a"), ("removed", "a")]


def test_a_stop_publishes_the_queued_cards(reprinted):
    scripted = ScriptedDaemon(Script().show(1, {20: "a"}))
    scripted.daemon._numbers = CollectorNumberQueue(lambda _: Future(), scripted.daemon._tracker, max_wait_s=100.0)
    assert scripted.run().published() == [("identified", "a")]


# --- the reader ------------------------------------------------------------------------------------------------------------------------


def settings(wanted) -> RecognitionSection:
    return RecognitionSection(read_numbers=wanted)


def test_without_the_extra_numbers_are_read_only_if_the_settings_require_it(monkeypatch):
    monkeypatch.setattr(ocr, "find_spec", lambda _: None)
    assert open_text_reader(settings("auto")) is None
    assert open_text_reader(settings("never")) is None
    for wanted in ("ambiguous", "always"):
        with pytest.raises(TextReaderError, match="install the extra `ocr`"):
            open_text_reader(settings(wanted))


def test_an_incomplete_extra_is_an_error_and_downloads_nothing(monkeypatch, tmp_path):
    class Spec:
        origin = str(tmp_path / "__init__.py")

    monkeypatch.setattr(ocr, "find_spec", lambda _: Spec)
    with pytest.raises(TextReaderError, match="has no det model"):
        open_text_reader(settings("auto"))


@pytest.fixture(scope="module")
def reader():
    pytest.importorskip("rapidocr", reason="the extra ocr is not installed")
    return ocr.RapidOcrReader()


def test_the_number_of_a_drawn_card_is_read_from_a_frame(reader):
    [spec] = [spec for spec in card_specs(8, seed=3) if spec.number == 1]
    card = over_white(draw_card(spec, Size(504, 704)))
    frame = np.full((800, 900, 3), 60, dtype=np.uint8)
    quad = Quad(Point(150, 40), Point(520, 60), Point(500, 580), Point(120, 560))
    corners = np.array([[-0.5, -0.5], [503.5, -0.5], [503.5, 703.5], [-0.5, 703.5]], dtype=np.float32)
    cv2.warpPerspective(card, cv2.getPerspectiveTransform(corners, quad.to_array()), (900, 800), frame, borderMode=cv2.BORDER_TRANSPARENT)
    texts = [line.text for line in reader.read_text(number_band(frame, quad))]
    assert any(spec.collector_number in text for text in texts), texts
    assert "rapidocr" in sys.modules


def test_a_band_without_text_has_no_lines(reader):
    assert reader.read_text(np.full((155, 1008, 3), 128, dtype=np.uint8)) == ()
