"""What the journal of a list holds: changes. The list is the fold of its changes (``edge.lists.state``)."""

from typing import Literal

from pydantic import Field

from edge.lists.entry import MAX_NOTE_CHARS, Condition, Finish, Line
from edge.publishing.event import Instant, Payload

ListKind = Literal["counted", "wanted", "owned"]
Action = Literal["count", "edit", "remove", "merge", "settle", "clear", "import", "review", "other"]


class Defaults(Payload):
    """Fields of the next card. Without ``language`` it is the card's own, as far as the index knows it."""

    finish: Finish = "normal"
    condition: Condition = "near_mint"
    language: str | None = Field(None, max_length=32)
    note: str = Field("", max_length=MAX_NOTE_CHARS)


class ListHeader(Payload):
    """Name and settings of a list.

    The list that was resumed last is the active one; while ``paused``, nothing is counted. ``since`` is when it was last empty. With
    ``count_again`` a card that is lifted and laid down again counts once more. With ``by_key`` a named card is counted when a person
    confirms it. ``only_sets`` and ``only_games`` limit the list, empty for all. ``printings`` are cards that a session always means when
    their artwork is seen. ``rules`` is the text of ``edge.lists.rules``.
    """

    list_id: str
    name: str = Field(min_length=1, max_length=100)
    kind: ListKind = "counted"
    created: Instant
    since: Instant
    resumed_at: Instant
    paused: bool = False
    defaults: Defaults = Defaults()
    count_again: bool = False
    by_key: bool = False
    only_sets: tuple[str, ...] = ()
    only_games: tuple[str, ...] = ()
    printings: tuple[str, ...] = ()
    rules: str = ""
    keep_pictures: bool = False


class Appearance(Payload):
    """A card that the camera saw, and the line that counts it; null after that was undone.

    ``left`` is when it was removed; ``again`` says that it was counted before it was lifted and laid down.
    """

    track_id: str
    boot_id: str
    event_id: str
    at: Instant
    card_id: str | None
    line: int | None
    left: Instant | None = None
    again: bool = False


class Label(Payload):
    """What a change did, to name it in "undo": the action, the name of the card, and the number of copies or lines."""

    action: Action = "other"
    name: str | None = None
    count: int = 1


class Step(Payload):
    """What reverses or repeats a change."""

    label: Label
    put: tuple[Line, ...] = ()
    removed: tuple[int, ...] = ()
    appearances: tuple[Appearance, ...] = ()
    header: ListHeader | None = None


class Change(Payload):
    """One change of a list. ``put`` are lines that are new or replaced, ``removed`` the ids of lines that are gone.

    ``kind`` is ``do`` for a change that can be undone, ``undo`` and ``redo`` for what they say, ``note`` for one that cannot be undone,
    and ``whole`` for the complete list with its ``undo`` and ``redo`` steps, which replaces everything before it.
    """

    revision: int
    kind: Literal["do", "undo", "redo", "note", "whole"] = "do"
    label: Label = Label()
    put: tuple[Line, ...] = ()
    removed: tuple[int, ...] = ()
    appearances: tuple[Appearance, ...] = ()
    header: ListHeader | None = None
    next_line: int = 0
    undo: tuple[Step, ...] = ()
    redo: tuple[Step, ...] = ()
