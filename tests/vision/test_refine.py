"""Corners refined on the card's own edge."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.vision.card import CARD_HEIGHT_MM, Quad
from edge.vision.refine import MAX_MOVE_MM, refine_corners
from tests.vision.test_locate import BLUE, DARK, GREEN, corner_error, drawn_card, scene, seen_from


def proposed(quad, error, seed):
    """The outline as a network would propose it: each corner off by up to ``error`` of the card's height in x and y."""
    height = np.sqrt(quad.area() * 88 / 63)
    shifts = np.random.default_rng(seed).uniform(-error, error, (1, 4, 2)) * height
    return (quad.to_array()[None] + shifts).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ground", [DARK, GREEN, BLUE])
def test_corners_become_exact(ground, seed):
    quad = seen_from(600, 380, 300, turn_deg=70 * seed, tilt_deg=15 * seed, axis_deg=50 * seed)
    start = proposed(quad, 0.02, seed)
    refined = refine_corners(scene(ground, [(drawn_card(seed), quad)], seed=seed), start)
    assert corner_error(Quad.from_array(refined[0]), quad) < 0.005


def sleeved(quad, margin_mm, color, ground, seed):
    """A card in a sleeve: a border of another color around it, with an edge of its own."""
    corners = quad.to_array().astype(np.float64)
    center = corners.mean(axis=0)
    sleeve = Quad.from_array(center + (corners - center) * (1.0 + 2.0 * margin_mm / 63.0))
    plain = np.zeros((110, 80, 4), np.uint8)
    plain[...] = (*color, 255)
    return scene(ground, [(plain, sleeve), (drawn_card(seed), quad)], seed=seed)


@pytest.mark.parametrize("seed", range(2))
def test_the_edge_of_a_sleeve_is_not_taken_for_the_card(seed):
    quad = seen_from(640, 360, 340, turn_deg=20 * seed)
    pixels = sleeved(quad, 2.0, (200, 205, 215), DARK, seed)
    refined = refine_corners(pixels, proposed(quad, 0.008, seed))
    assert corner_error(Quad.from_array(refined[0]), quad) < 0.01


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 0.08))
def test_no_corner_ever_moves_far(seed, error):
    quad = seen_from(600, 380, 200, turn_deg=seed % 360)
    pixels = np.random.default_rng(seed).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    start = proposed(quad, error, seed)
    moved = np.linalg.norm(refine_corners(pixels, start) - start, axis=2)
    scale = np.sqrt(Quad.from_array(start[0]).area() / (63 * CARD_HEIGHT_MM))
    assert moved.max() <= MAX_MOVE_MM * scale * 1.01


def test_without_edges_the_proposal_stays():
    start = proposed(seen_from(600, 380, 200), 0.03, 1)
    assert np.allclose(refine_corners(np.full((720, 1280, 3), 90, np.uint8), start), start, atol=1e-2)
    assert refine_corners(np.zeros((9, 9, 3), np.uint8), np.empty((0, 4, 2), np.float32)).shape == (0, 4, 2)
