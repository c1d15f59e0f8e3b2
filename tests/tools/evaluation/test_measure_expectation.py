"""Cards pasted into photos, and what `--expect` says about them."""

import csv
import json

import numpy as np
from PIL import Image

from edge.errors import ExitCode
from edge.identification.expectation import MatchVerdict
from tools import measure_expectation


def test_each_kind_is_counted_and_every_composite_is_a_line_of_json(tmp_path, small_scanner, capsys):
    folder = tmp_path / 'photos "table"'
    folder.mkdir()
    Image.fromarray(np.full((720, 1280, 3), 90, np.uint8)).save(folder / "gray.png")
    with (tmp_path / "cards.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["card_id", "name", "image"])
        for card_id, image in (*small_scanner.images.items(), ("elsewhere", next(iter(small_scanner.images.values()))[::-1])):
            Image.fromarray(image).save(tmp_path / f"{card_id}.png")
            writer.writerow([card_id, card_id, f"{card_id}.png"])
    places = ["--index", small_scanner.index, "--model", small_scanner.model, "--images", tmp_path, "--cards", tmp_path / "cards.csv"]
    options = [*map(str, places), "--backgrounds", str(folder), "--count", "2"]

    assert measure_expectation.main([*options, "--json"]) == ExitCode.OK
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(line["shown"] for line in lines) == ["other", "other", "right", "right", "unknown", "unknown"]
    assert all(line["background"].endswith("gray.png") and line["expected"]["answer"] in set(MatchVerdict) for line in lines)

    assert measure_expectation.main(options) == ExitCode.OK
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert [row.split("|")[1:3] for row in table if "right" in row or "other" in row or "unknown" in row] == [
        [" right ", " 2 "], [" other ", " 2 "], [" unknown ", " 2 "],
    ]  # fmt: skip


def test_a_missing_folder_of_photos_is_named(tmp_path, small_scanner, capsys):
    places = ["--index", small_scanner.index, "--model", small_scanner.model, "--images", tmp_path, "--cards", tmp_path / "cards.csv"]
    status = measure_expectation.main([*map(str, places), "--backgrounds", str(tmp_path / "none")])
    assert status == ExitCode.BAD_DATA
    assert str(tmp_path / "none") in capsys.readouterr().err
