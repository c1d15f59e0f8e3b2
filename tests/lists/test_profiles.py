"""Export profiles: golden files, what a format loses, reading the same formats, and profiles of a shop."""

import csv
import io
import json
from datetime import UTC, datetime

import pytest

from edge.errors import DataError
from edge.lists.export import Exporter
from edge.lists.profile import SHIPPED, read_profile, read_profiles
from edge.lists.reading import CardFinder, read_list
from tests.lists.goldens import CARDS, FOLDER, LINES, Catalog, exporters, price_of

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
EXPORTERS = exporters()
NAMED = {
    "manabox", "moxfield", "archidekt", "tcgplayer", "dragonshield_web", "dragonshield_app", "cardmarket", "riftmana", "text",
    "cardedge_csv", "cardedge_json",
}  # fmt: skip


def test_the_shipped_profiles_name_their_source_and_date():
    assert set(EXPORTERS) == NAMED
    for name, (profile, _) in EXPORTERS.items():
        assert profile.source, name
        assert name.startswith("cardedge") or profile.checked is not None


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_a_profile_writes_its_golden_file(name):
    profile, exporter = EXPORTERS[name]
    assert exporter.write(LINES) == (FOLDER / profile.file).read_bytes()


@pytest.mark.parametrize("name", sorted(EXPORTERS))
def test_what_a_profile_writes_it_reads_again(name):
    profile, exporter = EXPORTERS[name]
    read = read_list(profile, exporter.write(LINES), CardFinder(CARDS.values()), NOW)
    rows = 4 if any(column.finishes for column in profile.columns) else 5
    assert (read.rows, read.unmatched) == (rows, 0)
    named = [line for line in LINES if not line.waiting]
    assert [(line.card_id, line.quantity) for line in read.lines] == [(line.card_id, line.quantity) for line in named]
    has = {column.field for column in profile.columns}
    for before, after in zip(named, read.lines, strict=True):
        if before.finish in ("normal", "foil"):
            assert after.finish == before.finish
        if "language" in has:
            assert after.language == before.language
        if name in ("manabox", "dragonshield_web", "dragonshield_app", "cardmarket", "cardedge_csv", "cardedge_json"):
            assert after.condition == before.condition


def test_what_a_format_loses_is_named_before_the_download():
    check = EXPORTERS["dragonshield_app"][1].check(LINES)
    assert (check.lines, check.copies, check.waiting) == (5, 18, 1)
    assert [gap.model_dump() for gap in check.gaps] == [
        {"kind": "unmapped", "column": "Printing", "value": "etched", "exported_as": "Foil", "lines": 1}
    ]
    check = EXPORTERS["manabox"][1].check([LINES[0].model_copy(update={"card_id": "other"})])
    assert [(gap.kind, gap.column, gap.lines) for gap in check.gaps] == [("empty", "Scryfall ID", 1)]


def test_no_cell_of_our_own_csv_is_a_formula_and_names_for_others_stay_as_they_are():
    def names(profile, column):
        text = EXPORTERS[profile][1].write(LINES).decode("utf-8-sig")
        return [row[column] for row in csv.DictReader(io.StringIO(text))]

    assert "'+2 Mace" in names("cardedge_csv", "name")
    assert "+2 Mace" in names("manabox", "Name")


def test_a_shop_adds_a_profile_of_its_own(tmp_path):
    (tmp_path / "shop.toml").write_text(
        'name = "Till"\nfile = "till.csv"\ndelimiter = ";"\nsep_line = true\nbom = true\nnewline = "\\r\\n"\n'
        'columns = [{ name = "Artikel", field = "name" }, { name = "Menge", field = "quantity" }, { name = "Z", field = "condition" }]\n'
        '[maps.condition]\nnear_mint = "1"\n"*" = "9"\n'
    )
    (tmp_path / "manabox.toml").write_text('name = "Ours"\nfile = "x.csv"\ncolumns = [{ name = "Name", field = "name" }]\n')
    profiles, problems = read_profiles((SHIPPED, tmp_path))
    assert problems == ()
    assert profiles["manabox"].name == "Ours", "a profile of the shop replaces a shipped one"
    written = Exporter(profiles["shop"], Catalog(), price_of).write(LINES[:2])
    assert written.decode() == '\ufeff"sep=;"\r\nArtikel;Menge;Z\r\nEmber Fox;4;1\r\nEmber Fox;1;9\r\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name = ", "is not TOML"),
        ('name = "A"\nfile = "a.csv"\ncolumns = []\n', "columns: Tuple should have at least 1 item"),
        ('name = "A"\nfile = "a.csv"\ncolumns = [{ name = "B", field = "color" }]\n', "columns.0.field"),
        ('name = "A"\nfile = "a.csv"\ncolumns = [{ name = "B" }]\n', "exactly one of field, attribute, text, template"),
        ('name = "A"\nfile = "a.csv"\ncolumns = [{ name = "B", field = "name", finishes = ["foil"] }]\n', "finishes are for quantity"),
        ('name = "A"\nfile = "a.csv"\ncolumns = [{ name = "B", field = "conditions" }]\n', "conditions need finishes"),
        ('name = "A"\nfile = "a.csv"\ncolumns = [{ name = "B", template = "{name}" }]\n', "columns.0.template"),
        ('name = "A"\nfile = "../a"\ncolumns = [{ name = "B", field = "name" }]\n', "file: String should match"),
        ('name = "A"\nfile = "a"\nkind = "text"\ncolumns = [{ name = "B", field = "name" }]\n', "line: needed"),
    ],
)
def test_a_wrong_profile_is_refused_with_the_reason_and_the_others_stay(tmp_path, text, says):
    (tmp_path / "wrong.toml").write_text(text)
    with pytest.raises(DataError, match=r"wrong\.toml") as refusal:
        read_profile(tmp_path / "wrong.toml")
    assert says in str(refusal.value)
    profiles, problems = read_profiles((SHIPPED, tmp_path))
    assert set(profiles) == NAMED
    assert problems == (str(refusal.value),)


def test_a_card_is_found_by_id_number_or_name_and_what_is_not_found_is_named():
    profile = EXPORTERS["moxfield"][0]
    head = '"Count","Name","Edition","Foil","Collector Number"\n'
    rows = '2,"anything",B1,foil,007\n1,ember fox,,,\n3,No Such Card,zz,,1\n0,Ember Fox,b1,,7\nx,Ember Fox,b1,,7\n'
    read = read_list(profile, (head + rows).encode(), CardFinder(CARDS.values()), NOW)
    assert [(line.card_id, line.quantity, line.finish) for line in read.lines] == [("B1-7", 2, "foil"), ("B1-7", 1, "normal")]
    assert [(one.row, one.reason[:9]) for one in read.named] == [(3, "the index"), (4, "the quant"), (5, "the quant")]


def test_a_format_that_counts_by_finish_and_condition_is_read_and_written():
    profile, exporter = EXPORTERS["riftmana"]
    head = "Normal Qty,Foil Qty,Card Name,Card ID,Set,Color,Rarity,Normal Price,Foil Price,Normal Condition,Foil Condition,Notes,Language\n"
    rows = "3,1,Ember Fox,B1-007,,,,0.21,0.00,NM:1;HP:1,NM:1,,English\n0,0,Ember Fox,B1-007,,,,,,,,,\n2,0,,B2-041-p,,,,,,SEAL:2,,,\n"
    read = read_list(profile, (head + rows).encode(), CardFinder(CARDS.values()), NOW)
    assert [(line.card_id, line.quantity, line.finish, line.condition) for line in read.lines] == [
        ("B1-7", 1, "normal", "near_mint"),
        ("B1-7", 1, "normal", "played"),
        ("B1-7", 1, "normal", "near_mint"),
        ("B1-7", 1, "foil", "near_mint"),
    ]
    assert [(one.row, one.reason[:9]) for one in read.named] == [(2, "the quant"), (3, "the index")]
    assert exporter.write(LINES[:2]).decode().splitlines()[1:] == ["4,1,Ember Fox,B1-007,First Light,,rare,3.50,12.00,NM:4,LP:1,,English"]
    assert [(gap.column, gap.value, gap.exported_as) for gap in exporter.check(LINES[3:4]).gaps] == [
        ("Foil Qty", "etched", "foil"),
        ("Language", "ja", "ja"),
    ]


def test_plain_text_is_read_with_and_without_set_number_and_finish():
    profile = EXPORTERS["text"][0]
    text = "4x Ember Fox (B1) 7\n1 Ember Fox (B1) 7 *F*\n2 Feuer // Eis\nSideboard:\n"
    read = read_list(profile, text.encode(), CardFinder(CARDS.values()), NOW)
    assert [(line.card_id, line.quantity, line.finish) for line in read.lines] == [
        ("B1-7", 4, "normal"),
        ("B1-7", 1, "foil"),
        ("B2-42", 2, "normal"),
    ]
    assert [one.text for one in read.named] == ["Sideboard:, ?"]


@pytest.mark.parametrize(
    ("profile", "content", "says"),
    [
        ("manabox", b"\xff\xfe", "not UTF-8"),
        ("manabox", b"a,b\n1,2\n", "needs a column Name"),
        ("manabox", b"", "its columns are none"),
        ("cardedge_json", b"[1]", "needs a list `cards`"),
        ("cardedge_json", b"{", "not JSON"),
    ],
)
def test_a_file_in_another_format_is_refused(profile, content, says):
    with pytest.raises(DataError, match=says):
        read_list(EXPORTERS[profile][0], content, CardFinder(CARDS.values()), NOW)


def test_our_json_has_all_fields():
    cards = json.loads(EXPORTERS["cardedge_json"][1].write(LINES))["cards"]
    assert cards[3] == {
        "card_id": "B2-41", "name": "+2 Mace", "set": "b2", "number": "41", "rarity": "common", "finish": "etched", "condition": "mint",
        "language": "ja", "quantity": 1, "note": None, "bin": "Box 3", "price": None, "currency": None, "added": "2026-12-02T09:30:00.000Z",
    }  # fmt: skip
