"""The closer look: its crops, the way back to the frame, and what becomes of a proposal."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.vision.closer_look import look_closer
from edge.vision.corner_crops import CROP_SIZE, INNER, CornerMaps, crop_of, from_crop, look, to_crop
from edge.vision.detector import CloserInfo, Detections
from edge.vision.locate import LocateSettings
from edge.vision.network_locator import NetworkLocator
from tests.support.scripted_detector import FormulaDetector
from tests.support.small_locator import BACK, FACE, NO_CARD, UPRIGHT, corner_logits, drawn_input

CLOSER = CloserInfo(max_batch=3, card=0.5)
CARD = np.array([[40.0, 30.0], [103.0, 34.0], [100.0, 121.0], [37.0, 118.0]], dtype=np.float32)
PIXELS = np.full((160, 160, 3), 60, np.uint8)


def proposed(*quads):
    count = len(quads)
    ones = np.ones(count, np.float32)
    return Detections(np.stack(quads).astype(np.float32), 0.4 * ones, 0.6 * ones, ones, np.zeros(count, bool))


class KnowsTheCorners(FormulaDetector):
    """Finds the white card in a crop, as a network would; says how many crops it was given."""

    def __init__(self, *, face=9.0, upright=UPRIGHT):
        super().__init__(closer=CLOSER)
        self._kinds = [face, -9.0, NO_CARD, upright]
        self.looks = []

    def look_closer(self, crops):
        self.looks.append(len(crops))
        maps = []
        for crop in crops:
            points = cv2.findNonZero((crop[:, :, 0] > 128).astype(np.uint8))
            hull = cv2.convexHull(points)[:, 0].astype(np.float32)
            # for each corner of the crop the point of the card that is farthest in its direction
            corners = np.stack([hull[np.argmax(hull @ np.sign(corner - INNER.mean(axis=0)))] for corner in INNER])
            maps.append(corner_logits(corners))
        return CornerMaps(np.stack(maps), np.repeat(np.array([self._kinds], np.float32), len(crops), axis=0))


def card_at(quad):
    pixels = PIXELS.copy()
    cv2.fillConvexPoly(pixels, np.rint(quad * 16).astype(np.int32), (255, 255, 255), shift=4)
    return pixels


@given(
    st.lists(st.floats(-4.0, 4.0), min_size=8, max_size=8).map(lambda off: CARD + np.array(off, np.float32).reshape(4, 2)),
    st.lists(st.floats(5.0, 90.0), min_size=6, max_size=6).map(lambda values: np.array(values, np.float32).reshape(3, 2)),
)
def test_points_return_from_a_crop_to_where_they_were(quad, points):
    frame = from_crop(points, quad)
    assert frame is not None
    assert np.allclose(to_crop(frame, quad), points, atol=0.02)
    assert np.allclose(from_crop(INNER, quad), quad, atol=0.02)


def test_a_crop_shows_the_proposal_where_it_belongs_and_its_surroundings():
    crop = crop_of(card_at(CARD), CARD)
    assert crop.shape == (CROP_SIZE.height, CROP_SIZE.width, 3)
    left, top, right, bottom = (round(float(value)) for value in (*INNER.min(axis=0), *INNER.max(axis=0)))
    assert crop[top + 3 : bottom - 2, left + 3 : right - 2].min() > 200
    assert crop[: top - 2].max() < 100


def test_a_proposal_whose_surroundings_reach_the_horizon_has_no_crop():
    steep = np.array([[70, 40], [90, 40], [155, 120], [5, 120]], np.float32)
    assert crop_of(PIXELS, steep) is None
    detector = KnowsTheCorners()
    assert len(look_closer(detector, PIXELS, proposed(steep))) == 0
    assert detector.looks == []


def test_corners_move_to_those_of_the_card_and_both_networks_say_how_sure_they_are():
    off = CARD + np.array([[5, -4], [-3, 6], [6, 3], [-5, -5]], np.float32)
    found = look_closer(KnowsTheCorners(), card_at(CARD), proposed(off))
    assert np.abs(found.quads[0] - CARD).max() < 1.5
    assert found.score[0] > 0.99
    # odds of 0.6 times those of the closer look
    assert found.order[0] == pytest.approx(1 / (1 + np.exp(-UPRIGHT) * 0.4 / 0.6), abs=1e-3)


def test_a_proposal_that_lies_the_other_way_up_starts_at_the_opposite_corner():
    found = look_closer(KnowsTheCorners(upright=-UPRIGHT), card_at(CARD), proposed(CARD))
    assert np.abs(found.quads[0] - np.roll(CARD, 2, axis=0)).max() < 1.5
    assert found.order[0] > 0.9


def test_what_is_no_card_is_left_out():
    assert len(look_closer(KnowsTheCorners(face=-9.0), card_at(CARD), proposed(CARD))) == 0


def test_more_proposals_than_a_batch_are_looked_at_in_parts():
    detector = KnowsTheCorners()
    found = look_closer(detector, card_at(CARD), proposed(*[CARD + shift for shift in range(-2, 3)]))
    assert len(found) == 5
    assert detector.looks == [3, 2]


def test_the_locator_looks_closer_and_keeps_one_outline_of_a_card():
    frame = drawn_input((FACE, 4, 4), (BACK, 10, 6), size=(1280, 960), scale=10.0)
    plain = NetworkLocator(FormulaDetector(), LocateSettings(), refines=False).locate(frame)
    closer = NetworkLocator(FormulaDetector(closer=CLOSER), LocateSettings(), refines=False).locate(frame)
    assert [card.is_back for card in closer] == [card.is_back for card in plain]
    for before, after in zip(plain, closer, strict=True):
        assert np.allclose(before.quad.to_array(), after.quad.to_array(), atol=1.0)


def test_the_mean_of_a_map_is_exact_between_cells():
    points = INNER + np.array([[0.3, -1.2], [2.0, 0.9], [-0.7, 0.1], [1.1, 1.9]], np.float32)
    maps = CornerMaps(corner_logits(points)[None], np.zeros((1, 4), np.float32))
    assert np.allclose(look(maps).corners[0], points, atol=0.01)
