"""Comparing two bundles: what a photo shows, what counts as better, and what is printed."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import DataError, ExitCode
from tests.support.small_scanner import make_small_scanner, save, write_index
from tools import compare_bundles as tool
from tools.evaluation.bundle_comparison.answers import Answer, Grade, NamedCard
from tools.evaluation.bundle_comparison.comparison import Compared, summarize
from tools.evaluation.bundle_comparison.truth import list_photos, truth_in_list, truth_in_names


def named(*printings):
    return NamedCard(printings[0], f"Card {printings[0]}", printings, 0.9)


def answer(*cards):
    return Answer(tuple(named(*(card if isinstance(card, tuple) else (card,))) for card in cards), 0 if cards else 1)


def compared(truth, old, new):
    return Compared(Path("p.jpg"), None if truth is None else frozenset(truth), old, new, b"")


@pytest.mark.parametrize(
    ("truth", "given", "grade"),
    [
        ({"a"}, answer("a"), Grade.RIGHT),
        ({"a"}, answer(("b", "a")), Grade.RIGHT),
        ({"a"}, answer(), Grade.REFUSED),
        ({"a"}, answer("b"), Grade.WRONG),
        ({"a"}, answer("a", "b"), Grade.WRONG),
        ({"a", "b"}, answer("a"), Grade.REFUSED),
        ({"a", "b"}, answer("b", "a"), Grade.RIGHT),
        (set(), answer(), Grade.RIGHT),
        (set(), answer("a"), Grade.WRONG),
    ],
)
def test_an_answer_is_right_when_it_names_all_that_is_there_and_nothing_else(truth, given, grade):
    assert given.grade(frozenset(truth)) is grade


@pytest.mark.parametrize(
    ("truth", "old", "new", "change"),
    [
        ({"a"}, answer("b"), answer("a"), "better"),
        ({"a"}, answer("b"), answer(), "better"),
        ({"a"}, answer("a"), answer(), "worse"),
        ({"a"}, answer(), answer("b"), "worse"),
        ({"a"}, answer("b"), answer("c"), "other wrong card"),
        ({"a"}, answer("a"), answer(("a", "b")), "same"),
        (None, answer("a"), answer("b"), "changed"),
        (None, answer("a", "b"), answer("b", "a"), "same"),
    ],
)
def test_changes_are_called_by_what_they_are(truth, old, new, change):
    assert compared(truth, old, new).change == change


answers = st.lists(st.sampled_from("abcd"), max_size=3, unique=True).map(lambda cards: answer(*cards))
truths = st.none() | st.sets(st.sampled_from("abc"), max_size=2)


@given(st.lists(st.tuples(truths, answers, answers)))
def test_turning_the_bundles_round_turns_the_summary_round(photos):
    there = summarize([compared(truth, old, new) for truth, old, new in photos])
    back = summarize([compared(truth, new, old) for truth, old, new in photos])
    assert (there.changes["better"], there.changes["worse"]) == (back.changes["worse"], back.changes["better"])
    assert (there.vanished, there.appeared) == (back.appeared, back.vanished)
    assert sum(there.changes.values()) == there.photos == len(photos)
    assert all(there.graded[grade] == back.graded[grade][::-1] for grade in Grade)


def test_wrong_cards_that_vanish_are_counted():
    photos = [
        compared({"a"}, answer("x"), answer("a")),
        compared({"b"}, answer("x"), answer("y")),
        compared({"c"}, answer("x"), answer("x")),
    ]
    summary = summarize(photos)
    assert dict(summary.vanished) == {"x": 2}
    assert dict(summary.appeared) == {"y": 1}


def test_names_tell_the_card_when_there_is_one(tmp_path):
    tell = truth_in_names(["B1-7", "odd_one"])
    assert tell(tmp_path / "B1-7.jpg") == {"B1-7"}
    assert tell(tmp_path / "B1-7_dark_2.png") == {"B1-7"}
    assert tell(tmp_path / "odd_one.png") == {"odd_one"}
    assert tell(tmp_path / "IMG_2041.jpg") is None


def test_a_list_tells_several_cards_or_none(tmp_path):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "truth.csv").write_text("image,card_id\na.jpg,B1-7\na.jpg,B1-8\nb.jpg,\n")
    tell = truth_in_list(tmp_path / "truth.csv", tmp_path)
    assert [tell(photo) for photo in list_photos(tmp_path)] == [{"B1-7", "B1-8"}, frozenset(), None]


@pytest.mark.parametrize(
    ("text", "message"),
    [("image\na.jpg\n", "line 1: no column card_id"), ("image,card_id\nnone.jpg,x\n", "line 2: no picture .*none.jpg")],
)
def test_a_list_that_cannot_be_right_is_refused_with_its_line(tmp_path, text, message):
    (tmp_path / "truth.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        truth_in_list(tmp_path / "truth.csv", tmp_path)


def run(capsys, *arguments):
    try:
        status = tool.main([str(argument) for argument in arguments])
    except SystemExit as leaving:
        status = leaving.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """An old bundle that lacks the last card and takes its picture for the first, photos of all cards, and the new bundle."""
    folder = tmp_path_factory.mktemp("bundles")
    world = make_small_scanner(folder / "world", cards=6)
    first, *_, last = world.images
    spoiled = {card_id: world.images[last if card_id == first else card_id] for card_id in world.images if card_id != last}
    write_index(folder / "old", world.model, spoiled)
    (folder / "photos").mkdir()
    for card_id, picture in world.images.items():
        save(folder / "photos" / f"{card_id}_table.png", picture)
    save(folder / "photos" / "nobody-knows.png", world.unknown_card)
    return folder, world, first, last


def test_a_bundle_that_was_mended_is_better_and_its_wrong_card_is_gone(bundles, capsys, tmp_path):
    folder, world, first, last = bundles
    arguments = [folder / "old", world.index, "--photos", folder / "photos", "--rectified", "--model", world.model]
    report = tmp_path / "report.html"
    status, printed, _ = run(capsys, *arguments, "--report", report)
    assert status == ExitCode.OK
    assert f"better: {last}_table.png: {first}" in printed
    assert f"wrong card no longer named: {first} (1 x)" in printed
    assert "7 photos, 6 of them with a known truth: 2 better" in printed
    page = report.read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") >= 6
    vanished = page.partition("Wrong cards no longer named</h2>")[2].partition("</table>")[0]
    assert f'<tr><td>{first}</td><td class="n">1</td></tr>' in vanished
    assert "http" not in page


def test_json_holds_a_line_for_each_photo(bundles, capsys):
    folder, world, first, last = bundles
    status, printed, _ = run(
        capsys, world.index, folder / "old", "--photos", folder / "photos", "--rectified", "--model", world.model, "--json"
    )
    lines = {Path(line["photo"]).name: line for line in map(json.loads, printed.splitlines())}
    assert status == ExitCode.OK
    assert lines[f"{last}_table.png"]["change"] == "worse"
    assert lines[f"{last}_table.png"]["new"]["named"][0]["card_id"] == first
    assert lines["nobody-knows.png"]["truth"] is None


@pytest.mark.parametrize("missing", ["bundle", "photos", "network"])
def test_what_is_missing_is_named_and_has_its_status(bundles, capsys, tmp_path, missing):
    folder, world, *_ = bundles
    old = tmp_path / "none" if missing == "bundle" else folder / "old"
    photos = tmp_path if missing == "photos" else folder / "photos"
    other = ["--old-model", tmp_path / "gone"] if missing == "network" else []
    status, printed, told = run(capsys, old, world.index, "--photos", photos, "--model", world.model, *other)
    assert (status, printed) == (ExitCode.USAGE if missing == "network" else ExitCode.BAD_DATA, "")
    assert str(tmp_path) in told
