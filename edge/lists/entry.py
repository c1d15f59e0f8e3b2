"""One line of a list: a card in one finish, condition and language, and how many copies there are."""

from typing import Final, Literal, get_args

from pydantic import Field

from edge.publishing.event import Instant, Payload, WireCandidate

Finish = Literal["normal", "foil", "etched", "reverse_holo", "holo"]
Condition = Literal["mint", "near_mint", "excellent", "good", "light_played", "played", "poor"]
"""Cardmarket's seven grades, from the best to the worst; profiles map them to coarser ones."""

FINISHES: Final[tuple[Finish, ...]] = get_args(Finish)
CONDITIONS: Final[tuple[Condition, ...]] = get_args(Condition)
MAX_QUANTITY: Final = 100_000
MAX_NOTE_CHARS: Final = 500


class Line(Payload):
    """A line of a list. While ``waiting``, it is a card that was not named with certainty, and ``candidates`` are what it may be.

    ``number`` is the collector number, ``id`` the number of the line, unique in its list, 0 outside of one; ``revision`` is that of its
    last change.
    ``event_id`` belongs to the last copy that the camera saw, for its picture; null if there was none. ``bin`` is where the rules put it.
    """

    id: int = Field(0, ge=0)
    revision: int = Field(0, ge=0)
    waiting: bool = False
    card_id: str | None
    name: str | None
    set: str | None = None
    number: str | None = None
    rarity: str | None = None
    finish: Finish = "normal"
    condition: Condition = "near_mint"
    language: str | None = None
    note: str = ""
    quantity: int = Field(1, ge=1, le=MAX_QUANTITY)
    bin: str | None = None
    first_at: Instant
    at: Instant
    event_id: str | None = None
    candidates: tuple[WireCandidate, ...] = ()
    reason: str | None = None

    def holds_same(self, other: "Line") -> bool:
        """Return whether copies of ``other`` belong on this line."""
        return not self.waiting and not other.waiting and _kind_of(self) == _kind_of(other)


def _kind_of(line: Line) -> tuple[str | None, ...]:
    return (line.card_id, line.finish, line.condition, line.language, line.note, line.bin)
