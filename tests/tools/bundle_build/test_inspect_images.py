"""Inspection: every planted fault is found for what it is, nothing else is named, and nothing is touched."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge.errors import ExitCode
from edge.vision.image_file import read_image
from tests.support.planted import plant
from tools import inspect_images as tool
from tools.bundle_build.finding import FindingKind


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    return folder, plant(folder)


def run(capsys, *arguments):
    try:
        status = tool.main([str(argument) for argument in arguments])
    except SystemExit as leaving:
        status = leaving.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def hashes(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_every_planted_fault_is_found_for_what_it_is_and_nothing_else(faulty, capsys, tmp_path):
    folder, expected = faulty
    before = hashes(folder)
    report = tmp_path / "report.html"
    status, printed, _ = run(capsys, "--images", folder, "--cards", folder / "cards.csv", "--report", report, "--json")
    answer = json.loads(printed)
    assert status == ExitCode.OK
    assert {finding["card_id"]: finding["kind"] for finding in answer["findings"]} == {name: str(kind) for name, kind in expected.items()}
    assert answer["left_out"] == sum(kind is not FindingKind.TWO_NAMES for kind in expected.values())
    assert hashes(folder) == before


def test_the_report_stands_alone_and_shows_each_picture(faulty, capsys, tmp_path):
    folder, expected = faulty
    report = tmp_path / "report.html"
    run(capsys, "--images", folder, "--cards", folder / "cards.csv", "--report", report)
    page = report.read_text(encoding="utf-8")
    unreadable = sum(kind is FindingKind.UNREADABLE for kind in expected.values())
    assert page.count("data:image/jpeg;base64,") == len(expected) - unreadable
    assert page.count(">no image<") == unreadable
    assert "http" not in page
    assert "<script" not in page


def test_names_in_the_report_cannot_be_markup(tmp_path, capsys):
    Image.new("RGB", (252, 352)).save(tmp_path / "a.png")
    (tmp_path / "cards.csv").write_text("card_id,name,image\n<b>x,<script>alert(1)</script>,a.png\nc,C,a&b.png\n")
    run(capsys, "--images", tmp_path, "--cards", tmp_path / "cards.csv", "--report", tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    assert "a&amp;b.png" in page


def test_strict_is_65_for_mistakes_and_0_for_reprints(faulty, capsys, tmp_path):
    folder, _ = faulty
    status, printed, errors = run(capsys, "--images", folder, "--cards", folder / "cards.csv", "--strict")
    assert status == ExitCode.BAD_DATA
    assert "13 to be left out" in printed
    assert "Correct them" in errors
    rows = "card_id,name,image\na,One,good-0.png\nb,One,good-0.png\nc,Two,good-1.png\n"
    (tmp_path / "cards.csv").write_text(rows)
    status, printed, _ = run(capsys, "--images", folder, "--cards", tmp_path / "cards.csv", "--strict")
    assert status == ExitCode.OK
    assert "3 images, 0 to be left out: 2 duplicate" in printed


def test_a_folder_without_a_list_is_looked_through(faulty, capsys):
    folder, _ = faulty
    status, printed, _ = run(capsys, "--images", folder, "--json")
    answer = json.loads(printed)
    assert status == ExitCode.OK
    assert answer["pictures"] == sum(path.suffix in {".png", ".jpg"} for path in folder.iterdir())
    kinds = {finding["image"]: finding["kind"] for finding in answer["findings"]}
    assert kinds["blurred.png"] == "blurred"
    assert kinds["back-1.jpg"] == "placeholder"


def test_names_in_several_languages_share_a_picture_without_being_a_placeholder(faulty, capsys, tmp_path):
    folder, _ = faulty
    names = {"en": "Fire", "de": "Feuer", "fr": "Feu", "it": "Fuoco"}
    rows = "".join(f"c-{language},{name},good-3.png,{language}\n" for language, name in names.items())
    (tmp_path / "cards.csv").write_text("card_id,name,image,language\n" + rows)
    _, printed, _ = run(capsys, "--images", folder, "--cards", tmp_path / "cards.csv", "--json")
    assert [finding["kind"] for finding in json.loads(printed)["findings"]] == ["duplicate"] * 4


@pytest.mark.parametrize("mode", ["CMYK", "P", "RGBA", "I;16", "animated", "EXIF"])
def test_pictures_of_every_kind_are_taken_as_they_look(faulty, tmp_path, capsys, mode):
    folder, _ = faulty
    with Image.open(folder / "good-4.png") as opened:
        card = opened.convert("RGB")
    path = tmp_path / "card.png"
    if mode == "CMYK":
        path = tmp_path / "card.jpg"
        card.convert("CMYK").save(path, quality=95)
    elif mode == "I;16":
        Image.fromarray(np.asarray(card.convert("L")).astype(np.uint16) * 257).save(path)
    elif mode == "animated":
        path = tmp_path / "card.webp"
        card.save(path, save_all=True, append_images=[Image.new("RGB", card.size)], lossless=True)
    elif mode == "EXIF":
        path = tmp_path / "card.jpg"
        exif = Image.Exif()
        exif[0x0112] = 8
        card.transpose(Image.Transpose.ROTATE_270).save(path, exif=exif, quality=95)
    else:
        card.convert(mode).save(path)
    (tmp_path / "cards.csv").write_text(f"card_id,name,image\na,A,{path.name}\n")
    status, printed, _ = run(capsys, "--images", tmp_path, "--cards", tmp_path / "cards.csv", "--strict")
    assert (status, printed) == (ExitCode.OK, "1 images, 0 to be left out\n")
    meant = card.convert("L" if mode == "I;16" else mode if mode == "P" else "RGB").convert("RGB")
    assert np.abs(read_image(path).astype(int) - np.asarray(meant)).mean() < 12


@pytest.mark.parametrize("arguments", [[], ["--images", "x", "--threads", "0"], ["--wrong"]])
def test_a_wrong_command_line_is_64(capsys, arguments):
    assert run(capsys, *arguments)[0] == ExitCode.USAGE


def test_a_missing_folder_is_named(capsys, tmp_path):
    status, _, errors = run(capsys, "--images", tmp_path / "none")
    assert status == ExitCode.BAD_DATA
    assert "none: no such folder" in errors


@pytest.mark.slow
@pytest.mark.skipif("CARDEDGE_DATA" not in os.environ, reason="CARDEDGE_DATA names no folder of real scans")
def test_real_scans_raise_no_false_alarm(capsys):
    folder = Path(os.environ["CARDEDGE_DATA"])
    _, printed, _ = run(capsys, "--images", folder, "--cards", folder / "cards.csv", "--json")
    answer = json.loads(printed)
    pairs = {card_id for pair in json.loads((folder / "same_artwork.json").read_text()) for card_id in pair}
    assert answer["left_out"] == 0
    assert {finding["card_id"] for finding in answer["findings"]} == pairs
