"""Names of images: written otherwise on the disk, and with signs that have a meaning in web addresses; empty columns of spreadsheets."""

import unicodedata

import pytest

from edge.errors import DataError
from tools.bundle_build.card_list import read_card_list
from tools.bundle_build.similar_names import explain_missing


@pytest.mark.parametrize(
    ("on_disk", "listed", "says"),
    [
        (unicodedata.normalize("NFD", "Pokédex.png"), "Pokédex.png", "the accents are encoded differently"),
        ("Pokédex.png", unicodedata.normalize("NFD", "Pokédex.png"), "the accents are encoded differently"),
        ("set/one.png", "set\\one.png", "by backslashes"),
        ("set/one.png", ".\\SET\\One.png", "by backslashes"),
        ("two.PNG", "two.png", "upper and lower case differ"),
        ("Set/two.png", "./set/two.png", "upper and lower case differ"),
        (" two.png", "two.png", "begins or ends with a space, which a list cannot hold; rename the file"),
        ("set /two.png", "set/two.png", "begins or ends with a space"),
    ],
)
def test_a_name_that_only_looks_the_same_is_explained(tmp_path, on_disk, listed, says):
    (tmp_path / on_disk).parent.mkdir(exist_ok=True)
    (tmp_path / on_disk).touch()
    explanation = explain_missing(tmp_path, listed)
    assert explanation.startswith(f"the folder has {on_disk!r}: ")
    assert says in explanation


@pytest.mark.parametrize("listed", ["three.png", "none/one.png", "one.png/x.png", ".."])
def test_another_name_is_not_explained(tmp_path, listed):
    (tmp_path / "one.png").touch()
    assert explain_missing(tmp_path, listed) is None


def written(tmp_path, text):
    path = tmp_path / "cards.csv"
    path.write_text(text)
    return path


def test_empty_columns_of_a_spreadsheet_are_left_out(tmp_path):
    card_list = read_card_list(written(tmp_path, "card_id,name,image,,set,,\na,A,a.png,,S,,\nb,B,b.png,,S,,,,\n"))
    assert [(row.card.card_id, row.card.set, row.card.attributes) for row in card_list.rows] == [("a", "S", {}), ("b", "S", {})]


def test_a_column_without_a_name_that_holds_something_is_named(tmp_path):
    with pytest.raises(DataError, match="line 3: column 5 has no name in the header but holds 'sold'"):
        read_card_list(written(tmp_path, "card_id,name,image,,\na,A,a.png,,\nb,B,b.png,,sold\n"))


def test_an_image_on_a_web_server_is_named_by_its_escaped_address():
    daft_engine = pytest.importorskip("tools.bundle_build.daft_engine", reason="needs the extra daft", exc_type=ImportError)
    assert daft_engine.image_address("http://host/scans/", "set/Who? #1 50%25.png") == "http://host/scans/set/Who%3F%20%231%2050%2525.png"
    assert daft_engine.image_address("s3://bucket/scans", "Who? #1.png") == "s3://bucket/scans/Who? #1.png"
    assert daft_engine.image_address("/scans", "Who? #1.png") == "/scans/Who? #1.png"
