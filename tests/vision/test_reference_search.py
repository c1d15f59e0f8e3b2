"""Finding a card in a photo by its reference image."""

import cv2
import numpy as np
import pytest

from edge.vision.card import CARD_SIZE, Size, overlap
from edge.vision.reference_search import Features, card_features, find_card
from tools.drawing.cards import over_white
from tools.drawing.layout import draw_card
from tools.drawing.spec import card_specs
from tools.simulation.camera import PRESETS, CardPose, photograph

CARD, OTHER = (over_white(draw_card(spec, Size(504, 704))) for spec in card_specs(2, seed=5))
TABLE = np.full((720, 960, 3), 90, dtype=np.uint8)


def reference(card):
    """The image as a bundle keeps it."""
    return card_features(cv2.resize(card, (126, 176), interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize("roll_deg", [0.0, 35.0, 180.0, -100.0])
def test_a_card_is_found_with_its_own_top_left_corner_first(roll_deg):
    pose = CardPose(480.0, 360.0, 4.0, roll_deg=roll_deg, tilt_deg=15.0)
    photo, (quad,) = photograph([(CARD, pose)], TABLE, PRESETS["camera-4"], np.random.default_rng(1))
    found = find_card(Features.of(photo), reference(CARD))
    assert found is not None
    assert overlap(found, quad) > 0.9
    assert np.hypot(*(np.array(found.top_left) - quad.top_left)) < 0.05 * CARD_SIZE.height


def test_another_card_is_not_found():
    photo, _ = photograph([(OTHER, CardPose(480.0, 360.0, 4.0))], TABLE, PRESETS["clean"], np.random.default_rng(1))
    assert find_card(Features.of(photo), reference(CARD)) is None


def test_the_features_of_an_empty_table_do_not_suffice():
    assert not Features.of(TABLE).suffice
