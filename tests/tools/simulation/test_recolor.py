"""A card in other colors keeps its drawing."""

import cv2
import numpy as np

from edge.recognition.color import recolored_share
from edge.recognition.verification import PreparedReference, prepare_view, signature_of, verify
from tools.drawing.cards import over_white
from tools.drawing.layout import draw_card
from tools.drawing.spec import card_spec
from tools.simulation.recolor import recolor


def test_the_drawing_stays_and_its_colors_change():
    for number in range(6):
        card = over_white(draw_card(card_spec(19, number)))
        changed = recolor(card, np.random.default_rng(number))
        assert changed.shape == card.shape
        assert np.abs(changed.astype(int) - card).max() > 40
        assert recolored_share(card, changed) > recolored_share(card, card) == 0.0
        own = verify(prepare_view(card), PreparedReference(signature_of(changed)), np.ones(48, np.float32))
        assert own.luma > 0.6


def test_a_gray_card_has_no_color_to_change():
    gray = np.repeat(np.random.default_rng(1).integers(0, 256, (352, 252, 1), np.uint8), 3, axis=2)
    assert np.array_equal(recolor(gray, np.random.default_rng(2)), gray)


def test_equal_seeds_give_equal_colors():
    card = cv2.applyColorMap(np.tile(np.arange(252, dtype=np.uint8), (352, 1)), cv2.COLORMAP_JET)
    first, second = (recolor(card, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, recolor(card, np.random.default_rng(6)))
