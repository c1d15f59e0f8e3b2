"""Poses of known rectangles seen by a known camera."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.vision.card import Size
from edge.vision.pose import CardShape, areas, estimate_poses
from tests.vision.test_locate import seen_from

FRAME = Size(1280, 720)
FOCAL_PX = 1088.0


def shape(tolerance=0.06):
    return CardShape(FRAME, FOCAL_PX, min_height_px=80.0, tolerance=tolerance)


@given(
    x=st.floats(300, 980),
    y=st.floats(200, 520),
    turn=st.floats(0, 360),
    tilt=st.floats(5, 50),
    axis=st.floats(0, 360),
    height=st.floats(120, 500),
)
def test_ratio_and_tilt_of_a_card_are_recovered(x, y, turn, tilt, axis, height):
    # the center of a pixel is at whole numbers, so the principal point is half a pixel off the middle of the frame
    quad = seen_from(x, y, height, turn_deg=turn, tilt_deg=tilt, axis_deg=axis, focal_px=FOCAL_PX).to_array()[None].astype(float) - 0.5
    poses = estimate_poses(quad, FRAME, FOCAL_PX)
    assert poses.ratio[0] == pytest.approx(63 / 88, rel=2e-2)
    assert abs(poses.skew[0]) < 2e-2
    assert np.degrees(np.arcsin(poses.tilt_sine[0])) == pytest.approx(tilt, abs=1.0)


def test_starting_at_the_next_corner_inverts_the_ratio():
    quad = seen_from(700, 300, 300, turn_deg=30, tilt_deg=25).to_array()
    poses = estimate_poses(np.stack([quad, np.roll(quad, -1, axis=0)]), FRAME, FOCAL_PX)
    assert poses.ratio[0] * poses.ratio[1] == pytest.approx(1.0, rel=1e-3)


@given(turn=st.floats(0, 360), tilt=st.floats(0, 45), axis=st.floats(0, 360), height=st.floats(120, 420))
def test_cards_fit_in_any_pose(turn, tilt, axis, height):
    quad = seen_from(640, 360, height, turn_deg=turn, tilt_deg=tilt, axis_deg=axis).to_array()
    assert shape().fits(quad[None], leniency=1.0)[0]


@pytest.mark.parametrize(
    "corners",
    [
        [[300, 200], [600, 200], [600, 500], [300, 500]],  # square
        [[300, 300], [900, 300], [900, 500], [300, 500]],  # 3:1
        [[400, 200], [640, 200], [840, 520], [600, 520]],  # sheared, but not tilted
        [[300, 500], [600, 500], [600, 80], [300, 80]],  # counterclockwise
        [[10, 10], [40, 10], [40, 52], [10, 52]],  # too small
        [[-200, 200], [100, 200], [100, 620], [-200, 620]],  # mostly outside of the frame
    ],
)
def test_other_quads_do_not_fit(corners):
    assert not shape().fits(np.array([corners], dtype=np.float32), leniency=1.0)[0]


def test_areas_are_signed():
    square = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], dtype=np.float32)
    assert areas(np.stack([square, square[::-1]])).tolist() == [100.0, -100.0]
