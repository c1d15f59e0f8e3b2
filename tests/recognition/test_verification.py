"""Verification on drawn cards: the true card under corner errors, against cards of the same layout."""

import cv2
import numpy as np
import pytest

from edge.recognition.verification import (
    PATCH_COUNT,
    SIGNATURE_BYTES,
    align,
    patch_weights,
    prepare_reference,
    prepare_view,
    signature_of,
    verify,
)
from tools.drawing.cards import over_white
from tools.drawing.layout import draw_card
from tools.drawing.spec import card_spec
from tools.simulation.camera import PRESETS, degrade

COUNT = 12


@pytest.fixture(scope="module")
def cards():
    return [over_white(draw_card(card_spec(11, index))) for index in range(COUNT)]


@pytest.fixture(scope="module")
def references(cards):
    return [prepare_reference(signature_of(card)) for card in cards]


def scores(view, references):
    prepared = prepare_view(view)
    weights = [patch_weights(reference, references[:index] + references[index + 1 :]) for index, reference in enumerate(references)]
    return np.array([verify(prepared, reference, weight) for reference, weight in zip(references, weights, strict=True)])


def test_a_signature_is_small_and_keeps_the_luma(cards):
    signature = signature_of(cards[0])
    assert signature.shape == (SIGNATURE_BYTES,)
    assert signature.dtype == np.uint8
    luma = cv2.cvtColor(cards[0], cv2.COLOR_RGB2GRAY)
    assert abs(float(signature.mean()) - float(luma.mean())) < 1.0


def test_a_card_verifies_as_itself_and_as_no_other(cards, references):
    for index, card in enumerate(cards):
        values = scores(card, references)
        assert values[index] > 0.85
        assert np.delete(values, index).max() < 0.7


@pytest.mark.parametrize("preset", ["camera-4", "camera-8", "occluded-20", "small-80px"])
def test_the_true_card_leads_under_a_camera(cards, references, preset):
    """Corner errors of up to 8 % are taken up by the alignment; one view in twelve may fail."""
    right = sum(
        int(np.argmax(scores(degrade(card, PRESETS[preset], np.random.default_rng([3, index])), references)) == index)
        for index, card in enumerate(cards)
    )
    assert right >= COUNT - 1


def test_upside_down_does_not_verify(cards, references):
    for index, card in enumerate(cards):
        assert scores(np.ascontiguousarray(card[::-1, ::-1]), references)[index] < 0.6


def test_alignment_finds_a_known_shift(cards):
    """A view cut 4 % too far to the left shows the card shifted by 4 % of its width."""
    card = cards[0]
    shift = round(0.04 * card.shape[1])
    shifted = np.roll(card, shift, axis=1)
    homography = align(prepare_view(shifted), prepare_reference(signature_of(card)))
    assert homography is not None
    assert homography[0, 2] == pytest.approx(1.4 * shift / card.shape[1], abs=0.012)
    assert homography[1, 2] == pytest.approx(0.0, abs=0.012)


def test_what_look_alikes_share_tells_nothing(cards, references):
    twin = cards[0].copy()
    twin[: twin.shape[0] // 2] = cards[1][: twin.shape[0] // 2]
    weights = patch_weights(references[0], [prepare_reference(signature_of(twin))])
    upper, lower = weights[: PATCH_COUNT // 2 - 6], weights[PATCH_COUNT // 2 + 6 :]
    assert upper.mean() > 10 * lower.mean()
    assert np.array_equal(patch_weights(references[0], []), np.ones(PATCH_COUNT, np.float32))


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_view_verifies_as_nothing(references, value):
    blank = np.full((352, 252, 3), value, np.uint8)
    assert scores(blank, references).max() < 0.3
