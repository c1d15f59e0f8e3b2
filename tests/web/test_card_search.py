"""Finding cards at the page by what stands on them."""

from types import SimpleNamespace

import pytest

from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId
from edge.web.card_search import CardSearch

LISTED = {
    "plain": ("B1", "007/165"), "other": ("B1", "17"), "promo": ("SWSHP", "SWSH001"), "variant": ("S1", "030a/298"),
    "gallery": ("S2", "TG12/TG30"),
    "galarian": ("S3", "GG01/GG70"), "holo": ("S4", "H1/H32"), "star": ("40K", "254★"), "sign": ("S5", "301*/298"),
    "pirate": ("OP01", "OP01-016"),
    "japan": ("SV-P", "SV-P 123"), "bare": ("OP-02", "026"), "none": ("S6", None),
}  # fmt: skip


class Names:
    """A catalog that finds cards by the beginning of their id."""

    def __init__(self, cards):
        self._cards = cards

    def search_names(self, text, limit):
        return [card for card in self._cards.values() if text and card.card_id.startswith(text.casefold())][:limit]


@pytest.fixture
def search():
    cards = {CardId(key): Card(CardId(key), key, key, set=set_code, number=number) for key, (set_code, number) in LISTED.items()}
    opened = SimpleNamespace(loaded=SimpleNamespace(gallery=SimpleNamespace(cards=cards)), catalogs=[Names(cards)])
    return lambda text, limit=20: [card.card_id for card in CardSearch(lambda: opened).search(text, limit)]


@pytest.mark.parametrize(
    ("typed", "card_id"),
    [
        ("7", "plain"), ("#7", "plain"), ("007/165", "plain"), ("swsh001", "promo"), ("30a", "variant"), ("TG12", "gallery"),
        ("TG12/TG30", "gallery"),
        ("GG01", "galarian"), ("H1", "holo"), ("254", "star"), ("254★", "star"), ("301", "sign"), ("OP01-016", "pirate"), ("016", "pirate"),
        ("SV-P 123", "japan"), ("123/SV-P", "japan"), ("123", "japan"), ("OP02-026", "bare"), ("b1 17", "other"),
    ],
)  # fmt: skip
def test_a_number_as_printed_or_as_listed_finds_its_card_first(search, typed, card_id):
    assert search(typed)[0] == card_id


def test_a_number_and_a_name_go_together_and_a_number_alone_finds_no_other(search):
    assert search("gallery 12") == ["gallery"]
    assert search("7") == ["plain"]
    assert search("holo 7") == []
    assert search("sta") == ["star"]
    assert search("1", limit=1) == search("1")[:1]
