"""The measures of the locator on labeled outlines: matching, regions to ignore, order of corners, corner error, command line."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from edge.vision.card import Quad
from tools.evaluate_locator import main
from tools.evaluation.locator import (
    PHOTOGRAPHS,
    all_figures,
    compare,
    corner_error_percent,
    match,
    share_in,
    starts_at_own_top_left,
)
from tools.evaluation.locator_report import COLUMNS, as_record, as_rows, drawn
from tools.labels.photo_outlines import LabeledPhoto

WIDTH, HEIGHT = 640, 360


def corners_at(left, top, width=126.0, height=176.0):
    return [[left, top], [left + width, top], [left + width, top + height], [left, top + height]]


def card_at(left, top, **changes):
    return {"corners": corners_at(left, top), "kind": "bare", "face": "front", "order_known": True, "exact": True} | changes


def photo_with(*cards, **changes):
    fields = {"file": "a.png", "width": WIDTH, "height": HEIGHT, "scene": "s", "composite": False, "split": "train", "ignore": []}
    return LabeledPhoto.model_validate(fields | {"cards": cards} | changes)


def quad_at(left, top, width=126.0, height=176.0):
    return Quad.from_array(np.array(corners_at(left, top, width, height)) - 0.5)


def group(located, name):
    return next(figures for figures in all_figures(located) if figures.group == name)


def shares(of):
    return [share.value() for share in of]


def test_the_best_pairs_are_matched_first_and_each_side_once():
    overlaps = np.array([[0.6, 0.8], [0.0, 0.9], [0.55, 0.0], [0.4, 0.0]])
    assert [(pair.outline, pair.card) for pair in match(overlaps)] == [(1, 1), (0, 0)]
    assert match(np.zeros((0, 3))) == match(np.zeros((3, 0))) == ()


def test_recall_and_precision_at_each_overlap():
    photo = photo_with(card_at(20, 20), card_at(200, 20), card_at(400, 20))
    # overlaps: 1; 0.75 (a quarter too short); none; the third card is missed
    located = [compare(photo, [quad_at(20, 20), quad_at(200, 20, height=132), quad_at(400, 250, height=88)])]
    figures = group(located, "all")
    assert (figures.labeled, figures.outlines, figures.false, figures.ignored) == (3, 3, 1, 0)
    assert shares(figures.recall) == shares(figures.precision) == [2 / 3, 2 / 3, 1 / 3]


def test_a_second_outline_of_a_card_is_false():
    located = compare(photo_with(card_at(20, 20)), [quad_at(24, 20), quad_at(20, 20)])
    assert located.false_outlines() == {0}


def test_outlines_in_regions_to_ignore_are_not_counted_but_labeled_cards_in_them_are():
    everywhere = [[[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]]]
    located = compare(photo_with(card_at(20, 20), ignore=everywhere), [quad_at(20, 20), quad_at(300, 100)])
    assert located.ignored == {1}
    figures = group([located], "all")
    assert (figures.outlines, figures.false, figures.ignored, shares(figures.precision)) == (1, 0, 1, [1.0, 1.0, 1.0])


def test_an_outline_less_than_half_in_a_region_to_ignore_is_false():
    region = [[[300, 0], [360, 0], [360, HEIGHT], [300, HEIGHT]]]
    located = compare(photo_with(ignore=region), [quad_at(300, 100)])
    assert located.false_outlines() == {0}


def test_the_share_in_regions_counts_only_what_is_visible_and_overlapping_regions_once():
    left_half = np.array([[0, 0], [320, 0], [320, 360], [0, 360]])
    assert share_in(quad_at(257, 50), [left_half, left_half], WIDTH, HEIGHT) == pytest.approx(0.5, abs=0.02)
    assert share_in(quad_at(-63, 50), [left_half], WIDTH, HEIGHT) == 1.0
    assert share_in(quad_at(-500, 50), [left_half], WIDTH, HEIGHT) == 0.0


def test_a_false_outline_counts_for_the_kind_that_it_overlaps_most():
    photo = photo_with(card_at(20, 20), card_at(200, 20, kind="sleeve"))
    located = [compare(photo, [quad_at(20, 20), quad_at(290, 20), quad_at(480, 20)])]
    assert shares(group(located, "bare").precision) == [1.0, 1.0, 1.0]
    assert (group(located, "sleeve").false, shares(group(located, "sleeve").precision)) == (1, [0.0, 0.0, 0.0])
    assert group(located, "all").false == 2
    assert [figures.group for figures in all_figures(located)] == ["all", "bare", "sleeve"]


def test_composites_are_left_out_of_a_row_of_their_own():
    located = [compare(photo_with(card_at(20, 20)), [quad_at(20, 20)]), compare(photo_with(card_at(20, 20), composite=True), [])]
    assert (shares(group(located, "all").recall)[0], shares(group(located, PHOTOGRAPHS).recall)[0]) == (0.5, 1.0)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_order_of_corners_and_corner_error_are_independent(turns):
    card = quad_at(100, 50)
    outline = Quad.from_array(np.roll(card.to_array() + np.array([3.0, 4.0]), turns, axis=0))
    assert starts_at_own_top_left(outline, card) == (turns == 0)
    assert corner_error_percent(outline, card) == pytest.approx(100 * 5 / 176)


def test_only_exact_corners_are_measured_and_only_a_known_order():
    photo = photo_with(card_at(20, 20, exact=False), card_at(200, 20, order_known=False))
    figures = group([compare(photo, [quad_at(22, 20), quad_at(200, 20)])], "all")
    assert figures.corner_errors == (0.0,)
    assert (figures.own_top_left.part, figures.own_top_left.whole) == (1, 1)


def test_figures_without_any_match_are_null():
    (record,) = [as_record("all", group([compare(photo_with(card_at(20, 20)), [])], "all"))]
    assert record["recall"] == {"0.5": 0.0, "0.7": 0.0, "0.85": 0.0}
    assert record["precision"] == {"0.5": None, "0.7": None, "0.85": None}
    assert record["corner_error_percent"] == {"cards": 0, "median": None, "p90": None}
    assert record["own_top_left"] == {"cards": 0, "share": None, "interval": [0.0, 1.0]}
    (row,) = as_rows([group([compare(photo_with(card_at(20, 20)), [])], "all")])
    assert len(row) == len(COLUMNS)


def test_labels_outlines_and_false_outlines_are_drawn_in_their_colors():
    located = compare(photo_with(card_at(20, 20), card_at(480, 20)), [quad_at(30, 20), quad_at(250, 20)])
    picture = drawn(np.zeros((HEIGHT, WIDTH, 3), np.uint8), located)
    (red, green, blue) = (picture[100, column].argmax() for column in (250, 480, 30))
    assert (red, green, blue) == (0, 1, 2)


@pytest.fixture
def photos(tmp_path):
    """A white card on a dark table, the same picture upside down, and labels of both."""
    table = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    cv2.rectangle(table, (200, 100), (325, 275), (235, 235, 230), -1)
    Image.fromarray(table).save(tmp_path / "a.png")
    Image.fromarray(table[::-1, ::-1]).save(tmp_path / "b.png")
    turned = [[440, 260], [314, 260], [314, 84], [440, 84]]
    labels = [photo_with(card_at(200, 100)), photo_with(card_at(0, 0, corners=turned), file="b.png", scene="t", split="held_out")]
    write_labels(tmp_path, [photo.model_dump() for photo in labels])
    return tmp_path


def write_labels(folder, photos):
    (folder / "labels.json").write_text(json.dumps({"photos": photos}), encoding="utf-8")


def run(photos, *arguments):
    return main(["--photos", str(photos), "--labels", str(photos / "labels.json"), "--locator", "classical", *arguments])


def test_the_locator_is_measured_on_drawn_scenes(photos, capsys):
    assert run(photos, "--json") == 0
    every, bare = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (every["split"], every["cards"], bare["cards"]) == ("all", "all", "bare")
    assert (every["photos"], every["labeled"], every["outlines"], every["false"]) == (2, 2, 2, 0)
    assert every["recall"]["0.85"] == every["precision"]["0.85"] == 1.0
    assert every["recall_interval"]["0.85"][0] < 0.5
    assert every["corner_error_percent"]["median"] < 1.0
    assert every["own_top_left"]["share"] == 0.5


def test_one_split_as_text_and_as_a_page(photos, tmp_path, capsys):
    report = tmp_path / "report"
    assert run(photos, "--split", "held_out", "--report", str(report)) == 0
    head, every, bare = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["cards", "labeled", "outlines", "false"]
    assert every.split()[:5] == ["all", "1", "1", "0", "100.0"]
    assert bare.startswith("bare")
    content = (report / "index.html").read_text(encoding="utf-8")
    assert "b.png" in content
    assert "a.png" not in content
    assert content.count("data:image/jpeg") == 1


def test_absent_photos_a_wrong_size_and_a_wrong_field_end_with_the_status_of_bad_data(photos, capsys):
    (photos / "b.png").rename(photos / "c.png")
    assert run(photos) == 65
    assert "1 of 2 labeled photos are absent, first b.png" in capsys.readouterr().err
    assert main(["--photos", str(photos)]) == 65
    assert "50 of 50 labeled photos are absent" in capsys.readouterr().err
    write_labels(photos, [photo_with(width=320).model_dump()])
    assert run(photos) == 65
    assert "640x360 pixels, labeled as 320x360" in capsys.readouterr().err
    assert run(photos, "--split", "held_out") == 65
    assert "no photo in split 'held_out'" in capsys.readouterr().err
    write_labels(photos, [photo_with(card_at(0, 0)).model_dump() | {"cards": [card_at(0, 0, kind="box")]}])
    assert run(photos) == 65
    assert "photos.0.cards.0.kind" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--boxes", "b.csv", "--labels", "l.json"], ["--empty", "d"], ["--min-overlap", "0.5"]])
def test_options_of_the_other_kind_of_labels_are_refused(options, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["--photos", str(tmp_path), *options])
    assert ended.value.code == 64
