"""The same queries in indexes of several sizes."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from edge.bundles.bundle import open_bundle
from edge.errors import UsageError
from edge.index.releases import open_index
from edge.recognition.gallery import Card, Gallery
from tests.support.stand_ins import write_vectors_bundle
from tools import evaluate_scale
from tools.benchmarks.vectors import random_vectors
from tools.evaluation.scale import ANY, LOOK_ALIKE, UNRELATED, first_cards, relation, with_nearest_look_alike


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_a_part_of_a_bundle_has_the_first_cards_and_their_entries(tmp_path):
    write_vectors_bundle(tmp_path / "b", random_vectors(9, 16))
    bundle = open_bundle(tmp_path / "b")
    part = first_cards(bundle, 4)
    assert list(part.gallery.cards) == list(bundle.gallery.cards)[:4]
    assert np.array_equal(part.vectors, bundle.vectors[:4])
    with pytest.raises(UsageError, match="10 cards of a bundle with 9"):
        first_cards(bundle, 10)


@pytest.mark.parametrize(
    ("left_out", "named", "expected"),
    [("a", "b", "recolor"), ("b", "a", "recolor"), ("b", "c", "pose and recolor"), ("a", "d", UNRELATED), ("c", "e", UNRELATED)],
)
def test_a_wrong_name_is_explained_by_what_the_cards_have_in_common(left_out, named, expected):
    known = {"a": ("original", ""), "b": ("recolor", "a"), "c": ("pose", "a"), "d": ("original", ""), "e": ("pose", "d")}
    cards = {
        card_id: Card(card_id, card_id, card_id, attributes={"relation": how, "related_to": whom}) for card_id, (how, whom) in known.items()
    }
    assert relation(Gallery(cards, tuple(cards), np.zeros((5, 1728), np.uint8)), left_out, named) == expected


def test_the_nearest_look_alike_is_of_another_artwork_and_each_artwork_counts_once(tmp_path):
    vectors = random_vectors(8, 64)
    vectors[1] = unit(vectors[:1] + 0.01 * vectors[1:2])[0]  # a reprint of card 0: not a look-alike
    vectors[3] = unit(vectors[2:3] + 0.3 * vectors[3:4])[0]
    vectors[5] = unit(vectors[4:5] + 0.8 * vectors[5:6])[0]
    write_vectors_bundle(tmp_path / "b", vectors, artwork_groups=["a", "a", *"cdefgh"])
    bundle = open_bundle(tmp_path / "b")
    ids = list(bundle.gallery.cards)
    found = with_nearest_look_alike(bundle, 4)
    assert set(found[:2]) == {ids[2], ids[3]}
    assert set(found[2:]) == {ids[4], ids[5]}
    assert len(with_nearest_look_alike(bundle, 99)) == 7


@pytest.fixture
def options(tmp_path, small_scanner):
    with (tmp_path / "cards.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["card_id", "name", "image"])
        for card_id, image in small_scanner.images.items():
            Image.fromarray(image).save(tmp_path / f"{card_id}.png")
            writer.writerow([card_id, card_id, f"{card_id}.png"])
    places = ["--index", small_scanner.index, "--model", small_scanner.model, "--images", tmp_path, "--cards", tmp_path / "cards.csv"]
    return [*map(str, places), "--views", "clean", "--queries", "3", "--look-alikes", "2", "--json"]


def test_the_tool_puts_the_same_queries_to_every_size(options, small_scanner, capsys):
    cards = len(open_index(small_scanner.index).gallery.cards)
    assert evaluate_scale.main([*options, "--sizes", f"{cards},4"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["cards"], row["queries"], row["n"]) for row in rows] == [
        (4, ANY, 3),
        (4, LOOK_ALIKE, 2),
        (cards, ANY, 3),
        (cards, LOOK_ALIKE, 2),
    ]
    for row in rows:
        assert row["named_right"] + row["named_wrong"] <= row["n"]
        assert row["left_out_refused"] + row["left_out_named"] == row["n"]
        assert sum(row["left_out_named_as"].values()) == row["left_out_named"]
    assert all(row["named_right"] == row["n"] for row in rows)


@pytest.mark.parametrize(
    ("more", "status", "message"),
    [(["--sizes", "5000"], 64, "5000 cards of a bundle"), (["--views", "moonlight"], 64, "unknown moonlight")],
)
def test_bad_input_is_named(options, capsys, more, status, message):
    assert evaluate_scale.main([*options, *more]) == status
    assert message in capsys.readouterr().err
