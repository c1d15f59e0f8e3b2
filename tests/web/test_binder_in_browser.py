"""A page of a binder in front of the camera, on the scanner's page in a real browser: nine outlines with the names of the cards."""

from itertools import combinations
from types import SimpleNamespace

import cv2
import pytest

from edge.recognition.model import find_model
from tests.web.browser import IN_BROWSER, Scanner, chromium, opened_views, screenshot_folder
from tools.demo_video.binder import BinderPace, binder_frames
from tools.sample_bundle import SAMPLE_DIRECTORY, sample_video_cards

pytestmark = IN_BROWSER
WAIT_MS = 240_000
"""Timeout for nine cards to be recognized by the real model."""


@pytest.fixture(scope="module")
def cards():
    return sample_video_cards(9)


@pytest.fixture
def scanner(tmp_path, cards):
    """A daemon in front of a table on which the page is laid again and again: what is there at the start might become background."""
    page, *_, empty = binder_frames([[card.image for card in cards]], BinderPace(empty_s=0.1, rest_s=0.1, turn_s=0.1))
    for number, frame in enumerate((empty, page)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    world = SimpleNamespace(images={card.card_id: card.image for card in cards}, index=SAMPLE_DIRECTORY, model=find_model(None))
    camera = f'kind = "stills"\nsource = "{tmp_path}"\nloop = true\nfps = 5\nseconds_per_still = 15\n[locate]\nmethod = "combined"'
    started = Scanner(tmp_path, world, camera).start()
    yield started
    started.close()


BOXES = """() => [...document.querySelectorAll(".preview .mark rect")].map((rect) => {
    const { left, top, right, bottom } = rect.getBoundingClientRect();
    return [left, top, right, bottom];
})"""


def assert_apart(boxes):
    """Assert that of the names of cards that lie side by side none covers a quarter of another."""
    for (left, top, right, bottom), other in combinations(boxes, 2):
        common = max(0, min(right, other[2]) - max(left, other[0])) * max(0, min(bottom, other[3]) - max(top, other[1]))
        assert common < 0.25 * (right - left) * (bottom - top)


def test_nine_outlines_with_their_names(scanner, cards, tmp_path_factory):
    with chromium() as browser, opened_views(browser, scanner) as open_page:
        page = open_page("/", "laptop")
        all_named = """names => {
            const shown = [...document.querySelectorAll(".preview .mark title")].map((title) => title.textContent);
            return shown.length === names.length && names.every((name) => shown.includes(name));
        }"""
        page.wait_for_function(all_named, arg=[card.name for card in cards], timeout=WAIT_MS)
        assert page.locator(".preview .mark polygon").count() == 9
        assert_apart(page.evaluate(BOXES))
        page.screenshot(path=screenshot_folder(tmp_path_factory) / "binder.png")
