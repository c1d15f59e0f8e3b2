"""How often a scene is searched for cards: counts, no times."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.daemon.locator import CardLocator
from edge.settings.sections import CameraSection, LocateSection
from edge.vision.card import LocatedCard, Point, Quad
from edge.vision.frame import Frame

S = 1_000_000_000
FPS = 15.0
SIZE = (640, 360)
TABLE = np.full((SIZE[1], SIZE[0], 3), 120, np.uint8)
NOISE = np.random.default_rng(0).normal(0, 1, (5, SIZE[1], SIZE[0], 3))


class Film:
    """Frames put before a locator, with the noise of a camera; remembers at which of them it searched."""

    def __init__(self, *, noise=3.0, interval_s=1.0):
        self.locator = CardLocator(self.search, still_interval_s=interval_s)
        self.noise = [np.rint(noise * one).astype(np.int16) for one in NOISE]
        self.frames, self.searched, self.cards = 0, [], ()

    def search(self, pixels):
        self.searched.append(self.frames)
        return self.cards

    def show(self, scene, seconds, *, cards=None):
        """Show a scene; return the numbers of the frames, counted from its first, that were searched."""
        first = self.frames
        self.cards = self.cards if cards is None else cards
        for _ in range(round(seconds * FPS)):
            pixels = cv2.add(scene, self.noise[self.frames % len(self.noise)], dtype=cv2.CV_8U)
            self.last = self.locator.locate(Frame(pixels, self.frames, round(self.frames / FPS * S)))
            self.frames += 1
        return [number - first for number in self.searched if number >= first]


def card_at(x, y, height=44):
    width = height * 63 / 88
    return LocatedCard(Quad(Point(x, y), Point(x + width, y), Point(x + width, y + height), Point(x, y + height)), (0, 180), 9.0)


def with_card(scene, card, seed=1):
    """The scene with the smallest card that is located by default, a pale one with little print."""
    left, top, right, bottom = (round(v) for v in (*card.quad.top_left, *card.quad.bottom_right))
    changed = scene.copy()
    changed[top:bottom, left:right] = 134
    print_ = np.random.default_rng(seed).integers(100, 160, (6, 5, 3)).astype(np.uint8)
    inner = changed[top + 4 : (top + bottom) // 2, left + 4 : right - 4]
    inner[...] = cv2.resize(print_, inner.shape[1::-1])
    return changed


def test_a_still_scene_is_searched_at_a_low_rate():
    film = Film()
    assert film.show(TABLE, 1.0)[:2] == [0, 1], "the first frame is a change"
    assert len(film.show(TABLE, 20.0)) <= 21
    assert len(film.searched) >= 20


@pytest.mark.parametrize("place", [(3, 4), (300, 150), (600, 312)])
def test_a_new_card_is_located_in_the_frame_that_shows_it(place):
    film = Film()
    film.show(TABLE, 3.3)
    card = card_at(*place)
    assert film.show(with_card(TABLE, card), 1 / FPS, cards=(card,)) == [0]
    assert film.last == (card,)


@settings(max_examples=10, deadline=None)
@given(st.floats(1.0, 6.0), st.floats(0.0, 1.0))
def test_a_new_card_is_located_within_100_ms_whenever_it_is_laid_down(still_s, before_the_next_frame):
    """At the frame rate of the default settings, with their interval; the card may lie there just after a frame was captured."""
    fps = CameraSection().fps
    locator = CardLocator(
        lambda pixels: (card_at(300, 150),) if pixels is with_it else (), still_interval_s=LocateSection().still_interval_s
    )
    with_it = with_card(TABLE, card_at(300, 150))
    laid_s = (round(still_s * fps) + before_the_next_frame) / fps
    for number in range(round((still_s + 1.0) * fps)):
        at_s = number / fps
        located = locator.locate(Frame(with_it if at_s >= laid_s else TABLE, number, round(at_s * S)))
        if located:
            assert 0.0 <= at_s - laid_s <= 0.1
            return
    pytest.fail("never located")


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 12), (1.0, -12), (1.1, 0), (0.9, 0), (1.15, -20)])
def test_other_light_alone_is_no_change(gain, offset):
    film, scene = Film(interval_s=60.0), with_card(TABLE, card_at(300, 150, 88))
    film.show(scene, 2.0, cards=(card_at(300, 150, 88),))
    relit = np.clip(gain * scene + offset, 0, 255).astype(np.uint8)
    assert film.show(relit, 1.0) == []
    assert film.show(scene, 1.0) == []


def test_a_new_card_is_located_in_other_light_too():
    film, first = Film(interval_s=60.0), card_at(300, 150, 88)
    scene = with_card(TABLE, first)
    film.show(scene, 2.0, cards=(first,))
    both = np.clip(1.1 * with_card(scene, card_at(60, 40), seed=2) - 8, 0, 255).astype(np.uint8)
    assert film.show(both, 1.0, cards=(first, card_at(60, 40)))[0] == 0


def test_after_a_change_every_frame_is_searched_for_a_moment_and_then_few():
    film = Film()
    film.show(TABLE, 3.0)
    card = card_at(300, 150)
    searched = film.show(with_card(TABLE, card), 4.0, cards=(card,))
    assert searched[:8] == list(range(8))
    assert len(searched) <= 8 + 4


def test_a_card_that_creeps_is_followed():
    film = Film(noise=2.0)
    found = []
    for step in range(60):
        card = card_at(200 + step, 150, height=100)
        film.show(with_card(TABLE, card), 1 / FPS, cards=(card,))
        found.append(abs(film.last[0].quad.top_left.x - card.quad.top_left.x))
    assert max(found) <= 3.0


def test_a_card_that_is_found_only_now_and_then_is_looked_for_again():
    """The outlines of a search that misses a card are not kept for long: another number of cards counts as a change."""
    film = Film()
    card = card_at(300, 150)
    scene = with_card(TABLE, card)
    film.show(scene, 3.0, cards=(card,))
    while film.last:
        film.show(scene, 1 / FPS, cards=())
    assert film.show(scene, 1 / FPS, cards=(card,)) == [0]
    assert film.last == (card,)


def test_the_outlines_of_the_last_search_are_returned_in_between():
    film = Film()
    card = card_at(300, 150)
    film.show(with_card(TABLE, card), 2.0, cards=(card,))
    for _ in range(20):
        film.show(with_card(TABLE, card), 1 / FPS)
        assert film.last == (card,)


def test_without_an_interval_every_frame_is_searched():
    assert Film(interval_s=0.0).show(TABLE, 1.0) == list(range(15))


def test_a_scan_searches_the_next_frame():
    film = Film()
    film.show(TABLE, 3.0)
    film.locator.forget_background()
    assert film.show(TABLE, 1 / FPS) == [0]


def test_a_card_face_down_is_left_out():
    film = Film()
    back = LocatedCard(card_at(100, 150).quad, (0, 180), 9.0, is_back=True)
    film.show(TABLE, 1 / FPS, cards=(back, card_at(300, 150)))
    assert film.last == (card_at(300, 150),)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(-3, 40), min_size=2, max_size=30))
def test_whatever_the_clock_does_the_last_search_is_less_than_the_interval_ago(steps):
    """A source that is reopened may start its clock anew."""
    now_ns, searched_ns = 50 * S, []
    locator = CardLocator(lambda _: searched_ns.append(now_ns) or (), still_interval_s=1.0)
    for number, step in enumerate(steps):
        now_ns += step * S // 10
        locator.locate(Frame(TABLE[:90, :160], number, now_ns))
        assert 0 <= now_ns - searched_ns[-1] < S
