import csv
import hashlib
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edge.vision.card import CARD_SIZE, Size
from tests.support.paths import ROOT
from tools.drawing.cards import over_white, write_cards
from tools.drawing.layout import art_box, draw_back, draw_card
from tools.drawing.spec import LAYOUTS, SET_SIZE, card_spec, card_specs, reprint
from tools.make_cards import SERIES, main
from tools.sample_bundle import sample_specs

SMALL = Size(126, 176)


def thumbnail(image):
    return cv2.resize(over_white(image), (12, 16), interpolation=cv2.INTER_AREA).astype(np.float64).ravel()


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()
    }


def test_the_same_seed_gives_the_same_files_in_another_process(tmp_path):
    write_cards(card_specs(6, seed=4, reprints=1, series=SERIES), tmp_path / "here", size=SMALL)
    arguments = ["--out", str(tmp_path / "there"), "--count", "6", "--seed", "4", "--reprints", "1", "--size", "126x176"]
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    subprocess.run([sys.executable, "-m", "tools.make_cards", *arguments], cwd=ROOT, env=environment, check=True, capture_output=True)
    assert digests(tmp_path / "here") == digests(tmp_path / "there")


def test_another_seed_gives_other_cards():
    assert np.abs(thumbnail(draw_card(card_spec(1, 0), SMALL)) - thumbnail(draw_card(card_spec(2, 0), SMALL))).mean() > 5.0


def test_a_hundred_cards_look_different():
    looks = np.array([thumbnail(draw_card(spec, SMALL)) for spec in card_specs(100, seed=11)])
    differences = np.abs(looks[:, None] - looks[None]).mean(axis=2)
    np.fill_diagonal(differences, np.inf)
    assert differences.min() > 6.0  # gray levels, on average over an image of 12 x 16


def test_illustrations_differ_in_more_than_color():
    specs = [spec for spec in card_specs(60, seed=11) if spec.layout == "creature"]
    looks = []
    for spec in specs:
        gray = cv2.cvtColor(over_white(draw_card(spec)), cv2.COLOR_RGB2GRAY)[art_box(spec, CARD_SIZE)]
        small = cv2.resize(gray, (24, 16), interpolation=cv2.INTER_AREA).astype(np.float64).ravel()
        looks.append((small - small.mean()) / np.linalg.norm(small - small.mean()))
    alike = np.array(looks) @ np.array(looks).T
    np.fill_diagonal(alike, -1.0)
    assert alike.max() < 0.95
    assert np.median(alike.max(axis=1)) < 0.8


def test_every_layout_and_the_rarities_at_both_ends_occur():
    specs = card_specs(100, seed=11)
    assert {spec.layout for spec in specs} == set(LAYOUTS)
    assert {"common", "legendary"} <= {spec.rarity for spec in specs}


def test_a_card_is_opaque_with_transparent_corners():
    image = draw_card(card_spec(1, 3))
    assert image.shape == (CARD_SIZE.height, CARD_SIZE.width, 4)
    assert image.dtype == np.uint8
    assert [image[y, x, 3] for y in (0, -1) for x in (0, -1)] == [0, 0, 0, 0]
    assert (image[20:-20, :, 3] == 255).all()


@pytest.mark.parametrize("index", range(6))
def test_a_card_looks_the_same_at_twice_the_size(index):
    spec = card_spec(5, index)
    large = cv2.resize(over_white(draw_card(spec, Size(504, 704))), tuple(CARD_SIZE), interpolation=cv2.INTER_AREA)
    small = over_white(draw_card(spec))
    blurred = [cv2.GaussianBlur(image, (0, 0), 4).astype(np.float64) for image in (large, small)]
    assert np.abs(blurred[0] - blurred[1]).mean() < 6.0


def test_reprints_share_the_artwork_and_nothing_that_distinguishes_printings():
    originals = {spec.artwork_group: spec for spec in card_specs(30, seed=2)}
    again = card_specs(36, seed=2, reprints=6)[30:]
    assert len({spec.artwork_group for spec in again}) == 6
    for spec in again:
        original = originals[spec.artwork_group]
        assert (spec.name, spec.attacks, spec.layout) == (original.name, original.attacks, original.layout)
        assert spec.card_id != original.card_id
        assert spec.set_code != original.set_code
        images = [over_white(draw_card(one)).astype(np.float64) for one in (original, spec)]
        framed = spec.layout not in ("full-art", "place")
        bare = framed and {original.rarity, spec.rarity}.isdisjoint({"epic", "legendary"})  # foil covers the illustration too
        art = art_box(spec, CARD_SIZE)
        if bare:
            inner = tuple(slice(side.start + 3, side.stop - 3) for side in art)
            assert (images[0][inner] == images[1][inner]).all()
        else:
            inner = tuple(slice(side.start + 14, side.stop - 14) for side in art)
            assert np.corrcoef(images[0][inner].ravel(), images[1][inner].ravel())[0, 1] > 0.8
        assert np.abs(images[0] - images[1]).max() > 60.0


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), index=st.integers(0, 20_000))
def test_a_spec_is_printable_whatever_its_seed(seed, index):
    spec = card_spec(seed, index)
    assert spec == card_spec(seed, index)
    assert 1 <= spec.number <= SET_SIZE
    assert spec.collector_number == f"{spec.number:03d}/{SET_SIZE}"
    assert spec.card_id == f"{spec.set_code}-{spec.number}"
    assert spec.name.isascii()
    assert bool(spec.attacks) != bool(spec.rules)
    assert reprint(spec, 0).card_id == "P1-1"


def test_the_table_lists_every_image(tmp_path, capsys):
    arguments = ["--out", str(tmp_path), "--count", "9", "--reprints", "2", "--size", "63x88", "--format", "webp"]
    assert main(arguments) == 0
    assert "9 cards" in capsys.readouterr().out
    with (tmp_path / "cards.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["card_id", "name", "image", "set", "number", "rarity", "language", "artwork_group"]
    assert len({row["card_id"] for row in rows}) == 9
    assert len({row["artwork_group"] for row in rows}) == 7
    for row in rows:
        assert row["card_id"] == f"{row['set']}-{row['number']}"
        with Image.open(tmp_path / row["image"]) as image:
            assert image.size == (63, 88)
    assert (tmp_path / "back.webp").is_file()
    assert not {row["card_id"] for row in rows} & {spec.card_id for spec in sample_specs()}, "an id of the sample index is another card"


def test_the_back_differs_from_card_faces():
    back = thumbnail(draw_back(SMALL))
    assert min(np.abs(back - thumbnail(draw_card(spec, SMALL))).mean() for spec in card_specs(20, seed=1)) > 15.0


@pytest.mark.parametrize("wrong", [["--count", "0"], ["--count", "3", "--reprints", "3"], ["--seed", "-1"]])
def test_invalid_numbers_are_refused_before_anything_is_written(tmp_path, capsys, wrong):
    assert main(["--out", str(tmp_path / "cards"), *wrong]) == 64
    assert "count > reprints >= 0" in capsys.readouterr().err
    assert not (tmp_path / "cards").exists()
