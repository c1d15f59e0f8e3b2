"""The evaluation of the locator: which outlines count as right, and what it says about bad input."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from edge.errors import DataError
from tests.support.small_locator import FACE, drawn_input, write_locator_model
from tools.evaluate_locator import main
from tools.evaluation.locator_boxes import Tally, as_record, right_outlines
from tools.labels.boxes import Box, box_overlap, read_boxes

HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax\n"


@pytest.fixture
def photos(tmp_path):
    """Two photos: a white card on a dark table at a known place, and an empty table."""
    table = np.full((360, 640, 3), 30, np.uint8)
    Image.fromarray(table).save(tmp_path / "empty.png")
    cv2.rectangle(table, (200, 100), (325, 275), (235, 235, 230), -1)
    Image.fromarray(table).save(tmp_path / "card.png")
    return tmp_path


def boxes_file(folder, rows):
    path = folder / "boxes.csv"
    path.write_text(HEADER + rows, encoding="utf-8")
    return path


def test_overlap_of_boxes():
    assert box_overlap(Box(0, 0, 10, 10), Box(5, 0, 15, 10)) == pytest.approx(1 / 3)
    assert box_overlap(Box(0, 0, 10, 10), Box(10, 10, 20, 20)) == 0.0


def test_each_known_box_counts_once_and_the_best_outline_gets_it():
    known = [Box(0, 0, 100, 100)]
    assert right_outlines([Box(0, 0, 100, 80), Box(0, 0, 100, 99), Box(300, 0, 400, 100)], known, 0.5) == {1}


def test_counts_are_shares_with_intervals():
    tally = Tally().with_picture(known=4, found=3, right=3).with_picture(known=0, found=1, right=0)
    record = as_record("photos", tally)
    assert (record["recall"], record["precision"]) == (0.75, 0.75)
    low, high = record["recall_interval"]
    assert low < 0.75 < high
    assert tally.pictures_with_wrong == 1


def test_boxes_of_a_shrunk_copy_are_scaled_to_the_photo(photos, capsys):
    boxes = boxes_file(photos, "card.png,320,180,ace,100,50,163,138\n")
    assert main(["--photos", str(photos), "--boxes", str(boxes), "--json", "--locator", "classical"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["known"], record["found"], record["right"], record["recall"]) == (1, 1, 1, 1.0)


def test_pictures_without_a_card_and_a_report_for_a_person(photos, tmp_path, capsys):
    boxes = boxes_file(photos, "card.png,640,360,ace,200,100,326,276\n")
    empty, report = tmp_path / "none", tmp_path / "report"
    empty.mkdir()
    (photos / "empty.png").rename(empty / "empty.png")
    arguments = ["--photos", str(photos), "--boxes", str(boxes), "--empty", str(empty), "--report", str(report)]
    assert main(arguments) == 0
    assert "pictures_without_outline 1.0" in capsys.readouterr().out.splitlines()[1]
    assert {path.name for path in report.iterdir()} == {"card.jpg", "empty.jpg"}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("filename,width,height,xmin\na.png,1,1,1\n", "no column 'ymin'"),
        (HEADER, "lists no box"),
        (HEADER + "a.png,640,360,ace,ten,0,5,5\n", "line 2: xmin is 'ten'"),
        (HEADER + "a.png,0,360,ace,1,0,5,5\n", "line 2: width is '0'"),
    ],
)
def test_a_bad_list_of_boxes_is_named(tmp_path, content, says):
    path = tmp_path / "boxes.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=says):
        read_boxes(path)


def test_missing_files_end_with_the_status_of_bad_data(photos, capsys):
    assert main(["--photos", str(photos), "--boxes", str(photos / "no.csv")]) == 65
    boxes = boxes_file(photos, "other.png,640,360,ace,1,1,5,5\n")
    assert main(["--photos", str(photos), "--boxes", str(boxes)]) == 65
    assert "other.png" in capsys.readouterr().err
    (photos / "none").mkdir()
    arguments = [
        "--photos",
        str(photos),
        "--boxes",
        str(boxes_file(photos, "card.png,640,360,a,1,1,5,5\n")),
        "--empty",
        str(photos / "none"),
    ]
    assert main(arguments) == 65


def test_the_network_is_measured_when_it_is_named(photos, tmp_path, capsys):
    pixels = drawn_input((FACE, 6, 6), size=(1280, 960), scale=10.0)
    Image.fromarray(pixels).save(photos / "card.png")
    x, y, width, height = 6.5 * 80, 6.5 * 80, 280, 400
    boxes = boxes_file(photos, f"card.png,1280,960,ace,{x - width / 2},{y - height / 2},{x + width / 2},{y + height / 2}\n")
    write_locator_model(tmp_path / "locator")
    for options in ([], ["--locator", "network"], ["--unrefined"], ["--locator", "combined"]):
        assert main(["--photos", str(photos), "--boxes", str(boxes), "--json", "--model", str(tmp_path / "locator"), *options]) == 0
        record = json.loads(capsys.readouterr().out)
        assert (record["found"], record["right"]) == (1, 1)


def test_options_of_the_network_do_not_fit_the_classical_locator(photos, capsys):
    for options in (["--unrefined"], ["--model", str(photos)]):
        with pytest.raises(SystemExit, match="64"):
            main(["--photos", str(photos), "--locator", "classical", *options])
        assert "for the network" in capsys.readouterr().err
