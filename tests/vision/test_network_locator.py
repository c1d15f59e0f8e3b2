"""Locating with a detector: what is kept, what is looked at again, and where the cards are in the frame."""

from dataclasses import replace

import numpy as np
import pytest

from edge.vision.card import Quad, overlap
from edge.vision.detector import Detections, DetectorThresholds
from edge.vision.locate import LocateSettings
from edge.vision.network_locator import NetworkLocator, non_max_suppression
from edge.vision.windows import MAX_TILES
from tests.support.scripted_detector import FormulaDetector
from tests.support.small_locator import BACK, CARD, FACE, FACE_TURNED, STRIDE, drawn_input

FRAME = (1280, 960)
SCALE = 10.0
"""Of the frame to the detector's input of 128 x 96."""


def locator(**settings):
    return NetworkLocator(FormulaDetector(), LocateSettings(**settings))


def frame(*cards):
    return drawn_input(*cards, size=FRAME, scale=SCALE)


def outline_at(column, row, scale=SCALE):
    center = (np.array([column, row]) + 0.5) * STRIDE * scale - 0.5
    return Quad.from_array(center + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * np.array(CARD) * scale / 2)


def test_cards_are_where_they_were_drawn_largest_first():
    located = locator().locate(frame((FACE, 4, 4), (FACE, 10, 6)))
    assert sorted(round(card.quad.top_left.x) for card in located) == [round(outline_at(c, 0).top_left.x) for c in (4, 10)]
    for card in located:
        assert max(overlap(card.quad, outline_at(*place)) for place in ((4, 4), (10, 6))) > 0.97
        assert card.rotations == (0, 180)
        assert card.order_confidence > 0.9
        assert not card.is_back


def test_a_card_that_lies_upside_down_starts_at_its_own_top_left():
    (card,) = locator().locate(frame((FACE_TURNED, 6, 6)))
    assert np.allclose(card.quad.to_array(), outline_at(6, 6).rotated(180).to_array(), atol=1.5)


def test_a_back_is_told_from_a_face():
    assert [card.is_back for card in locator().locate(frame((BACK, 6, 6)))] == [True]


def test_an_empty_or_tiny_frame_has_no_card():
    assert locator().locate(frame()) == ()
    assert locator().locate(np.zeros((8, 8, 3), np.uint8)) == ()


def test_limits_of_the_settings_hold():
    cards = [(FACE, column, row) for column in (3, 7, 11) for row in (3, 8)]
    assert len(locator().locate(frame(*cards))) == 6
    assert len(locator(max_cards=4).locate(frame(*cards))) == 4
    assert locator(min_height_share=0.9).locate(frame(*cards)) == ()


def test_large_cards_take_one_run():
    made = locator()
    made.locate(frame((FACE, 4, 4)))
    assert made.detector.runs == [1]


class SmallCards(FormulaDetector):
    """Finds in the whole frame only hints of small cards; in a closer view, which is what has a mark of full size, the cards."""

    def detect(self, batch):
        maps = super().detect(batch)
        if self.runs == [1]:
            heat = np.zeros_like(maps.heat)
            for column, row in self.hints:
                heat[0, 0, row, column] = 0.3
            return replace(maps, heat=heat, corners=maps.corners * 0.25)
        return maps


def test_small_cards_are_looked_at_again_in_tiles():
    detector = SmallCards()
    detector.hints = [(4, 4)]
    # a quarter of the size the network knows: in tiles of a quarter of the frame they have it
    pixels = drawn_input((FACE, 18, 18), size=FRAME, scale=2.5)
    located = NetworkLocator(detector, LocateSettings(min_height_share=0.02)).locate(pixels)
    assert detector.runs[0] == 1
    assert 1 <= sum(detector.runs[1:]) <= MAX_TILES
    assert max(detector.runs) <= detector.info.max_batch
    tiles_with_a_hint = sum(detector.runs[1:])
    assert tiles_with_a_hint < MAX_TILES, "tiles without a hint are left out"
    assert all(card.quad.area() > 0 for card in located)


def test_hints_alone_are_not_cards():
    detector = SmallCards()
    detector.hints = [(4, 4)]
    assert NetworkLocator(detector, LocateSettings(min_height_share=0.02)).locate(frame()) == ()


def detections(*quads, score=None):
    count = len(quads)
    ones = np.ones(count, np.float32)
    scores = ones if score is None else np.array(score, np.float32)
    return Detections(np.stack([quad.to_array() for quad in quads]), scores, ones, ones, np.zeros(count, bool))


def test_one_card_of_two_overlapping_outlines_is_kept_and_neighbors_stay():
    first, near, beside = outline_at(4, 4), outline_at(4.3, 4), outline_at(7.6, 4)
    kept = non_max_suppression(detections(first, near, beside, score=(0.9, 0.8, 0.7)), 0.5)
    assert kept.score.tolist() == pytest.approx([0.9, 0.7])


def test_what_shows_too_little_is_left_out():
    detector = FormulaDetector(DetectorThresholds(0.5, visible=0.99))
    assert NetworkLocator(detector, LocateSettings()).locate(frame((FACE, 4, 4))) == ()
