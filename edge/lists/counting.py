"""What a card event means for a list: a copy to count, the same card laid down again, or a card that waits for a person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal

from edge.errors import CommandError
from edge.lists.draft import Draft
from edge.lists.entry import Line
from edge.lists.records import Action, Appearance, Change, Label
from edge.publishing.event import Payload

if TYPE_CHECKING:
    from datetime import datetime

    from edge.lists.catalog import Catalog
    from edge.lists.state import ListState
    from edge.publishing.event import CardEvent

AGAIN_S: Final = 3.0
"""A card that comes back within this time after its removal, before any other card, was only moved."""
RESTART_S: Final = 60.0
"""How long after a start a card may be the one that lay there when the daemon stopped."""
MAX_LOOKED_BACK: Final = 100
"""Appearances among which an earlier one of the same card is searched."""

OutcomeKind = Literal["counted", "again", "moved", "waiting", "to_confirm", "outside", "full", "paused"]


class Outcome(Payload):
    """What became of a card event, to be shown and spoken.

    ``counted``; ``again``: the same card was only lifted; ``moved``: a correction moved its copy to another card; ``waiting``: it waits
    for a person; ``to_confirm``: it is counted when a person confirms it; ``outside``: the list is limited to other cards; ``full``:
    the list has too many lines; ``paused``. ``count`` is the number of copies of this card in the list, ``line`` its line; ``wanted`` and
    ``owned`` are the numbers of copies in the lists of these kinds.
    """

    kind: OutcomeKind
    event_id: str
    card_id: str | None = None
    name: str | None = None
    line: int | None = None
    count: int = 0
    bin: str | None = None
    wanted: int = 0
    owned: int = 0


@dataclass(frozen=True, slots=True)
class Counted:
    """The change that an event makes, None for none, and its outcome, None if there is nothing to show."""

    change: Change | None = None
    outcome: Outcome | None = None


ChooseBin = Callable[[Line, int], str | None]
"""Returns the bin of a copy, given its line and the number of copies of the card so far, this one included."""


class Counter:
    """Decides what card events mean for a list. ``choose_bin`` applies the rules of the list; the daemon runs since ``started_at``."""

    def __init__(self, state: ListState, catalog: Catalog, choose_bin: ChooseBin, started_at: datetime) -> None:
        self._state = state
        self._catalog = catalog
        self._choose_bin = choose_bin
        self._started_at = started_at

    def count(self, event: CardEvent, *, confirmed: bool = False) -> Counted:
        """Return what an event means. ``confirmed``: a person wants it counted, whatever the settings of the list."""
        known = self._state.appearance(event.track_id)
        if event.type == "removed":
            return self._removed(event, known)
        by_person = confirmed or (event.type == "corrected" and known is not None)
        if self._state.header.paused and not by_person:
            return Counted(outcome=_outcome("paused", event)) if known is None else Counted()
        try:
            if event.card_id is None:
                return self._unnamed(event, known)
            return self._named(event, event.card_id, known, confirmed=confirmed)
        except CommandError:
            return Counted(outcome=_outcome("full", event))

    def copy_of(self, card_id: str, at: datetime, event: CardEvent | None = None) -> Line:
        """Return one copy of a card with the fields of the session, to be put on a line."""
        card = self._catalog.card(card_id)
        defaults = self._state.header.defaults
        line = Line(
            card_id=card_id,
            name=card.name if card else (event and event.name) or card_id,
            set=card.set if card else event and event.set,
            number=card.number if card else event and event.number,
            rarity=card.rarity if card else None,
            finish=defaults.finish,
            condition=defaults.condition,
            language=defaults.language or (card.language if card else None),
            note=defaults.note,
            first_at=at,
            at=at,
            event_id=event.event_id if event else None,
        )
        return line.model_copy(update={"bin": self._choose_bin(line, self._state.count(card_id) + 1)})

    def _removed(self, event: CardEvent, known: Appearance | None) -> Counted:
        if known is None or known.left is not None:
            return Counted()
        left = known.model_copy(update={"left": event.at})
        return Counted(Change(revision=self._state.revision + 1, kind="note", appearances=(left,)))

    def _named(self, event: CardEvent, seen_id: str, known: Appearance | None, *, confirmed: bool) -> Counted:
        card_id = self._meant(event, seen_id)
        if known is not None and not confirmed:
            return self._renamed(event, card_id, known)
        if not confirmed:
            if self._is_outside(card_id):
                return Counted(outcome=_outcome("outside", event, card_id=card_id))
            if (before := self._moved_card(event, card_id)) is not None:
                return self._again(event, card_id, before)
            if self._state.header.by_key and event.type == "identified":
                return Counted(outcome=_outcome("to_confirm", event, card_id=card_id, count=self._state.count(card_id)))
        draft = Draft(self._state)
        if known is not None and known.line in self._state.lines and self._state.lines[known.line].waiting:
            draft.remove(known.line)
        return self._put(draft, event, card_id, "counted", "count")

    def _renamed(self, event: CardEvent, card_id: str, known: Appearance) -> Counted:
        """Move the copy of a card that is another than was thought before, unless a person took it from the list."""
        line = self._state.lines.get(known.line or 0)
        if line is None or (line.card_id == card_id and not line.waiting):
            return Counted()
        draft = Draft(self._state)
        draft.take(line.id, 1)
        if line.waiting:
            return self._put(draft, event, card_id, "counted", "settle")
        kept = {"finish": line.finish, "condition": line.condition, "note": line.note}
        return self._put(draft, event, card_id, "moved", "edit", **kept)

    def _put(self, draft: Draft, event: CardEvent, card_id: str, kind: OutcomeKind, action: Action, **fields: str) -> Counted:
        copy = self.copy_of(card_id, event.at, event).model_copy(update=fields)
        line = draft.put(copy)
        draft.remember(_appearance(event, card_id, line.id))
        change = draft.change(Label(action=action, name=line.name))
        count = self._state.count(card_id) + 1
        return Counted(change, _outcome(kind, event, card_id=card_id, name=line.name, line=line.id, count=count, into=copy.bin))

    def _again(self, event: CardEvent, card_id: str, before: Appearance) -> Counted:
        """Remember that the card was lifted and laid down: a correction of this track concerns the copy that was counted before."""
        same = _appearance(event, card_id, before.line).model_copy(update={"again": True})
        change = Change(revision=self._state.revision + 1, kind="note", appearances=(same,))
        line = self._state.lines[before.line or 0]
        return Counted(change, _outcome("again", event, card_id=card_id, name=line.name, line=line.id, count=self._state.count(card_id)))

    def _unnamed(self, event: CardEvent, known: Appearance | None) -> Counted:
        draft = Draft(self._state)
        waiting = self._state.lines.get(known.line or 0) if known else self._waiting_again(event)
        if known is not None and (waiting is None or not waiting.waiting):
            return Counted()  # it is counted already, or a person took it from the list
        fields = {"event_id": event.event_id, "at": event.at, "candidates": event.candidates, "reason": event.reason}
        if waiting is not None:
            line = draft.replace(waiting, **fields)
        else:
            defaults = self._state.header.defaults.model_dump()
            line = draft.put(Line(waiting=True, card_id=None, name=None, first_at=event.at, **(defaults | fields)))
        draft.remember(_appearance(event, None, line.id))
        return Counted(draft.change(Label(action="review")), _outcome("waiting", event, line=line.id))

    def _waiting_again(self, event: CardEvent) -> Line | None:
        """Return the line of an unnamed card that was lifted and laid down again."""
        before = self._moved_card(event, None)
        return self._state.lines.get(before.line or 0) if before else None

    def _moved_card(self, event: CardEvent, card_id: str | None) -> Appearance | None:
        """Return the earlier appearance of the same physical card: it left a moment ago, or lay there when the daemon was restarted."""
        if self._state.header.count_again:
            return None
        others_since: datetime | None = None
        is_restart = event.at - self._started_at <= timedelta(seconds=RESTART_S)
        for before in islice(self._state.newest_appearances(), MAX_LOOKED_BACK):
            is_same = before.card_id == card_id and before.line in self._state.lines
            if before.boot_id != event.boot_id:
                if is_restart and is_same and before.left is None:
                    return before
            elif before.card_id != card_id:
                if not before.again:
                    is_restart = False
                    others_since = max(others_since or before.at, before.at)
            elif is_same and before.left is not None and event.at - before.left <= timedelta(seconds=AGAIN_S):
                return before if others_since is None or others_since <= before.left else None
        return None

    def _meant(self, event: CardEvent, card_id: str) -> str:
        """Return the printing that the session always means, or one in the language of the session, among those that the card may be."""
        if event.type == "corrected":
            return card_id
        always = next((one for one in self._state.header.printings if one in event.printings), None)
        return always or self._in_language(card_id, event.printings)

    def _in_language(self, card_id: str, printings: tuple[str, ...]) -> str:
        language = self._state.header.defaults.language
        if language is None:
            return card_id
        found = (card for one in (card_id, *printings) if (card := self._catalog.card(one)) is not None)
        return next((card.card_id for card in found if card.language == language), card_id)

    def _is_outside(self, card_id: str) -> bool:
        header = self._state.header
        if not header.only_sets and not header.only_games:
            return False
        card = self._catalog.card(card_id)
        if card is None:
            return True
        game = card.attributes.get("game")
        return bool((header.only_sets and card.set not in header.only_sets) or (header.only_games and game not in header.only_games))


def _appearance(event: CardEvent, card_id: str | None, line: int | None) -> Appearance:
    return Appearance(track_id=event.track_id, boot_id=event.boot_id, event_id=event.event_id, at=event.at, card_id=card_id, line=line)


def _outcome(
    kind: OutcomeKind,
    event: CardEvent,
    *,
    card_id: str | None = None,
    name: str | None = None,
    line: int | None = None,
    count: int = 0,
    into: str | None = None,
) -> Outcome:
    card_id = card_id or event.card_id
    return Outcome(kind=kind, event_id=event.event_id, card_id=card_id, name=name or event.name, line=line, count=count, bin=into)
