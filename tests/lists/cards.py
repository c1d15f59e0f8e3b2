"""Card events and a small catalog for the tests of the lists."""

from datetime import UTC, datetime, timedelta

from pydantic import TypeAdapter

from edge.lists.commands import ListCommand
from edge.lists.store import ListStore
from edge.publishing.event import CardEvent, WireCandidate
from edge.recognition.gallery import Card

NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)
BOOT = "01KB3Z0000000000000000BOOT"
COMMANDS = TypeAdapter(ListCommand)
SETS = {"a": "S1", "b": "S1", "c": "S2", "d": "S2"}


class SmallCatalog:
    """Four cards, ``a`` to ``d``, in two sets."""

    def __init__(self):
        self.known = {
            name: Card(name, f"Card {name.upper()}", f"art-{name}", set=set_code, number="7", rarity="rare", language="en",
                       attributes={"game": "G1", "scryfall_id": f"id-{name}", "price_eur": "1.50"})
            for name, set_code in SETS.items()
        }  # fmt: skip

    def card(self, card_id):
        return self.known.get(card_id)

    def cards(self):
        return self.known.values()


class Table:
    """A scanner's table: cards are laid down and lifted, and a store counts them."""

    def __init__(self, folder, **options):
        self.folder, self.options = folder, options
        self.at, self.tracks, self.boot_id = NOW, 0, BOOT
        self.start()

    def start(self):
        ids = iter(range(1, 10_000))
        self.catalog = SmallCatalog()
        self.store = ListStore(self.folder, self.catalog, lambda: self.at, lambda: f"L{self.boot_id[-1]}{next(ids):03}", **self.options)
        self.store.load()

    def restart(self):
        self.store.save()
        self.boot_id = self.boot_id[:-1] + chr(ord(self.boot_id[-1]) + 1)
        self.start()

    def event(self, kind, card_id, track, **fields):
        self.at += timedelta(seconds=0.1)
        self.tracks += 1
        name = f"Card {card_id.upper()}" if card_id else None
        return CardEvent.model_construct(
            type=kind, event_id=f"E{self.tracks:025}", track_id=track, boot_id=self.boot_id, card_id=card_id, name=name,
            set=SETS.get(card_id), number="7", at=self.at, **({"candidates": (), "printings": (), "reason": None} | fields),
        )  # fmt: skip

    def lay(self, card_id, track=None, kind="identified", **fields):
        """Lay a card down; return the track and the update."""
        track = track or f"T{self.tracks:025}"
        return track, self.store.add_event(self.event(kind, card_id, track, **fields))

    def lift(self, track, after_s=1.0):
        self.at += timedelta(seconds=after_s)
        self.store.add_event(self.event("removed", None, track))

    def deal(self, card_id, gap_s=0.5):
        """Lay a card down, lift it, and wait for the next one."""
        track, update = self.lay(card_id)
        self.lift(track)
        self.at += timedelta(seconds=gap_s)
        return update

    def do(self, command, **fields):
        parsed = COMMANDS.validate_python({"do": command, **fields})
        return self.store.execute(self.store.active_id, parsed, lambda _event_id: None)

    @property
    def lines(self):
        """The lines of the active list as (card, quantity)."""
        return [(line.card_id, line.quantity) for line in self.store.active.lines.values()]


def candidates(*names):
    return tuple(WireCandidate(card_id=name, name=None, similarity=0.9, verification=0.5) for name in names)
