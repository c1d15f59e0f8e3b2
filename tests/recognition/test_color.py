"""The color of a signature: what light does to it, what another color of the same drawing does, and entries that have none."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.recognition.color import CHROMA_BYTES, chroma_bytes, read_chroma
from edge.recognition.decision import AcceptanceThresholds, EvidenceWeights, Identified, decide
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId, Neighbor
from edge.recognition.patches import patch_weights
from edge.recognition.verification import LUMA_BYTES, PreparedReference, compare_pixels, prepare_view, signature_of, verify
from edge.vision.card import CardImage
from tools.drawing.cards import over_white
from tools.drawing.layout import draw_card
from tools.drawing.spec import card_spec
from tools.simulation.camera import PRESETS, degrade

COUNT = 8


@pytest.fixture(scope="module")
def cards():
    return [over_white(draw_card(card_spec(11, index))) for index in range(COUNT)]


def in_other_colors(card, share=1.0):
    """The same drawing with every hue turned by a third, in the upper ``share`` of the card."""
    hue = cv2.cvtColor(card, cv2.COLOR_RGB2HSV)
    hue[..., 0] = (hue[..., 0].astype(int) + 60) % 180
    turned = cv2.cvtColor(hue, cv2.COLOR_HSV2RGB)
    turned[round(share * len(card)) :] = card[round(share * len(card)) :]
    return turned


def agreement(view, card):
    reference = PreparedReference(signature_of(card))
    return verify(prepare_view(view), reference, patch_weights(reference.patches, [], None))


def test_a_recolored_card_agrees_in_luma_and_not_in_color(cards):
    for card in cards:
        own, other = agreement(card, card), agreement(card, in_other_colors(card))
        assert own.color > 0.97
        assert other.luma > 0.6
        assert other.color < own.color - 0.05


@settings(max_examples=40, deadline=None)
@given(st.tuples(*3 * [st.floats(0.75, 1.25)]), st.floats(0.6, 1.0), st.floats(0.7, 1.4))
def test_the_color_of_the_light_and_exposure_change_little(cards, gains, exposure, gamma):
    """A white balance off by a quarter in any channel, any exposure and the tone curves of cameras."""
    card = cards[0]
    lit = 255.0 * (np.clip(card * np.array(gains) * exposure, 0, 255) / 255.0) ** gamma
    seen = lit.astype(np.uint8)
    assert agreement(seen, card).color > 0.9


@pytest.mark.parametrize("preset", ["camera-6", "hard-light-glare-6", "occluded-20"])
def test_under_a_camera_the_card_of_the_right_color_is_chosen(cards, preset):
    """One card in eight may fail: most of its lower part has the same color in both."""
    views = [degrade(card, PRESETS[preset], np.random.default_rng([5, number])) for number, card in enumerate(cards)]
    right = [
        agreement(view, card).color > agreement(view, in_other_colors(card, share=0.6)).color
        for view, card in zip(views, cards, strict=True)
    ]
    assert sum(right) >= COUNT - 1


def test_stored_chroma_is_small_and_never_taken_for_none(cards):
    for pixels in [*cards, np.zeros((352, 252, 3), np.uint8), np.full((352, 252, 3), (0, 0, 255), np.uint8)]:
        stored = chroma_bytes(pixels)
        assert stored.dtype == np.uint8
        assert stored.shape == (CHROMA_BYTES,)
        assert stored.min() > 0
        assert read_chroma(stored) is not None
    gray = np.full((352, 252, 3), 130, np.uint8)
    assert np.abs(read_chroma(chroma_bytes(gray))).max() == 0.0


def test_an_entry_without_chroma_is_compared_in_luma_alone(cards):
    """Signatures of earlier versions: the same agreement, no color, and the weight of color costs them nothing."""
    ids = (CardId("a"), CardId("b"))
    signatures = np.stack([signature_of(card) for card in cards[:2]])
    with_color = Gallery({card_id: Card(card_id, card_id, card_id) for card_id in ids}, ids, signatures)
    without = signatures.copy()
    without[:, LUMA_BYTES:] = 0
    former = Gallery(with_color.cards, ids, without)
    near = tuple(Neighbor(entry, card_id, 0.9 - 0.4 * entry) for entry, card_id in enumerate(ids))
    images = [(CardImage(0, 0, cards[0]), near)]
    new, old = compare_pixels(images, with_color), compare_pixels(images, former)
    assert [one.agreement for one in new] == [one.agreement for one in old]
    assert all(one.color is not None for one in new)
    assert [one.color for one in old] == [None, None]
    assert compare_pixels(images, with_color, with_color=False) == old, "what no weight asks for is not computed"
    thresholds = AcceptanceThresholds(weights=EvidenceWeights(intercept=-25.0, color=16.0))
    assert isinstance(decide(old, thresholds, former.printings), Identified)
