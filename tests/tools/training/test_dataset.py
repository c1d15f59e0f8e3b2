"""The data of a training run: cards, descriptors, made-up cards, views and pairs of views."""

import cv2
import numpy as np
import pytest

from edge.errors import DataError
from tests.support.tiny_training import SIDE
from tools.simulation.card_images import read_backgrounds, read_cards
from tools.training.dataset import Dataset
from tools.training.made_up import compose, concatenate, recolor
from tools.training.pairs import Pairs, similar_cards
from tools.training.views import DescribedViews, KnownViews, MadeUpCards, hard_view_settings


def test_reprints_share_a_group_and_held_out_cards_are_left_out(data, dataset):
    cards = read_cards(data)
    groups = dict(zip(cards.card_ids, cards.groups, strict=True))
    assert groups["T1-3"] == groups["T1-4"]
    assert len(set(groups.values())) == 27
    assert set(dataset.cards.card_sets) == {"T1"}
    assert len(dataset.cards.card_ids) == 20


def test_training_and_measuring_see_different_backgrounds(data):
    train, measure = (read_backgrounds(data / "negatives", half) for half in (0, 1))
    assert len(train) == len(measure) == 3
    assert not any(np.array_equal(a, b) for a in train for b in measure)


@pytest.mark.parametrize(("text", "message"), [("card_id,name\nA,B\n", "'image' is missing"), ("", "missing")])
def test_a_missing_column_is_named(tmp_path, text, message):
    (tmp_path / "cards.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_cards(tmp_path)


def test_holding_out_all_sets_is_refused(data):
    with pytest.raises(DataError, match="no card is left"):
        Dataset.read(data, ("T1", "T2"))


def test_drawn_cards_have_their_own_groups_and_do_not_change_the_descriptor(data, dataset):
    cards = dataset.cards
    both = Dataset.of(read_cards(data), dataset.backgrounds, ("T2",), [cards])
    assert len(both.cards.card_ids) == 40
    assert not set(both.cards.groups[:20]) & set(both.cards.groups[20:])
    assert np.array_equal(both.targets[:20], dataset.targets)
    assert np.array_equal(concatenate([cards]).groups, cards.groups)


def test_the_descriptor_identifies_blurred_cards(dataset):
    blurred = np.stack([dataset.descriptor.describe(cv2.GaussianBlur(card, (0, 0), 1.5)) for card in dataset.cards.pixels])
    assert dataset.targets.shape == (20, 768)
    assert np.allclose(np.linalg.norm(dataset.targets, axis=1), 1.0, atol=1e-5)
    assert ((blurred @ dataset.targets.T).argmax(axis=1) == np.arange(20)).all()


def described(dataset, side=SIDE, **made_up):
    return DescribedViews(dataset.cards, dataset.backgrounds, dataset.descriptor, side, 1, MadeUpCards(**made_up))


def pairs(dataset, side=SIDE):
    return Pairs(dataset.cards, dataset.backgrounds, dataset.descriptor, dataset.targets, side, 7)


def known(dataset, side=SIDE):
    return KnownViews(dataset.cards, dataset.backgrounds, side, 3)


@pytest.mark.parametrize("make", [described, pairs, known])
def test_samples_depend_on_their_number_only(dataset, make):
    samples = make(dataset)
    first, again, other = samples[7], make(dataset)[7], samples[8]
    assert first[0].shape[-3:] == (SIDE, SIDE, 3)
    assert first[0].dtype == np.uint8
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_made_up_cards_belong_to_no_group(dataset):
    always, never = described(dataset, composed=1.0), described(dataset, composed=0.0, recoloured=0.0, no_card=0.0)
    assert {always[number][2] for number in range(20)} == {-1}
    assert -1 not in {never[number][2] for number in range(20)}


def test_made_up_cards_differ_from_their_parts(dataset):
    random = np.random.default_rng(0)
    first, second = dataset.cards.pixels[0], dataset.cards.pixels[1]
    before = first.copy()
    composed = compose(first, second, random)
    assert np.any(composed != first)
    assert np.any(composed != second)
    assert np.array_equal(first, before)
    assert np.abs(recolor(first, random).astype(int) - first).mean() > 1.0


def test_each_epoch_shows_every_known_card_once_in_a_new_order(dataset):
    samples = known(dataset)
    first, second = ([samples[number][1] for number in range(start, start + 20)] for start in (0, 20))
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second


def test_similar_cards_are_the_nearest_others(dataset):
    near = similar_cards(dataset.targets)
    assert near.shape == (20, 12)
    for row, others in enumerate(near):
        similarities = dataset.targets @ dataset.targets[row]
        assert row not in others
        assert similarities[others[0]] == max(np.delete(similarities, row))


def test_cards_of_a_pair_of_samples_are_often_related(dataset):
    samples = pairs(dataset)
    rows = [(samples._choose(2 * number), samples._choose(2 * number + 1)) for number in range(400)]
    changed = sum(second.changed and second.row == first.row for first, second in rows)
    near = sum(not second.changed and second.row in similar_cards(dataset.targets)[first.row] for first, second in rows)
    assert changed == pytest.approx(100, abs=30)
    assert near > 140
    assert not any(first.changed for first, _ in rows)


def test_two_views_of_a_pair_show_one_card_and_made_up_ones_have_no_row(dataset):
    samples = pairs(dataset)
    rows = []
    for number in range(30):
        views, target, row = samples[number]
        rows.append(row)
        assert views.shape == (2, SIDE, SIDE, 3)
        assert not np.array_equal(views[0], views[1])
        if row >= 0:
            assert np.array_equal(target, dataset.targets[row])
    assert -1 in rows
    assert max(rows) >= 0


def test_pairs_have_larger_corner_errors_than_single_views():
    random = np.random.default_rng(0)
    errors = [hard_view_settings(random).corner_error for _ in range(300)]
    assert max(errors) > 0.085
    assert max(errors) <= 0.10
    assert np.mean(np.array(errors) > 0.04) > 0.5
