"""The evaluation: what counts as right, how the table is made, and the tool on a small scanner."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from edge.recognition.decision import Candidate, Identified, RejectReason, Sighting, Uncertain, Unknown
from edge.recognition.gallery import Card, Gallery
from edge.recognition.neighbors import Neighbor
from edge.vision.card import LocatedCard, whole_image_quad
from tools import evaluate
from tools.evaluation.hidden_artwork import HiddenArtworkIndex
from tools.evaluation.queries import Query
from tools.evaluation.recognition import Counts, Row, as_table, count_outcome
from tools.reports.intervals import wilson_interval

PICTURE = np.zeros((352, 252, 3), np.uint8)
OUTLINE = LocatedCard(whole_image_quad(PICTURE), (0, 180), 0.0)
GALLERY = Gallery(
    {card_id: Card(card_id, card_id, group) for card_id, group in (("a", "art-a"), ("again", "art-a"), ("b", "art-b"))},
    ("a", "again", "b"),
    np.zeros((3, 1728), np.uint8),
)


def sighting(decision, located=OUTLINE):
    return Sighting(located, located.quad, decision)


def named(card_id):
    best = Candidate(card_id, GALLERY.artwork_group(card_id), 0.9, 0.9, 0)
    return Identified(best, 0.3, GALLERY.printings(card_id), (best,))


UNKNOWN = Unknown(RejectReason.TOO_FAR, 0.0, ())


def test_a_printing_of_the_same_artwork_counts_as_right():
    query = Query(PICTURE, "a")
    assert count_outcome(query, (sighting(named("again")),), GALLERY).named_right == 1
    wrong = count_outcome(query, (sighting(named("b")),), GALLERY)
    assert (wrong.named_right, wrong.named_wrong, wrong.nearest_right) == (0, 1, 0)


def test_open_answers_are_neither_right_nor_wrong():
    query = Query(PICTURE, "a")
    best = named("a").best
    uncertain = Uncertain(best, 0.1, ("a", "again"), (best,), RejectReason.FAILED_VERIFICATION)
    assert count_outcome(query, (sighting(uncertain),), GALLERY) == Counts(asked=1, uncertain=1, nearest_right=1, verified_right=1)
    assert count_outcome(query, (sighting(UNKNOWN),), GALLERY) == Counts(asked=1, unknown=1)
    assert count_outcome(query, (), GALLERY) == Counts(asked=1, not_located=1)


def test_a_picture_without_a_card_is_wrong_only_when_something_is_named():
    query = Query(PICTURE, None, locate=lambda _: ())
    assert count_outcome(query, (), GALLERY) == Counts(asked=1)
    assert count_outcome(query, (sighting(UNKNOWN),), GALLERY) == Counts(asked=1, unknown=1)
    assert count_outcome(query, (sighting(UNKNOWN), sighting(named("b"))), GALLERY) == Counts(asked=1, named_wrong=1)


def test_a_card_named_elsewhere_in_the_photo_is_not_the_one_asked_for():
    elsewhere = LocatedCard(whole_image_quad(np.zeros((30, 20, 3), np.uint8)), (0, 180), 0.0)
    query = Query(PICTURE, "a", locate=lambda _: (), outline=OUTLINE)
    assert count_outcome(query, (sighting(named("a"), elsewhere),), GALLERY).not_located == 1


def test_hiding_an_artwork_hides_all_its_printings_and_still_fills_the_answer():
    class Index:
        def search(self, queries, k):
            row = tuple(Neighbor(entry, card_id, 0.9 - entry / 10) for entry, card_id in enumerate(GALLERY.entry_card_ids))
            return tuple(row[:k] for _ in queries)

    hidden = HiddenArtworkIndex(Index(), GALLERY, "art-a")
    assert [[near.card_id for near in row] for row in hidden.search(np.zeros((2, 4), np.float32), 1)] == [["b"], ["b"]]


def test_wilson_intervals_agree_with_the_published_table():
    """31 of 31 gives 89 to 100 %, 35 of 39 gives 76 to 96 %: figures of a peer's report."""
    assert wilson_interval(31, 31) == pytest.approx((0.890, 1.0), abs=5e-4)
    assert wilson_interval(35, 39) == pytest.approx((0.764, 0.959), abs=5e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="5 successes of 4"):
        wilson_interval(5, 4)


def test_the_table_says_which_bounds_are_missed():
    missed = Row("scans", "named right", Counts(asked=10, named_right=9), 9, 0.99)
    table = as_table([missed, Row("no card", "nothing named", Counts(asked=10), 10, 1.0)])
    assert "≥ 99 MISSED" in table
    assert "≥ 100 holds" in table


@pytest.fixture
def folder(tmp_path, small_scanner):
    with (tmp_path / "cards.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["card_id", "name", "image"])
        for card_id, picture in small_scanner.images.items():
            Image.fromarray(picture).save(tmp_path / f"{card_id}.png")
            writer.writerow([card_id, card_id, f"{card_id}.png"])
    (tmp_path / "negatives").mkdir()
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 255, (40, 40, 3), np.uint8)
        Image.fromarray(noise).resize((400, 300)).save(tmp_path / "negatives" / f"{number}.jpg")
    return tmp_path


def options(folder, small_scanner, *more):
    places = ["--index", small_scanner.index, "--model", small_scanner.model, "--images", folder, "--cards", folder / "cards.csv"]
    return [str(option) for option in (*places, "--negatives", folder / "negatives", *more)]


def test_the_tool_measures_a_small_world(folder, small_scanner, capsys):
    status = evaluate.main(options(folder, small_scanner, "--views", "clean", "--limit", "4", "--json"))
    rows = {row["pictures"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows["scans"]["named_right"] == rows["scans"]["asked"] == 4
    # a thumbnail's projection and seven cards to compare with refuse less well than a trained network and a whole catalogue
    assert rows["view clean, not in the index"]["named_wrong"] < rows["view clean"]["named_right"] / 2
    assert rows["no card, taken as a card"]["share"] == 1.0
    assert status == (0 if all(row["holds"] is not False for row in rows.values()) else evaluate.BOUND_MISSED)


@pytest.mark.parametrize(
    ("more", "status", "message"),
    [
        (["--views", "moonlight"], 64, "no view 'moonlight'"),
        (["--sets", "Z9"], 65, "no card of this bundle in sets Z9"),
        (["--index", "nowhere"], 65, "nowhere"),
    ],
)
def test_bad_input_is_named(folder, small_scanner, capsys, more, status, message):
    assert evaluate.main(options(folder, small_scanner, *more)) == status
    assert message in capsys.readouterr().err
