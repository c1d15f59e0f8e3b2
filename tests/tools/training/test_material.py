"""What training learns from: cards, descriptors, made-up cards, views and pairs of views."""

import cv2
import numpy as np
import pytest

from edge.errors import DataError
from tests.support.tiny_training import SIDE
from tools.simulation.card_images import read_backgrounds, read_cards
from tools.training.made_up import compose, joined, recolor
from tools.training.material import Dataset
from tools.training.pairs import Pairs, look_alikes
from tools.training.views import DescribedViews, KnownViews, MadeUpCards, hard_view_settings


def test_reprints_share_a_group_and_held_out_cards_are_left_out(data, material):
    cards = read_cards(data)
    groups = dict(zip(cards.card_ids, cards.groups, strict=True))
    assert groups["T1-3"] == groups["T1-4"]
    assert len(set(groups.values())) == 27
    assert set(material.cards.card_sets) == {"T1"}
    assert len(material.cards.card_ids) == 20


def test_training_and_measuring_see_different_backgrounds(data):
    train, measure = (read_backgrounds(data / "negatives", half) for half in (0, 1))
    assert len(train) == len(measure) == 3
    assert not any(np.array_equal(a, b) for a in train for b in measure)


@pytest.mark.parametrize(("text", "message"), [("card_id,name\nA,B\n", "'image' is missing"), ("", "missing")])
def test_a_card_list_without_a_column_names_it(tmp_path, text, message):
    (tmp_path / "cards.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_cards(tmp_path)


def test_holding_everything_out_is_refused(data):
    with pytest.raises(DataError, match="no card is left"):
        Dataset.read(data, ("T1", "T2"))


def test_drawn_cards_join_with_groups_of_their_own_and_leave_the_descriptor_alone(data, material):
    cards = material.cards
    both = Dataset.of(read_cards(data), material.backgrounds, ("T2",), [cards])
    assert len(both.cards.card_ids) == 40
    assert not set(both.cards.groups[:20]) & set(both.cards.groups[20:])
    assert np.array_equal(both.targets[:20], material.targets)
    assert np.array_equal(joined([cards]).groups, cards.groups)


def test_the_descriptor_knows_a_card_again_and_tells_others_apart(material):
    blurred = np.stack([material.descriptor.describe(cv2.GaussianBlur(card, (0, 0), 1.5)) for card in material.cards.pixels])
    assert material.targets.shape == (20, 768)
    assert np.allclose(np.linalg.norm(material.targets, axis=1), 1.0, atol=1e-5)
    assert ((blurred @ material.targets.T).argmax(axis=1) == np.arange(20)).all()


def described(material, side=SIDE, **made_up):
    return DescribedViews(material.cards, material.backgrounds, material.descriptor, side, 1, MadeUpCards(**made_up))


def pairs(material, side=SIDE):
    return Pairs(material.cards, material.backgrounds, material.descriptor, material.targets, side, 7)


def known(material, side=SIDE):
    return KnownViews(material.cards, material.backgrounds, side, 3)


@pytest.mark.parametrize("make", [described, pairs, known])
def test_samples_are_told_apart_by_number_and_the_same_each_time(material, make):
    samples = make(material)
    first, again, other = samples[7], make(material)[7], samples[8]
    assert first[0].shape[-3:] == (SIDE, SIDE, 3)
    assert first[0].dtype == np.uint8
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_made_up_cards_belong_to_no_group(material):
    always, never = described(material, composed=1.0), described(material, composed=0.0, recoloured=0.0, no_card=0.0)
    assert {always[number][2] for number in range(20)} == {-1}
    assert -1 not in {never[number][2] for number in range(20)}


def test_made_up_cards_differ_from_their_parts(material):
    random = np.random.default_rng(0)
    first, second = material.cards.pixels[0], material.cards.pixels[1]
    before = first.copy()
    composed = compose(first, second, random)
    assert np.any(composed != first)
    assert np.any(composed != second)
    assert np.array_equal(first, before)
    assert np.abs(recolor(first, random).astype(int) - first).mean() > 1.0


def test_an_epoch_shows_every_known_card_once_in_another_order_each_time(material):
    samples = known(material)
    first, second = ([samples[number][1] for number in range(start, start + 20)] for start in (0, 20))
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second


def test_look_alikes_are_the_nearest_others(material):
    near = look_alikes(material.targets)
    assert near.shape == (20, 12)
    for row, others in enumerate(near):
        similarities = material.targets @ material.targets[row]
        assert row not in others
        assert similarities[others[0]] == max(np.delete(similarities, row))


def test_cards_of_a_pair_of_samples_are_often_related(material):
    samples = pairs(material)
    rows = [(samples._choose(2 * number), samples._choose(2 * number + 1)) for number in range(400)]
    changed = sum(second.changed and second.row == first.row for first, second in rows)
    near = sum(not second.changed and second.row in look_alikes(material.targets)[first.row] for first, second in rows)
    assert changed == pytest.approx(100, abs=30)
    assert near > 140
    assert not any(first.changed for first, _ in rows)


def test_two_views_of_a_pair_show_one_card_and_made_up_ones_have_no_row(material):
    samples = pairs(material)
    rows = []
    for number in range(30):
        views, target, row = samples[number]
        rows.append(row)
        assert views.shape == (2, SIDE, SIDE, 3)
        assert not np.array_equal(views[0], views[1])
        if row >= 0:
            assert np.array_equal(target, material.targets[row])
    assert -1 in rows
    assert max(rows) >= 0


def test_pairs_have_larger_corner_errors_than_single_views():
    random = np.random.default_rng(0)
    errors = [hard_view_settings(random).corner_error for _ in range(300)]
    assert max(errors) > 0.085
    assert max(errors) <= 0.10
    assert np.mean(np.array(errors) > 0.04) > 0.5
