"""Finding cards by their names, as people type them."""

import pytest

from edge.bundles.card_names import CardNames
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId

NAMES = ("Æther Vial", "Flabébé", "メガリザードンX", "Charizard", "Þórr", "리자몽 V", "Charizard ex")
CARDS = CardNames([Card(CardId(f"c-{number}"), name, f"c-{number}") for number, name in enumerate(NAMES)])


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("aether", ["Æther Vial"]),
        ("Æther", ["Æther Vial"]),
        ("vial aether", ["Æther Vial"]),
        ("flabebe", ["Flabébé"]),
        ("リザードン", ["メガリザードンX"]),
        ("ﾘｻﾞｰﾄﾞﾝ", ["メガリザードンX"]),
        ("thorr", ["Þórr"]),
        ("자몽", ["리자몽 V"]),
        ("zard", []),
        ("charizard", ["Charizard", "Charizard ex"]),
    ],
)
def test_a_name_is_found_without_its_ligatures_and_by_an_inner_part_where_words_are_not_spaced(typed, found):
    assert [card.name for card in CARDS.search(typed, 5)] == found
