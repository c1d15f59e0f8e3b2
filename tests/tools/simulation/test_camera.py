from dataclasses import replace

import numpy as np
import pytest

from edge.vision.card import CARD_SIZE, Size, overlap, rectify
from tools.simulation.camera import PRESETS, CardPose, ViewSettings, degrade, photograph, pose_quad, training_view_settings
from tools.simulation.effects import motion_blur, occlude, to_uint8

GREEN = np.array([30, 160, 60])
STILL = ViewSettings(
    corner_error=0.0,
    seen_width_px=(252, 252),
    focus_sigma_px=(0, 0),
    light=(0, 0),
    cast=0.0,
    gamma=(1, 1),
    contrast=(1, 1),
    brightness=(1, 1),
    noise_sigma=(0, 0),
    jpeg_quality=(100, 100),
)


@pytest.fixture
def card():
    """A card with four quarters of different colors and lines, so that every misplacement is visible."""
    image = np.zeros((CARD_SIZE.height, CARD_SIZE.width, 3), np.uint8)
    image[:176, :126], image[:176, 126:] = (200, 40, 40), (40, 40, 200)
    image[176:, :126], image[176:, 126:] = (220, 220, 60), (60, 200, 200)
    image[60:64], image[:, 90:94] = 20, 235
    return image


@pytest.fixture
def background():
    return np.broadcast_to(GREEN.astype(np.uint8), (720, 1280, 3)).copy()


def inner(image, part=0.2):
    height, width = image.shape[:2]
    return image[int(part * height) : int((1 - part) * height), int(part * width) : int((1 - part) * width)]


def difference(first, second):
    return float(np.abs(first.astype(float) - second.astype(float)).mean())


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_equal_seeds_give_equal_views_and_other_seeds_others(card, background, name):
    first, again, other = (degrade(card, PRESETS[name], np.random.default_rng(seed), background) for seed in (5, 5, 6))
    assert first.shape == (CARD_SIZE.height, CARD_SIZE.width, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_card_given_is_not_changed(card, background):
    before = card.copy()
    degrade(card, PRESETS["occluded-35"], np.random.default_rng(0), background)
    assert np.array_equal(card, before)


def test_a_perfect_camera_changes_only_the_rounded_corners(card, background):
    view = degrade(card, STILL, np.random.default_rng(0), background)
    assert difference(inner(view, 0.05), inner(card, 0.05)) < 2.0
    assert np.abs(view[0, 0] - GREEN).max() < 12


def test_corner_errors_show_background_or_crop_the_card(card, background):
    settings = replace(STILL, corner_error=0.08)
    shown = [
        np.abs(degrade(card, settings, np.random.default_rng(seed), background).astype(int) - GREEN).max(axis=2) < 12 for seed in range(20)
    ]
    shares = [float(mask.mean()) for mask in shown]
    assert max(shares) > 0.02
    assert max(shares) < 0.16


def test_stronger_presets_differ_more_from_the_card(card, background):
    def mean(name):
        views = [degrade(card, PRESETS[name], np.random.default_rng(seed), background) for seed in range(12)]
        return float(np.mean([difference(view, card) for view in views]))

    assert mean("clean") < mean("camera-4") < mean("hard-light-glare-6")
    assert mean("occluded-20") < mean("occluded-35")


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.35])
def test_the_covered_share_is_the_requested_one(fraction):
    blank = np.full((352, 252, 3), -1000.0, np.float32)
    covered = [float((occlude(blank, fraction, np.random.default_rng(seed)) > -999).all(axis=2).mean()) for seed in range(40)]
    assert np.mean(covered) == pytest.approx(fraction, abs=0.04)
    assert max(covered) < fraction + 0.12


def test_any_output_size_is_possible_and_small_views_lose_detail(card, background):
    assert degrade(card, PRESETS["camera-4"], np.random.default_rng(0), background, Size(96, 96)).shape == (96, 96, 3)
    assert degrade(card[::4, ::4], PRESETS["clean"], np.random.default_rng(0)).shape[:2] == (CARD_SIZE.height, CARD_SIZE.width)


def test_training_views_differ_in_strength():
    random = np.random.default_rng(0)
    errors = [training_view_settings(random).corner_error for _ in range(200)]
    assert min(errors) < 0.015
    assert max(errors) > 0.07
    assert max(errors) <= 0.08


def test_a_pose_without_tilt_is_a_rectangle_of_the_card_s_size():
    quad = pose_quad(CardPose(640, 360, 4.0))
    assert np.allclose(quad.to_array(), [[514, 184], [766, 184], [766, 536], [514, 536]], atol=1e-3)


def test_roll_turns_clockwise_as_seen():
    quad = pose_quad(CardPose(0, 0, 1.0, roll_deg=90))
    assert np.allclose(quad.to_array()[0], [44, -31.5], atol=1e-3)
    assert quad.area() > 0


def test_tilt_shortens_one_direction_and_brings_one_side_nearer():
    quad = pose_quad(CardPose(0, 0, 4.0, tilt_deg=40, tilt_axis_deg=0)).to_array()
    height = np.linalg.norm(quad[3] - quad[0])
    widths = sorted(np.linalg.norm(a - b) for a, b in ((quad[0], quad[1]), (quad[3], quad[2])))
    assert height < 352 * 0.85
    assert widths[1] > widths[0] * 1.05


@pytest.mark.parametrize("pose", [CardPose(500, 350, 4.0, 25), CardPose(700, 300, 3.0, 200, 40, 30), CardPose(640, 360, 2.0, 90, 30, 120)])
def test_rectifying_a_photo_by_its_true_outline_returns_the_card(card, background, pose):
    photo, (quad,) = photograph([(card, pose)], background, STILL, np.random.default_rng(0))
    assert photo.shape == background.shape
    assert difference(inner(rectify(photo, quad), 0.08), inner(card, 0.08)) < 12.0


def test_a_later_card_covers_earlier_ones(card, background):
    below, above = CardPose(600, 360, 3.0), CardPose(640, 360, 3.0)
    photo, quads = photograph([(card, below), (255 - card, above)], background, STILL, np.random.default_rng(0))
    assert difference(inner(rectify(photo, quads[1])), inner(255 - card)) < 12.0
    assert overlap(*quads) > 0.3


def test_motion_blur_keeps_the_brightness_and_blurs_along_its_direction():
    spot = np.zeros((41, 41, 3), np.float32)
    spot[20, 20] = 200.0
    smeared = motion_blur(spot, 9.0, 0.0)
    assert smeared.sum() == pytest.approx(spot.sum(), rel=1e-4)
    assert smeared[20, :, 0].sum() == pytest.approx(200.0, rel=1e-4)
    assert (smeared[20, :, 0] > 1.0).sum() >= 8


def test_rounding_clips():
    assert to_uint8(np.array([[[-5.0, 127.4, 300.0]]], np.float32)).tolist() == [[[0, 127, 255]]]
