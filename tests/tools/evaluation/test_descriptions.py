"""Descriptions of drawn cards, and how well they find their pictures."""

import csv
import json

import numpy as np
import pytest

from edge.recognition.model import MODEL_FILE
from tests.support.small_text_model import random_weights, write_text_model
from tests.support.stand_ins import PROJECTION_MODEL_ID, write_vectors_bundle
from tools import evaluate_text
from tools.drawing.cards import COLUMNS, DESCRIPTION_COLUMNS
from tools.drawing.catalog import catalog_specs
from tools.drawing.depiction import attributes
from tools.drawing.layout import draw_described_card
from tools.drawing.wording import (
    SYNONYMS,
    full_description,
    is_held_out,
    main_subject,
    random_description,
    read_described_cards,
    short_description,
)
from tools.network.text_onnx import embed_texts

DIM = 16
CARD = {
    **dict.fromkeys((*COLUMNS, *DESCRIPTION_COLUMNS), ""),
    "card_id": "C1-1",
    "name": "Grimoth",
    "rarity": "rare",
    "color": "red",
    "subject": "dragon, small bird",
    "features": "horns",
    "scene": "forest",
    "backdrop": "blue",
    "light": "night",
    "weather": "rain",
    "style": "plain soft",
    "layout": "tall",
    "family": "ember",
}


def card(number, **changes):
    return {**CARD, "card_id": f"card-{number}", "image": f"{number}.png", "artwork_group": f"art-card-{number}", **changes}


def write_list(path, cards):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(CARD))
        writer.writeheader()
        writer.writerows(cards)
    return path


def test_a_short_description_is_what_a_person_would_search_for():
    assert short_description(CARD) == "red dragon in the rain"
    assert short_description({**CARD, "weather": ""}) == "red dragon in the forest"


def test_a_full_description_names_the_picture_and_not_the_card():
    words = full_description(CARD).split()
    assert {"red", "dragon,", "bird", "horns", "rain", "forest", "night", "ember"} <= set(words)
    assert not {"Grimoth", "rare"} & set(words)


def test_random_descriptions_use_other_words_for_the_same():
    texts = [random_description(CARD, np.random.default_rng(seed)) for seed in range(200)]
    assert len(set(texts)) > 150
    for word in ("crimson", "wyvern", "woods", "rainstorm"):
        assert any(word in text for text in texts)
    allowed = {word for known in SYNONYMS.values() for text in known for word in text.split()}
    allowed |= {"a", "the", "card", "with", "picture", "of", "that", "has", "and", "in", "at", "on", "by"}
    allowed |= {word for value in CARD.values() for word in value.replace(",", "").split()}
    assert {word for text in texts for word in text.split()} <= allowed


def test_the_words_of_all_drawn_cards_have_descriptions():
    for spec in catalog_specs(6, seed=3):
        found = {**CARD, **attributes(spec, draw_described_card(spec)[1])}
        assert main_subject(found) in short_description(found)
        assert random_description(found, np.random.default_rng(0))


def test_every_seventh_combination_of_color_and_subject_is_held_out():
    combinations = [{"color": f"c{color}", "subject": f"s{subject}, other"} for color in range(30) for subject in range(30)]
    assert sum(map(is_held_out, combinations)) / len(combinations) == pytest.approx(1 / 7, abs=0.03)


@pytest.fixture
def world(tmp_path):
    """Thirty cards whose embeddings are those of their full descriptions, and a text model that knows them."""
    colors, subjects = ("red", "blue", "green", "pink", "gray"), ("dragon", "bird", "fish", "golem", "spirit", "tower")
    cards = [card(number, color=colors[number % 5], subject=subjects[number // 5]) for number in range(30)]
    write_vectors_bundle(tmp_path / "bundle", embed_texts([full_description(one) for one in cards], random_weights(DIM)))
    write_text_model(tmp_path / "text", PROJECTION_MODEL_ID, DIM)
    write_list(tmp_path / "cards.csv", cards)
    return tmp_path


def run(world, *more):
    places = ["--index", world / "bundle", "--cards", world / "cards.csv", "--text-model", world / "text"]
    return evaluate_text.main([str(argument) for argument in (*places, *more)])


def test_a_model_that_knows_the_cards_finds_all_of_them(world, capsys):
    assert run(world, "--json", "--write") == 0
    rows = {row["descriptions"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    full = rows["a card in full"]
    assert (full["n"], full["hits_at_10"]) == (30, 30)
    assert full["hits_by_chance"] == pytest.approx(10 / 30, abs=1e-3)
    parts = [row for kind, row in rows.items() if kind.startswith("in full")]
    assert sum(row["n"] for row in parts) == 30
    assert min(row["n"] for row in parts) > 0
    assert rows["color of the subject"]["n"] == 5
    assert rows["color of the subject"]["precision_by_chance"] == pytest.approx(0.2)
    recorded = json.loads((world / "text" / MODEL_FILE).read_text())["measured"]["descriptions"]
    assert recorded[0]["hits_at_10"] == 30


def test_names_that_say_nothing_find_no_more_than_chance(world, capsys):
    assert run(world, "--names", "--json") == 0
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    low, high = row["interval"]
    assert (row["descriptions"], row["n"]) == ("name and rarity", 30)
    assert low <= row["hits_by_chance"] <= high


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda world: (world / "cards.csv").write_text("card_id,name,image\n"), "no column"),
        (lambda world: write_list(world / "cards.csv", [card(1)]), "more than 10 needed"),
        (lambda world: (world / "cards.csv").unlink(), "cannot be read"),
        (lambda world: write_text_model(world / "text", "other", DIM), "describes pictures of model other"),
    ],
)
def test_bad_input_is_named(world, capsys, damage, message):
    damage(world)
    assert run(world) == 65
    assert message in capsys.readouterr().err


def test_a_list_without_rows_is_refused(tmp_path):
    with pytest.raises(Exception, match="no column"):
        read_described_cards(write_list(tmp_path / "cards.csv", []))
