"""``cardedge index add | added | remove | export | refresh``: output and exit status."""

import json

import pytest

from edge.cli.main import main
from edge.index import releases
from tests.support.small_scanner import on_table, save


@pytest.fixture
def cardedge(small_scanner, tmp_path, capsys):
    root = tmp_path / "index"
    root.mkdir()
    releases.activate(root, releases.install(root, small_scanner.index).bundle_id)
    save(tmp_path / "photo.png", on_table(small_scanner.unknown_card))

    def run(action, *arguments):
        model = ["--model", str(small_scanner.model)] if action in ("add", "refresh") else []
        status = main(["index", action, *map(str, arguments), "--index", str(root), *model])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_a_card_is_added_listed_exported_refreshed_and_removed(cardedge, tmp_path):
    card = ("--card-id", "promo-1", "--name", "The Promo")
    assert cardedge("add", "--image", tmp_path / "photo.png", *card, "--set", "promo")[0] == 0
    status, out, _ = cardedge("added", "--json")
    assert (status, json.loads(out)) == (
        0, {"card_id": "promo-1", "name": "The Promo", "set": "promo", "number": None, "rarity": None, "language": None, "pictures": 1},
    )  # fmt: skip
    assert json.loads(cardedge("refresh", "--json")[1])["refreshed"] == 1
    assert json.loads(cardedge("export", "--out", tmp_path / "mine", "--json")[1])["exported"] == 1
    assert (tmp_path / "mine" / "pictures" / "0000.png").is_file()
    assert cardedge("remove", "promo-1")[0] == 0
    assert cardedge("added")[:2] == (0, "")


def test_a_second_image_of_a_card_is_reported_as_one(cardedge, tmp_path):
    add = ("add", "--image", tmp_path / "photo.png", "--card-id", "promo-1", "--name", "The Promo")
    assert cardedge(*add)[1].startswith("promo-1 added; the added cards have 1 image; ")
    assert cardedge(*add)[1].startswith("another image of promo-1 added, it has 2 now; the added cards have 2 images; ")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("add", "--image", "none.png", "--card-id", "x", "--name", "X"), 65, "none.png: cannot be read"),
        (("remove",), 64, "give either the ID of a card or --all"),
        (("remove", "x"), 65, "no such card was added"),
        (("export", "--out", "mine"), 65, "no card was added"),
    ],
)
def test_an_error_is_printed_on_standard_error(cardedge, arguments, status, message):
    found, out, err = cardedge(*arguments)
    assert (found, out) == (status, "")
    assert message in err


def test_no_card_can_be_added_to_a_plain_bundle(small_scanner, capsys):
    assert main(["index", "added", "--index", str(small_scanner.index)]) == 65
    assert "not a device index" in capsys.readouterr().err
