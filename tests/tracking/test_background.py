"""The static background: which outlines are left out, and which never are."""

import cv2
import numpy as np
import pytest

from edge.tracking.background import BackgroundPolicy, StaticBackground
from edge.vision.card import LocatedCard, Point, Quad

S = 1_000_000_000
TENTH = S // 10


def quad_at(x, y):
    return Quad(Point(x, y), Point(x + 126, y), Point(x + 126, y + 176), Point(x, y + 176))


SLOT = quad_at(100, 80)
ELSEWHERE = quad_at(400, 90)


def located(*quads):
    return tuple(LocatedCard(quad, (0, 180), 100.0) for quad in quads)


def mat(*, light=1.0, noise_seed=None):
    """A gray mat with a frame printed on it."""
    pixels = np.full((360, 640, 3), 90.0)
    cv2.rectangle(pixels, (100, 80), (226, 256), (150, 150, 150), 2)
    if noise_seed is not None:
        pixels += np.random.default_rng(noise_seed).normal(0, 3, pixels.shape)
    return np.clip(pixels * light, 0, 255).astype(np.uint8)


def with_card(pixels, quad, seed):
    """Return the pixels with a patterned card exactly in a quad."""
    pixels = pixels.copy()
    blocks = np.random.default_rng(seed).integers(0, 255, (11, 8, 3)).astype(np.uint8)
    x, y = round(quad.top_left.x), round(quad.top_left.y)
    pixels[y : y + 176, x : x + 126] = cv2.resize(blocks, (126, 176), interpolation=cv2.INTER_NEAREST)
    return pixels


def after_start(pixels, quads, *, refused=(), recognized=(), seconds=1.5):
    """Return the background after some seconds of one scene, with three decisions about each outline."""
    background = StaticBackground()
    for number in range(round(seconds * 10)):
        background = background.with_frame(pixels, located(*quads), number * TENTH)
        if number in {3, 6, 9}:
            for quad in refused:
                background = background.with_refusal(quad)
            for quad in recognized:
                background = background.with_recognition(quad)
    return background


def test_a_printed_frame_is_left_out_after_the_first_second():
    background = after_start(mat(), [SLOT], refused=[SLOT])
    assert background.foreground(mat(), located(SLOT)) == ()


def test_nothing_is_left_out_during_the_first_second():
    background = after_start(mat(), [SLOT], refused=[SLOT], seconds=0.9)
    assert background.foreground(mat(), located(SLOT)) == located(SLOT)


def test_background_stays_left_out_under_noise_and_changing_light():
    background = after_start(mat(noise_seed=1), [SLOT], refused=[SLOT])
    for number, light in enumerate((0.5, 0.8, 1.3)):
        assert background.foreground(mat(light=light, noise_seed=10 + number), located(SLOT)) == ()


def test_a_card_laid_exactly_onto_the_printed_frame_is_reported_and_the_bare_frame_is_left_out_again():
    background = after_start(mat(), [SLOT], refused=[SLOT])
    covered = with_card(mat(), SLOT, seed=4)
    assert background.foreground(covered, located(SLOT)) == located(SLOT)
    background = background.with_frame(covered, located(SLOT), 5 * S).with_recognition(SLOT)
    assert background.foreground(mat(), located(SLOT)) == ()


def test_a_blank_sheet_on_a_printed_image_is_reported():
    printed = with_card(mat(), SLOT, seed=5)
    background = after_start(printed, [SLOT], refused=[SLOT])
    assert background.foreground(printed, located(SLOT)) == ()
    blank = printed.copy()
    blank[80:256, 100:226] = 230
    assert background.foreground(blank, located(SLOT)) == located(SLOT)


def test_a_recognized_card_stays_reported_for_an_hour():
    scene = with_card(mat(), SLOT, seed=6)
    background = after_start(scene, [SLOT], recognized=[SLOT])
    for _ in range(5):
        background = background.with_frame(scene, located(SLOT), 3600 * S).with_refusal(SLOT)
    assert background.foreground(scene, located(SLOT)) == located(SLOT)


def test_one_refusal_is_not_enough():
    background = StaticBackground().with_frame(mat(), located(SLOT), 0).with_refusal(SLOT).with_frame(mat(), located(SLOT), 2 * S)
    assert background.foreground(mat(), located(SLOT)) == located(SLOT)
    assert background.with_refusal(SLOT).foreground(mat(), located(SLOT)) == ()


def test_an_outline_after_the_first_second_never_becomes_background():
    background = after_start(mat(), [])
    scene = with_card(mat(), ELSEWHERE, seed=7)
    for number in range(100):
        background = background.with_frame(scene, located(ELSEWHERE), 2 * S + number * TENTH).with_refusal(ELSEWHERE)
    assert background.foreground(scene, located(ELSEWHERE)) == located(ELSEWHERE)


def test_an_outline_whose_content_changes_while_learning_is_learned_again():
    background = StaticBackground().with_frame(mat(), located(SLOT), 0).with_refusal(SLOT).with_refusal(SLOT)
    scene = with_card(mat(), SLOT, seed=8)
    background = background.with_frame(scene, located(SLOT), 5 * TENTH).with_frame(scene, located(SLOT), 2 * S)
    assert background.foreground(scene, located(SLOT)) == located(SLOT)


def test_only_the_outline_at_the_same_place_is_left_out():
    background = after_start(mat(), [SLOT], refused=[SLOT])
    assert background.foreground(mat(), located(SLOT, ELSEWHERE)) == located(ELSEWHERE)


@pytest.mark.parametrize("frames_per_second", [2, 30])
def test_learning_is_a_time_not_a_number_of_frames(frames_per_second):
    background = StaticBackground(BackgroundPolicy(learning_s=1.0))
    for number in range(3 * frames_per_second):
        background = background.with_frame(mat(), located(SLOT), number * S // frames_per_second).with_refusal(SLOT)
    assert background.foreground(mat(), located(SLOT)) == ()
