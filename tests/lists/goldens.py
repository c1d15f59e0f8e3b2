"""The lines that every export profile writes into its golden file, ``tests/lists/golden/<file of the profile>``.

python -m tests.lists.goldens        write the files anew, after a profile was changed on purpose
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge.lists.entry import Line
from edge.lists.export import Exporter
from edge.lists.profile import SHIPPED, read_profiles
from edge.recognition.gallery import Card

FOLDER = Path(__file__).resolve().parent / "golden"
AT = datetime(2026, 11, 28, 9, 30, tzinfo=UTC)


def card(card_id, name, set_code, set_name, number, rarity, **more):
    attributes = {
        "set_name": set_name,
        "scryfall_id": f"00000000-0000-4000-8000-{abs(int(number or 0)):012}",
        "tcgplayer_id": f"5{number}",
        **more,
    }
    return Card(card_id, name, f"art-{card_id}", set_code, number, rarity, "en", attributes)


CARDS = {
    one.card_id: one
    for one in (
        card("B1-7", "Ember Fox", "b1", "First Light", "7", "rare", price_eur="3.50", price_eur_foil="12"),
        card("B1-9", 'Æther "Vial", Cracked', "b1", "First Light", "9", "uncommon", price_eur="0.20"),
        card("B2-41", "+2 Mace", "b2", "Second Wind", "41", "common"),
        card("B2-42", "Feuer // Eis", "b2", "Second Wind", "42", "mythic", price_eur="7"),
    )
}


class Catalog:
    """The index of the golden files."""

    def card(self, card_id):
        return CARDS.get(card_id)

    def cards(self):
        return CARDS.values()


def line(number, card_id, **fields):
    one = CARDS[card_id]
    known = {"name": one.name, "set": one.set, "number": one.number, "rarity": one.rarity, "language": one.language}
    return Line(id=number, card_id=card_id, first_at=AT + timedelta(days=number), at=AT, **(known | fields))


LINES = (
    line(1, "B1-7", quantity=4),
    line(2, "B1-7", finish="foil", condition="excellent"),
    line(3, "B1-9", condition="played", language="de", note="a crease, left"),
    line(4, "B2-41", finish="etched", condition="mint", language="ja", bin="Box 3"),
    line(5, "B2-42", condition="poor", quantity=11),
    Line(id=6, waiting=True, card_id=None, name=None, first_at=AT, at=AT),
)


def price_of(one):
    card = CARDS.get(one.card_id)
    cell = card and card.attributes.get("price_eur_foil" if one.finish == "foil" else "price_eur")
    return (float(cell), "EUR") if cell else None


def exporters():
    """Return profile and exporter by the name of the profile."""
    profiles, problems = read_profiles((SHIPPED,))
    assert problems == ()
    return {name: (profile, Exporter(profile, Catalog(), price_of)) for name, profile in profiles.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for profile, exporter in exporters().values():
        (FOLDER / profile.file).write_bytes(exporter.write(LINES))
