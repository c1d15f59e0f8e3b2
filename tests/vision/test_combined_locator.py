"""Locating with a network and classical outlines: who decides, and whose corners are used."""

import numpy as np
import pytest

from edge.vision.card import Quad, overlap
from edge.vision.combined_locator import CombinedLocator
from edge.vision.locate import LocateSettings, locate_cards
from edge.vision.network_locator import NetworkLocator
from tests.support.scripted_detector import ProposingDetector
from tests.vision.test_locate import DARK, GREEN, assert_found, corner_error, drawn_card, scene, seen_from

CERTAIN, DOUBTFUL, HINT = 0.7, 0.5, 0.2
"""Scores above the threshold by a third, above it, and below it."""


def locate(pixels, *proposals, **settings):
    return CombinedLocator(NetworkLocator(ProposingDetector(*proposals), LocateSettings(**settings))).locate(pixels)


def shaken(quad, px=12.0):
    """The outline as the network proposes it: off by some pixels at every corner."""
    return Quad.from_array(quad.to_array() + px * np.array([[1.0, -0.6], [-0.8, 1.0], [0.7, 0.9], [-1.0, -0.7]]))


def square(card):
    """The card with square corners, as in a sleeve."""
    card = card.copy()
    card[card[..., 3] < 255, :3] = card[4, 400, :3]
    card[..., 3] = 255
    return card


CARD = seen_from(640, 360, 420, turn_deg=17, tilt_deg=12)
ONE_CARD = scene(GREEN, [(drawn_card(2), CARD)])


@pytest.mark.parametrize("score", [CERTAIN, HINT])
def test_an_outline_that_the_network_confirms_keeps_its_exact_corners_and_gets_the_networks_order(score):
    (card,) = locate(ONE_CARD, (shaken(CARD.rotated(180)), score))
    assert corner_error(card.quad, CARD) < 0.005
    assert np.abs(card.quad.to_array() - CARD.rotated(180).to_array()).max() < 3.0
    assert card.order_confidence == pytest.approx(0.95)


def test_a_card_with_rounded_corners_needs_no_network():
    assert_found(locate(ONE_CARD), [CARD])
    inside = Quad.from_array(CARD.to_array() * 0.6 + CARD.to_array().mean(axis=0) * 0.4)
    assert_found(locate(ONE_CARD, (inside, CERTAIN)), [CARD])


def test_a_card_that_only_the_network_sees_needs_a_high_score():
    elsewhere = seen_from(1000, 360, 300)
    assert_found(locate(ONE_CARD, (elsewhere, CERTAIN)), [CARD, elsewhere], error=0.02)
    assert_found(locate(ONE_CARD, (elsewhere, DOUBTFUL)), [CARD])


def test_cards_in_sleeves_side_by_side_are_told_apart():
    quads = [seen_from(640 + 105 * x, 360 + 145 * y, 280) for x in (-1, 1) for y in (-1, 1)]
    pixels = scene(DARK, [(square(drawn_card(seed)), quad) for seed, quad in enumerate(quads)])
    assert len(locate_cards(pixels)) < 4
    assert_found(locate(pixels, *((shaken(quad, 5.0), CERTAIN) for quad in quads)), quads, error=0.05)


def test_two_proposals_on_one_another_do_not_split_a_card():
    corners, center = CARD.to_array(), CARD.to_array().mean(axis=0)
    first, second = (Quad.from_array((corners - center) * 0.7 + center + shift) for shift in ((0, -30), (0, 30)))
    assert overlap(first, second) < 0.9
    assert_found(locate(ONE_CARD, (first, CERTAIN), (second, CERTAIN)), [CARD])


def test_an_outline_without_rounded_corners_needs_the_network():
    ground = np.full((720, 1280, 3), GREEN, np.uint8)
    quad = seen_from(640, 360, 400)
    left, top, right, bottom = (round(value) for value in (*quad.top_left, *quad.bottom_right))
    ground[top:bottom, left:right] = (200, 40, 60)
    assert len(locate_cards(ground)) == 1
    assert locate(ground) == ()
    assert len(locate(ground, (shaken(quad), HINT))) == 1


def test_a_back_is_told_from_a_face():
    (card,) = locate(ONE_CARD, (shaken(CARD), CERTAIN, True))
    assert card.is_back


def test_limits_of_the_settings_hold_and_the_largest_card_is_first():
    quads = [seen_from(300, 360, 420), seen_from(700, 360, 320), seen_from(1050, 360, 240)]
    pixels = scene(GREEN, [(drawn_card(seed), quad) for seed, quad in enumerate(quads)])
    assert_found(locate(pixels, *((shaken(quad), CERTAIN) for quad in quads), max_cards=2), quads[:2])
    assert [round(card.quad.area(), -4) for card in locate(pixels)] == [round(quad.area(), -4) for quad in quads]
    assert locate(np.zeros((8, 8, 3), np.uint8)) == ()
