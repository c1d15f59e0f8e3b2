"""How many entries a picture is compared with, and what a covered, an unknown and an upside-down card come to."""

import numpy as np
import pytest

from edge.recognition.comparison import COMPARED, COMPARED_IN_DOUBT, COMPARED_WHEN_CLEAR, DOUBTFUL_AGREEMENT, Reading, compare
from edge.recognition.decision import AcceptanceThresholds, rank
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import CardId, Neighbor
from edge.recognition.verification import signature_of
from edge.vision.card import CARD_SIZE
from tools.drawing.cards import over_white
from tools.drawing.layout import draw_card
from tools.drawing.spec import card_spec

COUNT = 20
WEIGHTS = AcceptanceThresholds().weights


@pytest.fixture(scope="module")
def pictures():
    return [over_white(draw_card(card_spec(31, index))) for index in range(COUNT + 1)]


@pytest.fixture(scope="module")
def gallery(pictures):
    """All pictures but the last are indexed."""
    ids = tuple(CardId(f"c{index:02}") for index in range(COUNT))
    cards = {card_id: Card(card_id, card_id, f"art-{card_id}") for card_id in ids}
    return Gallery(cards, ids, np.stack([signature_of(picture) for picture in pictures[:COUNT]]))


def neighbors(gallery, *, first):
    """All entries, ``first`` foremost, as if they were ever less similar."""
    order = [first, *(entry for entry in range(COUNT) if entry != first)]
    return tuple(Neighbor(entry, gallery.entry_card_ids[entry], 0.6 - 0.02 * place) for place, entry in enumerate(order))


def readings(picture, near):
    return [(Reading(0, 0, picture), near), (Reading(0, 180, np.ascontiguousarray(picture[::-1, ::-1])), ())]


def with_finger(picture, share):
    """A thumb across the lower half, from the left edge, over ``share`` of the card."""
    covered = picture.copy()
    top, height = round(0.5 * CARD_SIZE.height), round(share * CARD_SIZE.height / 0.8)
    covered[top : top + height, : round(0.8 * CARD_SIZE.width)] = (205, 160, 130)
    return covered


def test_a_clear_card_is_compared_with_few_entries(pictures, gallery):
    compared = compare(readings(pictures[4], neighbors(gallery, first=4)), gallery)
    assert len(compared) == COMPARED_WHEN_CLEAR
    assert compared[0].card_id == "c04"
    assert compared[0].agreement > 0.9


def test_a_picture_that_fits_nothing_is_compared_with_more(pictures, gallery):
    blank = np.full_like(pictures[0], 128)
    assert len(compare(readings(blank, neighbors(gallery, first=0)), gallery)) == COMPARED_IN_DOUBT


def test_the_true_card_is_found_behind_many_others(pictures, gallery):
    """Where a bad outline spoils the embedding: the true card stands ninth."""
    near = neighbors(gallery, first=4)
    near = tuple(Neighbor(each.entry, each.card_id, 0.6 - 0.02 * place) for place, each in enumerate([*near[1:9], near[0], *near[9:]]))
    compared = compare(readings(pictures[4], near), gallery)
    best = max(compared, key=lambda comparison: comparison.agreement)
    assert max(comparison.agreement for comparison in compared[:COMPARED]) < DOUBTFUL_AGREEMENT
    assert best.card_id == "c04"


def test_no_neighbours_no_comparisons(pictures, gallery):
    assert compare(readings(pictures[0], ()), gallery) == ()


def test_a_finger_over_30_percent_of_the_card_costs_little(pictures, gallery):
    for index in (0, 7, 12):
        near = neighbors(gallery, first=index)
        whole = compare(readings(pictures[index], near), gallery)[0]
        covered = compare(readings(with_finger(pictures[index], 0.3), near), gallery)[0]
        assert covered.agreement > whole.agreement - 0.08
        best = rank(compare(readings(with_finger(pictures[index], 0.3), near), gallery), WEIGHTS)[0]
        assert best.card_id == gallery.entry_card_ids[index]
        assert best.verification > AcceptanceThresholds().min_verification


def test_an_unknown_card_of_the_same_layout_is_refused(pictures, gallery):
    for first in range(0, COUNT, 4):
        best = rank(compare(readings(pictures[COUNT], neighbors(gallery, first=first)), gallery), WEIGHTS)[0]
        assert best.verification < AcceptanceThresholds().min_verification


def test_the_reading_that_fits_tells_the_way_up(pictures, gallery):
    turned = np.ascontiguousarray(pictures[3][::-1, ::-1])
    near = neighbors(gallery, first=3)
    both = [(Reading(0, 0, turned), near), (Reading(0, 180, pictures[3]), near)]
    best = rank(compare(both, gallery), WEIGHTS)[0]
    assert (best.card_id, best.rotation) == ("c03", 180)


def test_the_order_of_the_readings_does_not_matter(pictures, gallery):
    near = neighbors(gallery, first=5)
    both = [(Reading(0, 0, pictures[5]), near), (Reading(0, 180, np.ascontiguousarray(pictures[5][::-1, ::-1])), near)]
    assert compare(both, gallery) == compare(both[::-1], gallery)
