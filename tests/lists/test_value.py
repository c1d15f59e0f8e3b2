"""Prices, totals, rules that choose a bin, and lists of wanted and owned cards."""

from datetime import date

import pytest

from edge.errors import CommandError, DataError
from edge.lists.entry import Line
from edge.lists.prices import read_prices
from edge.lists.rules import parse_rules
from tests.lists.cards import NOW, Table

DAY = date(2026, 11, 27)


@pytest.fixture
def table(tmp_path):
    return Table(tmp_path)


def load(table, text):
    table.store.prices.replace(read_prices(text.encode(), DAY))
    table.store.revalue()


def totals(table):
    return table.store.current(table.store.active_id).totals


def test_prices_of_the_index_add_up(table):
    for name in "aba":
        update = table.deal(name)
    assert (update.totals.value, update.totals.currency, update.totals.unpriced) == (4.5, "EUR", 0)
    assert update.prices == {1: 1.5}
    table.do("edit", line=1, finish="foil")
    assert (totals(table).value, totals(table).unpriced) == (1.5, 2), "a foil has no price of its own here"
    table.do("undo")
    assert totals(table).value == 4.5


def test_a_price_file_replaces_them_and_survives_a_restart(table):
    for name in "ab":
        table.deal(name)
    load(table, "scryfall_id,price_usd,price_usd_foil\nid-a,2.25,9\nid-c,1,\n")
    assert (totals(table).value, totals(table).currency, totals(table).unpriced) == (2.25, "USD", 1)
    table.do("edit", line=1, finish="foil")
    assert totals(table).value == 9
    table.restart()
    source = table.store.prices.source()
    assert (source.day, source.cards, source.currency) == (DAY, 2, "USD")
    assert totals(table).value == 9
    load(table, "card_id;price_eur\n".replace(";", ",") + 'b,"0,50"\n')
    assert (totals(table).value, totals(table).unpriced) == (0.5, 1)
    table.store.prices.replace(None)
    table.store.revalue()
    assert totals(table).value == 1.5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name,price_eur\na,1\n", "needs a column card_id"),
        ("card_id,price\na,1\n", "such as price_eur"),
        ("card_id,price_eur,price_usd\na,1,2\n", "several currencies"),
        ("card_id,price_eur\na,1\nb,cheap\n", "line 3, column price_eur: 'cheap' is not a price"),
        ("card_id,price_eur\na,-1\n", "is not a price"),
        ("card_id,price_eur\na,nan\n", "is not a price"),
    ],
)
def test_a_wrong_price_file_is_refused_with_line_and_column(text, says):
    with pytest.raises(DataError, match=says):
        read_prices(text.encode(), DAY)


RULES = """
[[rule]]
bin = "Glass case"
min_price = 5
[[rule]]
bin = "Foils"
finish = ["foil", "etched"]
[[rule]]
bin = "Set 2"
set = ["s2"]
max_count = 2
[[rule]]
bin = "Bulk"
attribute = { game = ["G1"] }
"""


def test_the_first_rule_that_holds_chooses_the_bin(table):
    table.do("configure", rules=RULES)
    load(table, "card_id,price_eur\nb,5\n")
    found = [table.deal(name, gap_s=5).outcome.bin for name in "abccc"]
    assert found == ["Bulk", "Glass case", "Set 2", "Set 2", "Bulk"]
    table.do("configure", defaults={"finish": "foil"})
    assert table.deal("a", gap_s=5).outcome.bin == "Foils"
    assert [(one.bin, one.copies, one.value) for one in totals(table).bins] == [
        ("Bulk", 2, 0.0),
        ("Foils", 1, 0.0),
        ("Glass case", 1, 5.0),
        ("Set 2", 2, 0.0),
    ]


def test_rules_know_what_is_wanted_and_owned(table):
    wanted, owned = table.store.create("Wants", "wanted"), table.store.create("Binder", "owned")
    table.store.add_lines(wanted, [Line(card_id="a", name="Card A", quantity=2, first_at=NOW, at=NOW)])
    table.store.add_lines(owned, [Line(card_id="b", name="Card B", first_at=NOW, at=NOW)])
    table.do("configure", rules='[[rule]]\nbin = "Keep"\nwanted = true\n[[rule]]\nbin = "Sell"\nowned = true\n')
    outcomes = [table.deal(name, gap_s=5).outcome for name in "aaabc"]
    assert [one.bin for one in outcomes] == ["Keep", "Keep", None, "Sell", None]
    assert [(one.wanted, one.owned) for one in outcomes] == [(2, 0), (2, 0), (2, 0), (0, 1), (0, 0)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rule = 3", "rules: rule: Input should be a valid tuple"),
        ("[[rule]]\nbin = Bulk", "a text such as a name is written in quotes"),
        ('[[rule]]\nbin = "A"\ncolor = "red"', "rules: rule 1 color: Extra inputs are not permitted"),
        ('[[rule]]\nbin = "A"\n[[rule]]\nset = ["x"]', "rules: rule 2 bin: Field required"),
    ],
)
def test_wrong_rules_are_refused_and_the_old_ones_stay(table, text, says):
    with pytest.raises(CommandError, match=says.replace("[", r"\[")):
        table.do("configure", rules=text)
    assert parse_rules(table.store.active.header.rules) == ()
