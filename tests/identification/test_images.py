"""``cardedge identify``: the JSON contract and the answers about images."""

import json

import numpy as np
import pytest

from edge.app.recognizer import open_recognizer
from edge.cli.main import main
from edge.errors import ExitCode
from edge.identification.answer import answer_text, nearest_rotation
from edge.identification.images import IdentifyOptions, identify_pixels
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId
from edge.settings.sections import IndexSection, NetworkSection, Settings
from edge.vision.card import LocatedCard, Point, Quad
from tests.support.small_scanner import on_table, save, write_index

IMAGE_KEYS = ["image", "width", "height", "timing_ms", "cards", "backs"]
STAGES = ["locate", "embed", "search", "verify", "read", "total"]
CARD_KEYS = [
    "quad", "status", "card_id", "name", "similarity", "margin", "verification", "rotation", "candidates", "printings", "reason",
    "number_read",
]  # fmt: skip
CANDIDATE_KEYS = ["card_id", "name", "similarity", "verification"]


@pytest.fixture
def identify(small_scanner, capsys):
    """Run the command with ``--json`` and return its status and answers."""

    def run(*arguments):
        status = main(
            ["identify", *map(str, arguments), "--index", str(small_scanner.index), "--model", str(small_scanner.model), "--json"]
        )
        return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return run


def first_cards(small_scanner, count):
    return list(small_scanner.images.items())[:count]


def test_an_answer_has_exactly_the_keys_of_the_contract(small_scanner, identify, tmp_path):
    image = save(tmp_path / "a.png", on_table(first_cards(small_scanner, 1)[0][1]))
    status, (answer,) = identify(image)
    assert status == ExitCode.OK
    assert list(answer) == IMAGE_KEYS
    assert (answer["image"], answer["width"], answer["height"]) == (str(image), 1280, 720)
    assert list(answer["timing_ms"]) == STAGES
    assert all(value >= 0.0 for value in answer["timing_ms"].values())
    assert sum(answer["timing_ms"][stage] for stage in STAGES[:-1]) <= answer["timing_ms"]["total"] + 0.1
    (card,) = answer["cards"]
    assert list(card) == CARD_KEYS
    assert all(list(candidate) == CANDIDATE_KEYS for candidate in card["candidates"])


def test_every_card_in_view_is_identified_with_its_quad(small_scanner, identify, tmp_path):
    (first_id, first), (second_id, second) = first_cards(small_scanner, 2)
    _, (answer,) = identify(save(tmp_path / "two.png", on_table(first, second)))
    found = {card["card_id"]: card for card in answer["cards"]}
    assert set(found) == {first_id, second_id}
    for card_id, left in ((first_id, 150), (second_id, 570)):
        card = found[card_id]
        assert card["status"] == "identified"
        assert card["name"] == f"Name {card_id}"
        assert card["printings"] == [card_id]
        assert card["reason"] is None
        assert card["rotation"] == 0
        corners = np.array([[left, 184], [left + 252, 184], [left + 252, 536], [left, 536]])
        assert np.abs(np.array(card["quad"]) - corners).max() < 4.0


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_the_quad_of_a_rotated_card_starts_at_its_own_top_left(small_scanner, identify, tmp_path, turns):
    card_id, card = first_cards(small_scanner, 1)[0]
    _, (answer,) = identify(save(tmp_path / "turned.png", on_table(card, turned=turns)))
    (found,) = answer["cards"]
    assert found["card_id"] == card_id
    assert found["rotation"] == 90 * turns
    top_left, bottom_right = np.array(found["quad"][0]), np.array(found["quad"][2])
    inward = np.sign(bottom_right - top_left).tolist()
    assert inward == {1: [-1, 1], 2: [-1, -1], 3: [1, -1]}[turns]


@pytest.mark.parametrize("upside_down", [False, True])
def test_a_scan_may_be_upside_down(small_scanner, identify, tmp_path, upside_down):
    card_id, card = first_cards(small_scanner, 1)[0]
    image = card[::-1, ::-1] if upside_down else card
    _, (answer,) = identify(save(tmp_path / "card.png", image), "--rectified")
    (found,) = answer["cards"]
    assert (found["status"], found["card_id"]) == ("identified", card_id)
    assert found["rotation"] == (180 if upside_down else 0)
    assert found["quad"][0] == ([251.5, 351.5] if upside_down else [-0.5, -0.5])


def test_an_unknown_card_is_not_identified(small_scanner, identify, tmp_path):
    _, (answer,) = identify(save(tmp_path / "unknown.png", small_scanner.unknown_card), "--rectified")
    (found,) = answer["cards"]
    assert found["status"] in {"unknown", "uncertain"}
    assert found["card_id"] is None
    assert found["name"] is None
    assert found["reason"]
    assert found["candidates"]


def test_no_card_is_found_on_an_empty_table(identify, tmp_path):
    status, (answer,) = identify(save(tmp_path / "empty.png", on_table()))
    assert status == ExitCode.OK
    assert answer["cards"] == []


def test_top_k_limits_the_candidates(small_scanner, identify, tmp_path):
    image = save(tmp_path / "card.png", small_scanner.unknown_card)
    counts = {}
    for top_k in (1, 3):
        _, (answer,) = identify(image, "--rectified", "--top-k", top_k)
        counts[top_k] = len(answer["cards"][0]["candidates"])
    assert counts[1] == 1
    assert counts[3] in {2, 3}


def test_an_unreadable_image_does_not_keep_the_others_from_being_answered(small_scanner, identify, tmp_path):
    good = save(tmp_path / "good.png", small_scanner.unknown_card)
    broken = tmp_path / "broken.png"
    broken.write_bytes(good.read_bytes()[:200])
    empty = tmp_path / "empty.png"
    empty.touch()
    status, answers = identify(broken, good, tmp_path / "none.png", empty, "--rectified")
    assert status == ExitCode.BAD_DATA
    assert [list(answer) for answer in answers] == [["image", "error"], IMAGE_KEYS, ["image", "error"], ["image", "error"]]
    assert all(str(path) in answers[index]["error"] for index, path in ((0, broken), (2, tmp_path / "none.png"), (3, empty)))


def test_with_an_empty_index_every_card_is_unknown(small_scanner, tmp_path, capsys):
    index = write_index(tmp_path / "empty-index", small_scanner.model, {})
    image = save(tmp_path / "card.png", small_scanner.unknown_card)
    status = main(["identify", str(image), "--rectified", "--index", str(index), "--model", str(small_scanner.model), "--json"])
    (card,) = json.loads(capsys.readouterr().out)["cards"]
    assert status == ExitCode.OK
    assert (card["status"], card["reason"], card["candidates"]) == ("unknown", "empty_index", [])
    assert (card["similarity"], card["margin"], card["verification"]) == (None, None, None)


def test_the_text_has_a_line_per_card(small_scanner, tmp_path, capsys):
    card_id, card = first_cards(small_scanner, 1)[0]
    images = [save(tmp_path / "card.png", on_table(card)), save(tmp_path / "empty.png", on_table()), tmp_path / "none.png"]
    main(["identify", *map(str, images), "--index", str(small_scanner.index), "--model", str(small_scanner.model)])
    output = capsys.readouterr().out
    assert f"identified  {card_id}  Name {card_id}" in output
    assert "no card found" in output
    assert "none.png" in output


@pytest.mark.parametrize(
    ("corners", "turns"),
    [
        ([(0, 0), (2, 0.2), (1.8, 3), (-0.2, 2.8)], 0),
        ([(3, 0), (3, 2), (0, 2), (0, 0)], 90),
        ([(2, 3), (0, 3), (0, 0), (2, 0)], 180),
        ([(0, 2), (0, 0), (3, 0), (3, 2)], 270),
    ],
)
def test_nearest_rotation_follows_the_top_edge(corners, turns):
    assert nearest_rotation(Quad(*(Point(*corner) for corner in corners))) == turns


# --- --expect ------------------------------------------------------------------------------------------------------------------------


def test_the_expected_card_matches(small_scanner, identify, tmp_path):
    card_id, card = first_cards(small_scanner, 1)[0]
    status, (answer,) = identify(save(tmp_path / "a.png", on_table(card)), "--expect", card_id)
    expected = answer["expected"]
    assert status == ExitCode.OK
    assert (expected["answer"], expected["ground"], expected["card"]) == ("match", None, 0)
    assert (expected["card_id"], expected["name"]) == (card_id, f"Name {card_id}")
    assert expected["agreement"] > 0.8
    assert list(answer) == [*IMAGE_KEYS, "expected"]


def test_another_card_is_a_mismatch_and_is_named(small_scanner, identify, tmp_path):
    (first_id, first), (second_id, _) = first_cards(small_scanner, 2)
    status, (answer,) = identify(save(tmp_path / "a.png", on_table(first)), "--expect", second_id)
    assert status == ExitCode.MISMATCH
    assert (answer["expected"]["answer"], answer["expected"]["ground"]) == ("mismatch", "another_card")
    assert answer["expected"]["other"]["card_id"] == first_id


def test_one_match_among_several_cards_is_a_match(small_scanner, identify, tmp_path):
    (_, first), (second_id, second) = first_cards(small_scanner, 2)
    status, (answer,) = identify(save(tmp_path / "two.png", on_table(first, second)), "--expect", second_id)
    assert status == ExitCode.OK
    assert answer["cards"][answer["expected"]["card"]]["card_id"] == second_id


def test_no_card_is_undecided_and_the_exit_status_is_the_most_severe(small_scanner, identify, tmp_path):
    (card_id, card), (other_id, _) = first_cards(small_scanner, 2)
    empty = save(tmp_path / "empty.png", on_table())
    status, (answer,) = identify(empty, "--expect", card_id)
    assert status == ExitCode.CANNOT_SAY
    assert (answer["expected"]["answer"], answer["expected"]["ground"]) == ("cannot_say", "no_card_found")
    shown = save(tmp_path / "card.png", on_table(card))
    assert identify(shown, empty, "--expect", card_id)[0] == ExitCode.CANNOT_SAY
    assert identify(shown, empty, "--expect", other_id)[0] == ExitCode.MISMATCH
    assert identify(shown, tmp_path / "missing.png", "--expect", other_id)[0] == ExitCode.BAD_DATA


def test_an_expected_card_that_is_not_in_the_index_is_a_usage_error(small_scanner, tmp_path, capsys):
    image = save(tmp_path / "a.png", on_table())
    arguments = ["identify", str(image), "--index", str(small_scanner.index), "--model", str(small_scanner.model), "--expect", "missing"]
    assert main(arguments) == ExitCode.USAGE
    output = capsys.readouterr()
    assert output.out == ""
    assert "--expect missing" in output.err
    assert "cardedge index search" in output.err


def test_the_text_contains_the_verdict_about_the_expected_card(small_scanner, tmp_path, capsys):
    card_id, card = first_cards(small_scanner, 1)[0]
    image = save(tmp_path / "a.png", on_table(card))
    arguments = ["identify", str(image), "--index", str(small_scanner.index), "--model", str(small_scanner.model), "--expect", card_id]
    assert main(arguments) == ExitCode.OK
    assert f"match  expected {card_id}  Name {card_id}  agreement" in capsys.readouterr().out


def test_a_card_face_down_is_not_recognized_but_reported(small_scanner):
    back = Quad(Point(800, 200), Point(926, 200), Point(926, 376), Point(800, 376))
    settings = Settings(network=NetworkSection(model=small_scanner.model), index=IndexSection(directory=small_scanner.index))
    with open_recognizer(settings) as recognizer:
        options = IdentifyOptions(locate=lambda _: (LocatedCard(back, (0, 180), 9.0, is_back=True),), top_k=5)
        answer = identify_pixels("a table", on_table(), recognizer, options)
    assert answer.cards == ()
    assert answer.backs == (((800, 200), (926, 200), (926, 376), (800, 376)),)
    assert answer_text(answer).splitlines()[1:] == ["  1 face down"]


# --- --expect-class ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def classified(small_scanner, tmp_path, capsys):
    """Run the command with a claimed class on an image of the first card, of set X, on an index in which others are of set Y."""
    cards = list(small_scanner.images)
    sets = dict.fromkeys(cards, "Y") | {cards[0]: "X"}
    gallery = {CardId(each): Card(CardId(each), f"Name {each}", each, set=sets[each], attributes={"foil": "yes"}) for each in cards}
    write_index(tmp_path / "index", small_scanner.model, small_scanner.images, cards=gallery)

    def run(claimed, image=small_scanner.images[cards[0]]):
        path = save(tmp_path / "a.png", image)
        arguments = ["--rectified", "--index", str(tmp_path / "index"), "--model", str(small_scanner.model), "--json"]
        status = main(["identify", str(path), "--expect-class", claimed, *arguments])
        output = capsys.readouterr()
        return status, json.loads(output.out)["expected_class"] if output.out else output.err

    return run


@pytest.mark.parametrize(
    ("claimed", "status", "verdict", "ground", "found"),
    [
        ("set=X", ExitCode.OK, "match", None, ["X"]),
        ("set=Y", ExitCode.MISMATCH, "mismatch", "another_class", ["X"]),
        ("foil=yes", ExitCode.OK, "match", None, ["yes"]),
    ],
)
def test_a_card_is_of_the_claimed_class_or_is_not(classified, claimed, status, verdict, ground, found):
    ended, answer = classified(claimed)
    assert ended == status
    column, value = claimed.split("=")
    assert answer == {"column": column, "value": value, "answer": verdict, "ground": ground, "card": 0, "found": found}


def test_nothing_is_said_about_the_class_of_an_unknown_card(classified, small_scanner):
    status, answer = classified("set=Y", small_scanner.unknown_card)
    assert (status, answer["answer"], answer["found"]) == (ExitCode.CANNOT_SAY, "cannot_say", [])


@pytest.mark.parametrize(
    ("claimed", "message"),
    [
        ("set", "write COLUMN=VALUE; the columns of this index are artwork_group, foil, language, name, rarity, set"),
        ("game=X", "write COLUMN=VALUE"),
        ("set=Z", "no card of the index has this set; it has X, Y"),
        ("language=en", "no card has a value in this column"),
    ],
)
def test_a_class_that_the_index_lacks_is_a_usage_error(classified, claimed, message):
    status, error = classified(claimed)
    assert status == ExitCode.USAGE
    assert f"--expect-class {claimed}: " in error
    assert message in error


def test_the_text_contains_the_verdict_about_the_class(small_scanner, tmp_path, capsys):
    card_id, card = first_cards(small_scanner, 1)[0]
    image = save(tmp_path / "a.png", card)
    claimed = f"name=Name {card_id}"
    main(
        [
            "identify",
            str(image),
            "--rectified",
            "--index",
            str(small_scanner.index),
            "--model",
            str(small_scanner.model),
            "--expect-class",
            claimed,
        ]
    )
    assert f"  match  expected name Name {card_id}  found Name {card_id}" in capsys.readouterr().out
