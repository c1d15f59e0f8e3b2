"""The video of a binder whose pages a hand turns, and what the daemon's loop publishes about it."""

import json
from collections import Counter

import cv2
import numpy as np
import pytest

from edge.app.replay import replay
from edge.settings.sections import IndexSection, LocateSection, NetworkSection, Settings
from tests.support.tiny_training import draw
from tools.demo_video.binder import PAGE_MM, PX_PER_MM, BinderPace, binder_frames, page_corners
from tools.sample_bundle import SAMPLE_DIRECTORY, sample_video_cards

PACE = BinderPace(empty_s=2.5)


def write_video(path, pages, pace):
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), pace.fps, (1280, 720))
    for frame in binder_frames(pages, pace):
        video.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    video.release()
    return path


def test_a_page_lies_to_the_right_of_its_spine_and_is_turned_to_the_left():
    flat, upright, turned = (page_corners(angle) for angle in (0.0, np.pi / 2, np.pi))
    width, height = (side * PX_PER_MM for side in PAGE_MM)
    assert flat[1, 0] - flat[0, 0] == pytest.approx(width)
    assert flat[3, 1] - flat[0, 1] == pytest.approx(height)
    assert turned[0, 0] - turned[1, 0] == pytest.approx(width)
    assert upright[2, 1] - upright[1, 1] > 1.2 * height
    assert (flat >= 0).all()
    assert (flat < (1280, 720)).all()


def test_every_page_rests_is_turned_and_uncovers_the_next():
    pages = [[draw(10 * page + card) for card in range(9)] for page in range(2)]
    pace = BinderPace(empty_s=0.2, rest_s=0.2, turn_s=0.4)
    first, _, *turning, second, _, _, _, _, _, empty, _ = [frame.astype(int) for frame in binder_frames(pages, pace)]
    assert len(turning) == 4
    assert np.abs(first - second).mean() > 10.0
    assert np.abs(turning[-1][:, 540:] - second[:, 540:]).mean() < 8.0, "the page below is visible before the turn ends"
    assert np.abs(second[:, 540:1000] - empty[:, 540:1000]).mean() > 10.0


@pytest.mark.slow
def test_every_card_of_the_pages_is_published_once_and_right(tmp_path):
    cards = sample_video_cards(18)
    video = write_video(tmp_path / "binder.avi", [[card.image for card in cards[start : start + 9]] for start in (0, 9)], PACE)
    events = []
    settings = Settings(
        index=IndexSection(directory=SAMPLE_DIRECTORY), locate=LocateSection(method="combined"), network=NetworkSection(threads=1)
    )
    replay(str(video), settings, lambda event: events.append(json.loads(event.to_json())), realtime=False)
    once = Counter(card.card_id for card in cards)
    assert Counter(event["card_id"] for event in events if event["type"] == "identified") == once
    assert Counter(event["card_id"] for event in events if event["type"] == "removed") == once
    assert {event["type"] for event in events} == {"identified", "removed"}
