import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from edge.errors import DataError
from edge.vision.card import Quad, rectify
from tools.demo_video.cards import drawn_video_card
from tools.demo_video.render import frames, write_video
from tools.demo_video.script import demo_script, truth
from tools.demo_video.tally import Truth
from tools.drawing.cards import write_cards
from tools.drawing.spec import card_specs
from tools.film import main

FPS = 15


@pytest.fixture(scope="module")
def script():
    return demo_script([drawn_video_card(7, index) for index in range(8)], [drawn_video_card(990_001, 0)], seed=1)


@pytest.fixture(scope="module")
def middles(script):
    """One frame per appearance, in the middle of its rest."""
    numbers = [round((one.rests_from_s + one.rests_to_s) / 2 * FPS) for one in script.appearances]
    return list(frames(script, numbers))


def gray(image):
    small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (63, 88), interpolation=cv2.INTER_AREA)
    return small[2:-2, 2:-2].astype(np.float64).ravel()


def likeness(first, second):
    return float(np.corrcoef(gray(first), gray(second))[0, 1])


def test_the_video_has_the_situations_a_scanner_must_handle(script):
    kinds = [appearance.kind for appearance in script.appearances]
    assert (kinds.count("card"), kinds.count("unknown-card"), kinds.count("object")) == (6, 1, 2)
    assert any(150 < appearance.pose.roll_deg < 210 for appearance in script.appearances)
    assert any(appearance.pose.tilt_deg > 25 for appearance in script.appearances)
    assert any(one.rests_from_s < two.rests_from_s < one.rests_to_s for one in script.appearances for two in script.appearances
               if one is not two and one.card and two.card)  # fmt: skip
    sweep = script.passes[0]
    assert any(one.card and one.rests_from_s < sweep.from_s < sweep.to_s < one.rests_to_s for one in script.appearances)


def test_frames_show_the_cards_at_their_true_outlines(script, middles):
    images = [one.card.image for one in script.appearances if one.card]
    for appearance, expected, frame in zip(script.appearances, truth(script).appearances, middles, strict=True):
        if appearance.card is None:
            continue
        seen = rectify(frame, Quad.from_array(expected.quad))
        alike = [likeness(seen, image) for image in images]
        own = likeness(seen, appearance.card.image)
        assert own == max(alike)
        assert own > 0.6


def test_the_ground_truth_names_known_cards_only(script):
    expected = truth(script)
    for appearance, entry in zip(script.appearances, expected.appearances, strict=True):
        assert entry.card_id == (appearance.card.card_id if appearance.kind == "card" else None)
        assert entry.from_s < entry.rests_from_s < entry.rests_to_s < entry.to_s <= expected.seconds
        assert (entry.path[0].at_s, entry.path[-1].at_s) == (entry.from_s, entry.to_s)
        resting = [place.quad for place in entry.path if entry.rests_from_s + 0.01 <= place.at_s <= entry.rests_to_s - 0.01]
        assert np.allclose(resting, entry.quad, atol=0.1)
    assert Truth.model_validate_json(expected.model_dump_json()) == expected


def test_cards_come_from_outside_and_rest_inside_the_frame(script):
    expected = truth(script)
    for entry in expected.appearances:
        corners = np.array(entry.quad)
        assert (corners.min(axis=0) > 0).all()
        assert (corners.max(axis=0) < (expected.width, expected.height)).all()
        for place in (entry.path[0], entry.path[-1]):
            x, y = np.array(place.quad).T
            assert x.max() < 0 or y.max() < 0 or x.min() > expected.width or y.min() > expected.height


def test_objects_and_cards_cover_the_table(script, middles):
    empty = next(frames(script, [3]))
    assert empty.shape == (720, 1280, 3)
    for entry, frame in zip(truth(script).appearances, middles, strict=True):
        before, after = (rectify(one, Quad.from_array(entry.quad)).astype(float) for one in (empty, frame))
        assert np.abs(before - after).mean() > 20.0


def test_the_passing_hand_covers_part_of_a_resting_card(script):
    sweep = script.passes[0]
    card, entry = next(
        (one, expected)
        for one, expected in zip(script.appearances, truth(script).appearances, strict=True)
        if one.card and one.rests_from_s < sweep.from_s < one.rests_to_s
    )
    moments = (sweep.from_s - 0.1, (sweep.from_s + sweep.to_s) / 2, sweep.to_s + 0.1)
    seen = [rectify(frame, Quad.from_array(entry.quad)) for frame in frames(script, [round(at_s * FPS) for at_s in moments])]
    before, during, after = (likeness(pixels, card.card.image) for pixels in seen)
    assert during < min(before, after) - 0.1


def test_equal_scripts_give_equal_frames_whichever_are_selected(script):
    again = demo_script([drawn_video_card(7, index) for index in range(8)], [drawn_video_card(990_001, 0)], seed=1)
    first = list(frames(script, [20, 60]))
    assert all((one == two).all() for one, two in zip(first, frames(again, [20, 60]), strict=True))
    assert (first[1] == next(frames(script, [60]))).all()


def test_another_seed_gives_another_video(script):
    other = demo_script([drawn_video_card(7, index) for index in range(8)], [drawn_video_card(990_001, 0)], seed=2)
    assert [one.name for one in other.appearances] != [one.name for one in script.appearances]


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_a_written_video_reads_back(script, tmp_path, suffix):
    short = replace(script, seconds=0.4)
    write_video(short, tmp_path / f"film{suffix}")
    video = cv2.VideoCapture(str(tmp_path / f"film{suffix}"))
    assert round(video.get(cv2.CAP_PROP_FPS)) == FPS
    for expected in frames(short):
        ok, frame = video.read()
        assert ok
        assert np.abs(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(float) - expected).mean() < 8.0
    assert not video.read()[0]


def test_an_unsupported_video_format_is_refused(script, tmp_path):
    with pytest.raises(DataError, match=r"\.mp4 or \.avi"):
        write_video(script, tmp_path / "film.gif")


def test_too_few_cards_are_refused():
    cards = [drawn_video_card(7, 0)] * 8
    with pytest.raises(DataError, match="6 cards with different artworks, but there are only 1"):
        demo_script(cards, cards, seed=1)


def test_an_error_about_missing_cards_says_how_to_draw_some(tmp_path, capsys):
    status = main(["--cards", str(tmp_path), "--out", str(tmp_path / "film.mp4"), "--truth", str(tmp_path / "truth.json")])
    assert status == 65
    assert "tools.make_cards" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_command_writes_video_and_ground_truth(tmp_path):
    write_cards(card_specs(10, seed=3, reprints=2), tmp_path / "cards")
    video, truth_file = tmp_path / "film.mp4", tmp_path / "truth.json"
    assert main(["--cards", str(tmp_path / "cards"), "--out", str(video), "--truth", str(truth_file), "--seconds", "24"]) == 0
    assert json.loads(truth_file.read_text(encoding="utf-8"))["seconds"] == 24
    assert round(cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FRAME_COUNT)) == 24 * FPS
