"""What layouts at large share: a lone card of a layout is told from its siblings without any of them in the index."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from edge.recognition.gallery import Card, Gallery
from edge.recognition.model import find_model, read_evidence
from edge.recognition.model_evidence import EVIDENCE_FILE
from edge.recognition.neighbors import CardId, Neighbor
from edge.recognition.patches import PATCH_COLUMNS, PATCH_ROWS, appearance, patch_weights
from edge.recognition.verification import PreparedReference, compare_pixels, signature_of
from edge.vision.card import CardImage
from tools.drawing.cards import over_white
from tools.drawing.layout import draw_card
from tools.drawing.spec import card_spec
from tools.evaluation.background import drawn_layouts, fit_background
from tools.simulation.camera import PRESETS, degrade

SIBLINGS = 4


@pytest.fixture(scope="module")
def background():
    """The knowledge about layouts of the model that is shipped."""
    return read_evidence(find_model(None) / EVIDENCE_FILE).background


def of_layout(layout, count):
    return [
        over_white(draw_card(spec)) for spec in islice((s for s in (card_spec(77, n) for n in range(400)) if s.layout == layout), count)
    ]


def agreement(card, view, background):
    """The agreement of a view with the only card of an index."""
    card_id = CardId("lone")
    gallery = Gallery({card_id: Card(card_id, "Lone", "art")}, (card_id,), signature_of(card)[np.newaxis])
    near = (Neighbor(0, card_id, 0.5),)
    (compared,) = compare_pixels([(CardImage(0, 0, view), near)], gallery, background)
    return compared.agreement


@pytest.mark.parametrize("layout", ["creature", "spell", "tall"])
def test_a_lone_card_does_not_agree_with_its_siblings(background, layout):
    lone, *siblings = of_layout(layout, 1 + SIBLINGS)
    views = [degrade(card, PRESETS["camera-4"], np.random.default_rng([5, number])) for number, card in enumerate([lone, *siblings])]
    own, *others = (agreement(lone, view, background) for view in views)
    assert own > 0.8
    assert np.median(others) < 0.65
    assert max(others) < own - 0.1
    by_frame = [agreement(lone, view, None) for view in views[1:]]
    assert np.median(by_frame) > np.median(others) + 0.1  # the frame alone would count as evidence


def test_frames_and_bars_of_layouts_never_seen_are_known_as_shared(background):
    """The middle of the illustration tells a card of a framed layout, its border does not."""
    for card in of_layout("creature", 4):
        shared = background.shared(PreparedReference(signature_of(card)).patches).reshape(PATCH_ROWS, PATCH_COLUMNS)
        border = np.concatenate([shared[0], shared[-1], shared[:, 0], shared[:, -1]])
        assert shared[1:4, 1:-1].mean() < 0.5 * border.mean()
        assert np.all((shared > 0.0) & (shared < 1.0))


def test_similar_cards_of_the_index_count_beside_the_background(background):
    first, twin = of_layout("spell", 2)
    own, other = (PreparedReference(signature_of(card)).patches for card in (first, twin))
    alone, both = patch_weights(own, [], background), patch_weights(own, [other], background)
    assert np.all(both <= alone)
    assert patch_weights(own, [own], background).mean() < 0.01


def test_the_mirrored_card_has_the_mirrored_appearance():
    patches = PreparedReference(signature_of(of_layout("creature", 1)[0])).patches
    mirrored = patches.reshape(PATCH_ROWS, PATCH_COLUMNS, 6, 6)[:, ::-1, :, ::-1].reshape(patches.shape)
    expected = appearance(patches).reshape(PATCH_ROWS, PATCH_COLUMNS, -1)[:, ::-1].reshape(patches.shape[0], -1)
    assert np.allclose(appearance(mirrored), expected, atol=1e-5)


def test_fitting_learns_what_the_cards_of_a_layout_share():
    learned = fit_background(drawn_layouts(8, seed=5000))
    errors, guesses = [], []
    for cards in drawn_layouts(3, seed=9000):
        own, *others = (PreparedReference(signature_of(card)).patches for card in cards)
        shared = np.clip([np.sum(own * other, axis=1) / own.shape[1] for other in others], 0.0, 1.0).mean(axis=0)
        errors.append(np.abs(learned.shared(own) - shared).mean())
        guesses.append(np.abs(shared.mean() - shared).mean())
    assert np.mean(errors) < 0.9 * np.mean(guesses)


def test_nothing_known_about_layouts_changes_nothing(background):
    ignorant = replace(background, places=np.full_like(background.places, -50.0), slopes=np.zeros_like(background.slopes))
    own, other = (PreparedReference(signature_of(card)).patches for card in of_layout("creature", 2))
    assert np.allclose(patch_weights(own, [other], ignorant), patch_weights(own, [other], None))
