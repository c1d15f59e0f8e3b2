"""``cardedge replay``: a video gives the same events every time."""

import json

import cv2
import numpy as np
import pytest

from edge.app.replay import camera_section
from edge.cli.main import main
from edge.errors import ExitCode
from edge.publishing.event import CardEvent
from tests.support.mosquitto import free_port
from tests.support.small_scanner import on_table, save

FPS = 10


@pytest.fixture(scope="module")
def video(small_scanner, tmp_path_factory):
    """A video of 55 frames with noise: half a second of the empty table, two seconds of a card, three seconds of the empty table."""
    card = next(iter(small_scanner.images.values()))
    path = tmp_path_factory.mktemp("video") / "video.avi"
    noise = np.random.default_rng(0)
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), FPS, (1280, 720))
    for image, frames in ((on_table(), 5), (on_table(card), 20), (on_table(), 30)):
        for _ in range(frames):
            noisy = np.clip(image + noise.normal(0.0, 3.0, image.shape), 0, 255).astype(np.uint8)
            video.write(cv2.cvtColor(noisy, cv2.COLOR_RGB2BGR))
    video.release()
    return path


@pytest.fixture
def replay(small_scanner, capsys):
    """Return a function that runs the command and returns exit status, events and standard error."""

    def run(source, *options):
        options_for_index = ["--index", str(small_scanner.index), "--model", str(small_scanner.model)]
        status = main(["replay", str(source), "--json", *options_for_index, *options])
        captured = capsys.readouterr()
        return status, [json.loads(line) for line in captured.out.splitlines()], captured.err

    return run


def without_times(event):
    return {key: value for key, value in event.items() if key != "timing_ms"}


def test_a_video_gives_events_with_their_time_in_it(small_scanner, video, replay):
    status, (identified, removed), _ = replay(video)
    card_id = next(iter(small_scanner.images))
    assert status == ExitCode.OK
    assert (identified["type"], removed["type"]) == ("identified", "removed")
    assert identified["card_id"] == removed["card_id"] == card_id
    assert identified["track_id"] == removed["track_id"]
    assert 0.5 <= identified["at_s"] <= 1.5
    assert 4.5 <= removed["at_s"] <= 5.5
    for event in (identified, removed):
        contract = {key: value for key, value in event.items() if key != "at_s"}
        assert CardEvent.model_validate(contract).model_dump(mode="json", by_alias=True) == contract


def test_two_replays_differ_only_in_timing(video, replay):
    first, second = (replay(video)[1] for _ in range(2))
    assert [without_times(event) for event in first] == [without_times(event) for event in second]


def test_in_real_time_the_events_carry_the_time_of_day(video, replay):
    status, events, _ = replay(video, "--realtime")
    assert status == ExitCode.OK
    assert [event["type"] for event in events] == ["identified", "removed"]
    assert all(event["at"] > "2026" for event in events)
    assert 0.5 <= events[0]["at_s"] < events[1]["at_s"]


def test_the_stills_of_a_folder_are_shown_in_turn(small_scanner, tmp_path, replay):
    cards = list(small_scanner.images.items())[:2]
    for number, (_, card) in enumerate(cards):
        save(tmp_path / f"{number}.png", on_table(card) if number == 0 else on_table(card[::-1, ::-1], card))
    status, events, _ = replay(tmp_path)
    assert status == ExitCode.OK
    assert next(event["card_id"] for event in events if event["type"] == "identified") == cards[0][0]
    assert {event["card_id"] for event in events} == {card_id for card_id, _ in cards}


def test_the_text_has_a_line_per_event(small_scanner, video, capsys):
    main(["replay", str(video), "--index", str(small_scanner.index), "--model", str(small_scanner.model)])
    first, second = capsys.readouterr().out.splitlines()
    assert "identified" in first
    assert next(iter(small_scanner.images)) in first
    assert "removed" in second


def test_a_missing_video_is_bad_data(tmp_path, replay):
    status, _, errors = replay(tmp_path / "none.mp4")
    assert status == ExitCode.BAD_DATA
    assert "none.mp4" in errors


def test_an_empty_folder_is_bad_data(tmp_path, replay):
    status, _, errors = replay(tmp_path)
    assert status == ExitCode.BAD_DATA
    assert str(tmp_path) in errors


def test_an_address_without_a_stream_is_unavailable_and_its_password_is_not_printed(replay):
    status, _, errors = replay(f"http://user:secret@127.0.0.1:{free_port()}/stream.mjpg")
    assert status == ExitCode.UNAVAILABLE
    assert "127.0.0.1" in errors
    assert "secret" not in errors


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("rtsp://camera/1", "stream"),
        ("http://camera/mjpg", "stream"),
        ("/dev/video0", "v4l2"),
        ("a.mp4", "film"),
        ("still_%03d.png", "film"),
    ],
)
def test_the_kind_of_camera_follows_from_the_source(source, kind):
    assert camera_section(source).kind == kind


def test_a_folder_is_stills(tmp_path):
    assert camera_section(str(tmp_path)).kind == "stills"
