"""Lone cards: the measurement on a small scanner, and what calibration makes of one card of a layout alone."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from edge.errors import ExitCode
from edge.recognition.model import open_model
from edge.recognition.verification import LUMA_SIGNATURE_ID, SIGNATURE_ID
from tests.support.few_lone_cards import measure_few_lone_cards
from tests.support.small_scanner import make_small_scanner
from tools import evaluate, model_evidence
from tools.evaluation.hidden_artwork import lone_siblings


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A small scanner, its images as files with their list, and two pictures without a card."""
    folder = tmp_path_factory.mktemp("lone")
    world = make_small_scanner(folder)
    with (folder / "cards.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["card_id", "name", "image"])
        for card_id, picture in world.images.items():
            Image.fromarray(picture).save(folder / f"{card_id}.png")
            writer.writerow([card_id, card_id, f"{card_id}.png"])
    (folder / "negatives").mkdir()
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 255, (40, 40, 3), np.uint8)
        Image.fromarray(noise).resize((400, 300)).save(folder / "negatives" / f"{number}.jpg")
    return world, folder


def test_each_layout_is_measured_among_other_cards(material, monkeypatch, capsys):
    world, folder = material
    measure_few_lone_cards(monkeypatch, LONE_COUNTS=(1, 2), _INDEXES={1: 2, 2: 1})
    places = ["--index", world.index, "--model", world.model, "--images", folder, "--cards", folder / "cards.csv"]
    evaluate.main([*map(str, places), "--negatives", str(folder / "negatives"), "--lone", "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["pictures"].split(",")[0] for row in rows[::2]] == [
        f"{count} of {layout} among 2" for layout in ("spell", "catalog") for count in (1, 2)
    ]
    themselves, others = rows[0], rows[1]
    assert (themselves["question"], others["question"]) == ("named right", "nothing named")
    assert themselves["asked"] == 2 * 2  # two indexes, each of one lone card in two views
    assert others["asked"] > 0


def test_a_sibling_is_a_card_of_another_artwork(material):
    world, _ = material
    gallery = evaluate.open_index(world.index).gallery
    siblings = lone_siblings(gallery, list(gallery.cards), seed=1)
    assert set(siblings) == set(gallery.cards)
    for card_id, entry in siblings.items():
        assert gallery.artwork_group(gallery.entry_card_ids[entry]) != gallery.artwork_group(card_id)


def test_the_evidence_of_a_model_is_written_beside_it_and_keeps_its_id(material, capsys):
    world, folder = material
    before = open_model(world.model)
    catalog = ["--catalog", str(world.index), str(folder), str(folder / "cards.csv")]
    options = ["--negatives", str(folder / "negatives"), "--model", str(world.model), "--layouts", "6", "--limit", "2", "--threads", "1"]
    assert model_evidence.main([*catalog, *options, "--json"]) == ExitCode.OK
    figures = json.loads(capsys.readouterr().out)
    after = open_model(world.model)
    assert before.evidence is None
    assert after.evidence.figures == figures
    assert {"lone_refused", "recolored_refused"} <= set(figures)
    assert after.evidence.thresholds_for(SIGNATURE_ID) == after.evidence.thresholds
    assert after.evidence.thresholds_for(LUMA_SIGNATURE_ID).weights.color == 0.0
    assert after.model_id == before.model_id
