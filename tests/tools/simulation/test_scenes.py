"""Composed scenes: the outlines are where the cards were laid, in their own order, and hidden cards are known to be hidden."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.vision.card import Quad, overlap, rectify
from tests.support.scene_material import PHOTO_CARD, drawn_material, drawn_photo
from tools.simulation.scenes import compose as compose_module
from tools.simulation.scenes.arrangements import Arrangement, Slot, any_arrangement
from tools.simulation.scenes.compose import camera_homography, compose
from tools.simulation.scenes.items import Surface, bare_card
from tools.simulation.scenes.photo_views import photo_view, share_inside
from tools.simulation.scenes.surfaces import HEIGHT, WIDTH

SIZE = (192, 144)
MATERIAL = drawn_material()
COLORS = ((255, 0, 0), (0, 255, 0), (255, 255, 0), (0, 0, 255))


def quartered():
    """Return a card whose quarters have the four ``COLORS``, from the top left to the bottom right."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    colors = iter(COLORS)
    for rows in (slice(0, HEIGHT // 2), slice(HEIGHT // 2, HEIGHT)):
        for columns in (slice(0, WIDTH // 2), slice(WIDTH // 2, WIDTH)):
            pixels[rows, columns] = next(colors)
    return Surface(pixels)


@pytest.fixture
def plain(monkeypatch):
    """Show every card as ``quartered``, without any effect of light, lens and sensor."""
    monkeypatch.setattr(compose_module, "any_surface", lambda *_: quartered())
    monkeypatch.setattr(compose_module, "finished", lambda pixels, _: np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("holder", ["bare", "square", "sleeve", "toploader", "slab"])
@pytest.mark.parametrize("turn", [0.0, 65.0, 180.0])
def test_the_outline_starts_at_the_cards_own_top_left_corner(plain, monkeypatch, holder, turn):
    monkeypatch.setattr("tools.simulation.scenes.holders._shine", lambda item, *_: item)
    plan = Arrangement((Slot(0.0, 0.0, turn, holder),), 160.0, 160.0)
    for seed in range(3):
        scene = compose(MATERIAL, np.random.default_rng(seed), *SIZE, plan)
        (card,) = scene.cards
        seen = rectify(scene.pixels, Quad.from_array(card.corners)).astype(int)
        middles = np.array([seen[88, 63], seen[88, 189], seen[264, 63], seen[264, 189]])
        assert np.abs(middles - np.array(COLORS)).max() < 60


def test_shares_are_those_that_other_cards_and_the_edge_of_the_frame_leave(plain, monkeypatch):
    monkeypatch.setattr(compose_module, "_any_camera", lambda *_: camera_homography(0.7, 0.0, 0.0, 0.0, 2000.0, (96.0, 72.0)))
    # the second covers half of the first, the edge of the frame cuts the third in two, the last is outside
    places = ((0.0, 0.0), (0.0, 44.0), (-138.0, 0.0), (300.0, 0.0))
    plan = Arrangement(tuple(Slot(x, y, 0.0, "square") for x, y in places), 300.0, 200.0)
    cards = compose(MATERIAL, np.random.default_rng(4), *SIZE, plan).cards
    assert [round(card.visible, 1) for card in cards] == [0.5, 1.0, 0.5]


def test_scenes_depend_on_the_seed_alone():
    first, again, other = (compose(MATERIAL, np.random.default_rng(seed), *SIZE) for seed in (5, 5, 6))
    assert np.array_equal(first.pixels, again.pixels)
    assert [card.corners.tolist() for card in first.cards] == [card.corners.tolist() for card in again.cards]
    assert not np.array_equal(first.pixels, other.pixels)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_every_scene_has_clockwise_outlines_and_shares(seed):
    rng = np.random.default_rng(seed)
    scene = compose(MATERIAL, rng, *SIZE, any_arrangement(rng))
    assert scene.pixels.shape == (*SIZE[::-1], 3)
    for card in scene.cards:
        assert 0.0 < card.visible <= 1.0
        assert Quad.from_array(card.corners).area() > 0.0


def test_a_view_of_a_photo_moves_the_outline_with_the_card(monkeypatch):
    monkeypatch.setattr("tools.simulation.scenes.photo_views.finished", lambda pixels, _: np.clip(pixels, 0, 255).astype(np.uint8))
    reference = rectify(drawn_photo().pixels, Quad.from_array(PHOTO_CARD)).astype(int)
    shown = 0
    for seed in range(20):
        scene = photo_view(drawn_photo(), MATERIAL, np.random.default_rng(seed), *SIZE)
        for card in scene.cards:
            if card.visible < 0.999 or Quad.from_array(card.corners).area() < 2500.0:
                continue
            seen = rectify(scene.pixels, Quad.from_array(card.corners)).astype(int)
            same = np.abs(seen[30:-30, 30:-30] - reference[30:-30, 30:-30]).mean() < 25.0
            shown += same
    assert shown >= 3  # the others had another card laid in its place


def test_share_inside_a_frame():
    half = np.array([[-10.5, -0.5], [9.5, -0.5], [9.5, 19.5], [-10.5, 19.5]], dtype=np.float32)
    assert share_inside(half, 100, 100) == pytest.approx(0.5, abs=0.01)


def test_a_bare_card_keeps_the_form_of_a_card():
    shapes = {bare_card(quartered(), 2.0, np.random.default_rng(seed)).opacity.shape for seed in range(40)}
    assert shapes == {(176, 126), (172, 118)}
    whole = Quad.from_array([[0, 0], [63, 0], [63, 88], [0, 88]])
    assert overlap(whole, whole) == 1.0
