"""Quads, their overlap, and rectification without a shift of half a pixel."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.vision.card import CARD_SIZE, Point, Quad, Size, common_area, overlap, rectify, whole_image_quad

ROTATIONS = (0, 90, 180, 270)


def box(left, top, right, bottom):
    return Quad(Point(left, top), Point(right, top), Point(right, bottom), Point(left, bottom))


def smooth_image(size, seed=0):
    """An image without fine detail, so that resampling hardly changes it."""
    coarse = np.random.default_rng(seed).integers(0, 255, (7, 5, 3)).astype(np.uint8)
    return cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)


def photographed(card, quad, frame_size):
    """The card as seen in ``quad``, drawn by OpenCV with the same convention: outer corners to outer corners."""
    width, height = card.shape[1], card.shape[0]
    outer = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]], np.float32)
    return cv2.warpPerspective(card, cv2.getPerspectiveTransform(outer, quad.to_array()), frame_size, flags=cv2.INTER_AREA)


@st.composite
def quads(draw, width=400.0, height=400.0):
    """A convex, clockwise quad of a card's proportions, moved, rotated and slightly distorted."""
    angle = draw(st.floats(0.0, 2 * np.pi))
    scale = draw(st.floats(60.0, 160.0))
    corners = np.array([[-0.5, -0.7], [0.5, -0.7], [0.5, 0.7], [-0.5, 0.7]])
    corners += np.array(draw(st.lists(st.floats(-0.12, 0.12), min_size=8, max_size=8))).reshape(4, 2)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    center = np.array([draw(st.floats(0.4, 0.6)) * width, draw(st.floats(0.4, 0.6)) * height])
    return Quad.from_array(corners @ turn * scale + center)


@given(quads())
def test_rotating_keeps_the_outline_and_four_quarter_turns_are_the_identity(quad):
    assert sorted(quad.rotated(90).to_array().tolist()) == sorted(quad.to_array().tolist())
    assert quad.rotated(90).rotated(90) == quad.rotated(180)
    assert quad.rotated(270).rotated(90) == quad
    assert quad.rotated(180).top_left == quad.bottom_right


@given(quads(), st.sampled_from(ROTATIONS))
def test_rotating_changes_neither_area_nor_direction(quad, rotation):
    assert quad.area() > 0.0
    assert quad.rotated(rotation).area() == pytest.approx(quad.area(), rel=1e-5)


@given(quads(), quads())
def test_overlap_is_symmetric_and_in_0_1(first, second):
    value = overlap(first, second)
    assert 0.0 <= value <= 1.0
    assert value == pytest.approx(overlap(second, first), abs=1e-4)


@given(quads(), st.lists(st.floats(-1e-3, 1e-3), min_size=8, max_size=8))
def test_an_outline_overlaps_one_that_nearly_coincides(quad, errors):
    other = Quad.from_array(quad.to_array().astype(np.float64) + np.array(errors).reshape(4, 2))
    assert overlap(quad, other) == pytest.approx(1.0, abs=1e-3)


def test_outlines_that_opencv_takes_for_disjoint_overlap():
    """`cv2.intersectConvexConvex` returns 0 for these (findings/opencv_intersection_of_equal_outlines.sh)."""
    first = [[588.74103, 220.10304], [974.33575, 221.06500], [973.64172, 594.41815], [588.90491, 595.14734]]
    second = [[588.74103, 220.10300], [974.33594, 221.06493], [973.64178, 594.41809], [588.90491, 595.14734]]
    assert overlap(Quad.from_array(first), Quad.from_array(second)) > 0.999


@pytest.mark.parametrize(("shift", "common"), [((0, 0), 8.0), ((1, 0), 4.0), ((1, 2), 2.0), ((2, 0), 0.0), ((5, 5), 0.0)])
def test_the_common_area_of_rectangles(shift, common):
    first = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 4.0], [0.0, 4.0]])
    assert common_area(first, first + shift) == common_area(first, (first + shift)[::-1]) == pytest.approx(common)


@given(quads(), st.sampled_from(ROTATIONS))
def test_a_quad_overlaps_itself_fully_in_any_orientation(quad, rotation):
    assert overlap(quad, quad.rotated(rotation)) == pytest.approx(1.0, abs=1e-3)


def test_overlap_of_boxes_is_intersection_over_union():
    assert overlap(box(0, 0, 100, 100), box(50, 0, 150, 100)) == pytest.approx(1 / 3)
    assert overlap(box(0, 0, 100, 100), box(25, 25, 75, 75)) == pytest.approx(0.25)
    assert overlap(box(0, 0, 100, 100), box(200, 0, 300, 100)) == 0.0


def test_overlap_of_quads_without_area_is_0():
    assert overlap(box(5, 5, 5, 5), box(5, 5, 5, 5)) == 0.0


def test_corners_survive_conversion_to_an_array():
    quad = Quad(Point(1, 2), Point(30.5, 3), Point(31, 50.25), Point(0, 49))
    assert Quad.from_array(quad.to_array()) == quad


@given(quads())
@settings(max_examples=25, deadline=None)
def test_rectify_inverts_the_camera(quad):
    card = smooth_image(CARD_SIZE)
    seen = rectify(photographed(card, quad, (400, 400)), quad)
    inner = np.s_[12:-12, 12:-12]
    assert np.abs(seen[inner].astype(int) - card[inner]).mean() < 6.0


@given(quads())
@settings(max_examples=25, deadline=None)
def test_the_opposite_orientation_rotates_the_image(quad):
    frame = smooth_image((400, 400), seed=3)
    upright, turned = rectify(frame, quad), rectify(frame, quad.rotated(180))
    assert np.abs(upright.astype(int) - turned[::-1, ::-1]).max() <= 3


def test_an_image_that_is_the_card_is_unchanged():
    card = np.random.default_rng(1).integers(0, 255, (CARD_SIZE.height, CARD_SIZE.width, 3)).astype(np.uint8)
    image = rectify(card, whole_image_quad(card))
    assert np.array_equal(image, card)


@pytest.mark.parametrize("size", [CARD_SIZE, Size(126, 176), Size(16, 22)])
def test_the_result_has_the_requested_size_and_is_contiguous(size):
    image = rectify(smooth_image((640, 360)), box(100, 20, 300, 300), size)
    assert image.shape == (size.height, size.width, 3)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous


def test_large_cards_are_averaged():
    fine = np.indices((1408, 1008)).sum(axis=0) % 2 * 255
    checkered = np.repeat(fine[..., None], 3, axis=2).astype(np.uint8)
    seen = rectify(checkered, whole_image_quad(checkered))
    assert np.abs(seen.astype(int) - 127).max() <= 2


def test_a_card_partly_outside_of_the_frame_repeats_the_border():
    frame = np.full((200, 200, 3), 80, np.uint8)
    assert np.array_equal(rectify(frame, box(-60, -90, 120, 160)), np.full((352, 252, 3), 80, np.uint8))
