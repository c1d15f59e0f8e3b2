"""Verification on drawn cards: the true card under corner errors and cover, against cards of the same layout, and how many are compared."""

import cv2
import numpy as np
import pytest

from edge.recognition.decision import AcceptanceThresholds, rank
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId, Neighbor
from edge.recognition.patches import PATCH_COUNT, patch_weights
from edge.recognition.verification import (
    COMPARED,
    DOUBTFUL_AGREEMENT,
    LUMA_BYTES,
    MAX_COMPARED,
    MIN_COMPARED,
    SIGNATURE_BYTES,
    PreparedReference,
    align,
    compare_pixels,
    prepare_view,
    signature_of,
    verify,
)
from edge.vision.card import CARD_SIZE, CardImage
from tools.drawing.cards import over_white
from tools.drawing.layout import draw_card
from tools.drawing.spec import card_spec
from tools.simulation.camera import PRESETS, degrade

COUNT = 12
INDEXED = 20
WEIGHTS = AcceptanceThresholds().weights


@pytest.fixture(scope="module")
def cards():
    return [over_white(draw_card(card_spec(11, index))) for index in range(COUNT)]


@pytest.fixture(scope="module")
def references(cards):
    return [PreparedReference(signature_of(card)) for card in cards]


def scores(view, references):
    prepared = prepare_view(view)
    patches = [reference.patches for reference in references]
    weights = [patch_weights(own, patches[:index] + patches[index + 1 :], None) for index, own in enumerate(patches)]
    return np.array([verify(prepared, reference, weight).luma for reference, weight in zip(references, weights, strict=True)])


def test_a_signature_is_small_and_keeps_the_luma(cards):
    signature = signature_of(cards[0])
    assert signature.shape == (SIGNATURE_BYTES,)
    assert signature.dtype == np.uint8
    luma = cv2.cvtColor(cards[0], cv2.COLOR_RGB2GRAY)
    assert abs(float(signature[:LUMA_BYTES].mean()) - float(luma.mean())) < 1.0


def test_a_card_agrees_with_itself_and_with_no_other(cards, references):
    for index, card in enumerate(cards):
        values = scores(card, references)
        assert values[index] > 0.85
        assert np.delete(values, index).max() < 0.7


@pytest.mark.parametrize("preset", ["camera-4", "camera-8", "occluded-20", "small-80px"])
def test_the_true_card_leads_under_a_camera(cards, references, preset):
    """The alignment absorbs corner errors of up to 8 %; one view in twelve may fail."""
    right = sum(
        int(np.argmax(scores(degrade(card, PRESETS[preset], np.random.default_rng([3, index])), references)) == index)
        for index, card in enumerate(cards)
    )
    assert right >= COUNT - 1


def test_an_upside_down_card_does_not_agree(cards, references):
    for index, card in enumerate(cards):
        assert scores(np.ascontiguousarray(card[::-1, ::-1]), references)[index] < 0.6


def test_alignment_finds_a_known_shift(cards):
    """A view cut 4 % too far to the left shows the card shifted by 4 % of its width."""
    card = cards[0]
    shift = round(0.04 * card.shape[1])
    shifted = np.roll(card, shift, axis=1)
    aligned = align(prepare_view(shifted), PreparedReference(signature_of(card)))
    assert aligned is not None
    assert aligned.homography[0, 2] == pytest.approx(1.4 * shift / card.shape[1], abs=0.012)
    assert aligned.homography[1, 2] == pytest.approx(0.0, abs=0.012)


def test_patches_shared_with_similar_cards_have_little_weight(cards, references):
    twin = cards[0].copy()
    twin[: twin.shape[0] // 2] = cards[1][: twin.shape[0] // 2]
    weights = patch_weights(references[0].patches, [PreparedReference(signature_of(twin)).patches], None)
    upper, lower = weights[: PATCH_COUNT // 2 - 6], weights[PATCH_COUNT // 2 + 6 :]
    assert upper.mean() > 10 * lower.mean()
    assert np.array_equal(patch_weights(references[0].patches, [], None), np.ones(PATCH_COUNT, np.float32))


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_view_agrees_with_no_card(references, value):
    blank = np.full((352, 252, 3), value, np.uint8)
    assert scores(blank, references).max() < 0.3


# --- choice of the entries to compare ---


@pytest.fixture(scope="module")
def images():
    return [over_white(draw_card(card_spec(31, index))) for index in range(INDEXED + 1)]


@pytest.fixture(scope="module")
def gallery(images):
    """All images but the last are indexed."""
    ids = tuple(CardId(f"c{index:02}") for index in range(INDEXED))
    cards = {card_id: Card(card_id, card_id, f"art-{card_id}") for card_id in ids}
    return Gallery(cards, ids, np.stack([signature_of(image) for image in images[:INDEXED]]))


def neighbors(gallery, *, first):
    """All entries with decreasing similarity, ``first`` first."""
    order = [first, *(entry for entry in range(INDEXED) if entry != first)]
    return tuple(Neighbor(entry, gallery.entry_card_ids[entry], 0.6 - 0.02 * place) for place, entry in enumerate(order))


def card_images(image, near):
    return [(CardImage(0, 0, image), near), (CardImage(0, 180, np.ascontiguousarray(image[::-1, ::-1])), ())]


def with_finger(image, share):
    """A thumb across the lower half from the left edge, covering ``share`` of the card."""
    covered = image.copy()
    top, height = round(0.5 * CARD_SIZE.height), round(share * CARD_SIZE.height / 0.8)
    covered[top : top + height, : round(0.8 * CARD_SIZE.width)] = (205, 160, 130)
    return covered


def test_a_clear_card_is_compared_with_few_entries(images, gallery):
    compared = compare_pixels(card_images(images[4], neighbors(gallery, first=4)), gallery)
    assert len(compared) == MIN_COMPARED
    assert compared[0].card_id == "c04"
    assert compared[0].agreement > 0.9


def test_an_image_that_agrees_with_nothing_is_compared_with_more(images, gallery):
    blank = np.full_like(images[0], 128)
    assert len(compare_pixels(card_images(blank, neighbors(gallery, first=0)), gallery)) == MAX_COMPARED


def test_the_true_card_is_found_behind_many_others(images, gallery):
    """A bad outline spoils the embedding: the true card is the ninth neighbor."""
    near = neighbors(gallery, first=4)
    near = tuple(Neighbor(each.entry, each.card_id, 0.6 - 0.02 * place) for place, each in enumerate([*near[1:9], near[0], *near[9:]]))
    compared = compare_pixels(card_images(images[4], near), gallery)
    best = max(compared, key=lambda comparison: comparison.agreement)
    assert max(comparison.agreement for comparison in compared[:COMPARED]) < DOUBTFUL_AGREEMENT
    assert best.card_id == "c04"


def test_without_neighbors_there_are_no_comparisons(images, gallery):
    assert compare_pixels(card_images(images[0], ()), gallery) == ()


def test_a_finger_over_30_percent_of_the_card_lowers_the_agreement_little(images, gallery):
    for index in (0, 7, 12):
        near = neighbors(gallery, first=index)
        whole = compare_pixels(card_images(images[index], near), gallery)[0]
        covered = compare_pixels(card_images(with_finger(images[index], 0.3), near), gallery)[0]
        assert covered.agreement > whole.agreement - 0.08
        best = rank(compare_pixels(card_images(with_finger(images[index], 0.3), near), gallery), WEIGHTS)[0]
        assert best.card_id == gallery.entry_card_ids[index]
        assert best.verification > AcceptanceThresholds().min_verification


def test_an_unknown_card_of_the_same_layout_is_rejected(images, gallery):
    for first in range(0, INDEXED, 4):
        best = rank(compare_pixels(card_images(images[INDEXED], neighbors(gallery, first=first)), gallery), WEIGHTS)[0]
        assert best.verification < AcceptanceThresholds().min_verification


def test_the_orientation_that_agrees_is_chosen(images, gallery):
    turned = np.ascontiguousarray(images[3][::-1, ::-1])
    near = neighbors(gallery, first=3)
    both = [(CardImage(0, 0, turned), near), (CardImage(0, 180, images[3]), near)]
    best = rank(compare_pixels(both, gallery), WEIGHTS)[0]
    assert (best.card_id, best.rotation) == ("c03", 180)


def test_the_order_of_the_orientations_does_not_matter(images, gallery):
    near = neighbors(gallery, first=5)
    both = [(CardImage(0, 0, images[5]), near), (CardImage(0, 180, np.ascontiguousarray(images[5][::-1, ::-1])), near)]
    assert compare_pixels(both, gallery) == compare_pixels(both[::-1], gallery)
