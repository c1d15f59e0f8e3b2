"""What a person can do to a list, as values, and the change that each makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from edge.errors import CommandError
from edge.lists.draft import Draft
from edge.lists.entry import MAX_NOTE_CHARS, MAX_QUANTITY, Condition, Finish, Line
from edge.lists.records import Change, Defaults, Label, ListHeader, Step
from edge.lists.rules import parse_rules
from edge.schema import Schema

if TYPE_CHECKING:
    from datetime import datetime

    from edge.lists.counting import Counter
    from edge.lists.state import ListState

MAX_LINES_PER_COMMAND: Final = 50_000
CardId = Annotated[str, Field(min_length=1, max_length=128)]
LineIds = Annotated[tuple[int, ...], Field(min_length=1, max_length=MAX_LINES_PER_COMMAND)]
Names = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(max_length=500)]


class _Command(Schema):
    """``seen`` is the revision of the list that the person saw; a line that was changed since is not changed again unseen."""

    model_config = ConfigDict(defer_build=False)  # as every body of a request

    seen: int | None = Field(None, ge=0)


class Add(_Command):
    """Add copies of a card of the index."""

    do: Literal["add"]
    card_id: CardId
    copies: int = Field(1, ge=1, le=MAX_QUANTITY)


class Count(_Command):
    """Add copies to a line, or take some from it; the last copy takes the line along."""

    do: Literal["count"]
    line: int
    copies: int = Field(ge=-MAX_QUANTITY, le=MAX_QUANTITY)


class Edit(_Command):
    """Change fields of a line; with ``copies`` only of so many, which move to a line of their own kind."""

    do: Literal["edit"]
    line: int
    copies: int | None = Field(None, ge=1, le=MAX_QUANTITY)
    card_id: CardId | None = None
    finish: Finish | None = None
    condition: Condition | None = None
    language: str | None = Field(None, max_length=32)
    note: str | None = Field(None, max_length=MAX_NOTE_CHARS)
    quantity: int | None = Field(None, ge=1, le=MAX_QUANTITY)
    bin: str | None = Field(None, max_length=100)


class Remove(_Command):
    """Remove lines, also waiting ones that are not a card."""

    do: Literal["remove"]
    lines: LineIds


class Merge(_Command):
    """Put the copies of all lines on the first one."""

    do: Literal["merge"]
    lines: LineIds


class Settle(_Command):
    """Name a waiting card."""

    do: Literal["settle"]
    line: int
    card_id: CardId


class Confirm(_Command):
    """Count the card of an event, although the list did not count it by itself."""

    do: Literal["confirm"]
    event_id: str = Field(min_length=1, max_length=64)


class TakeBack(_Command):
    """Remove the copy that the camera counted last."""

    do: Literal["take_back"]


class Undo(_Command):
    """Reverse the last change."""

    do: Literal["undo"]


class Redo(_Command):
    """Repeat what was reversed last."""

    do: Literal["redo"]


class Clear(_Command):
    """Remove all lines."""

    do: Literal["clear"]


class Configure(_Command):
    """Change name or settings of the list; what is absent stays."""

    do: Literal["configure"]
    name: str | None = Field(None, min_length=1, max_length=100)
    kind: Literal["counted", "wanted", "owned"] | None = None
    defaults: Defaults | None = None
    count_again: bool | None = None
    by_key: bool | None = None
    only_sets: Names | None = None
    only_games: Names | None = None
    printings: Names | None = None
    rules: str | None = Field(None, max_length=20_000)
    keep_pictures: bool | None = None


ListCommand = Annotated[
    Add | Count | Edit | Remove | Merge | Settle | Confirm | TakeBack | Undo | Redo | Clear | Configure, Field(discriminator="do")
]


def carry_out(command: Any, state: ListState, counter: Counter, now: datetime) -> Change:
    """Return the change that a command makes. Raises ``CommandError`` if it cannot be carried out; ``Confirm`` is not for here."""
    match command:
        case Undo():
            return _step(state, state.next_undo, "undo")
        case Redo():
            return _step(state, state.next_redo, "redo")
        case Configure():
            header = _configured(state.header, command)
            return Change(revision=state.revision + 1, kind="note", header=header)
        case Clear():
            return _cleared(state, now)
    context = _Context(Draft(state), state, counter, now)
    label = _DRAFTS[type(command)](context, command)
    return context.draft.change(label)


@dataclass(frozen=True, slots=True)
class _Context:
    draft: Draft
    state: ListState
    counter: Counter
    now: datetime

    def unchanged(self, command: _Command, number: int) -> Line:
        """Return a line unless it was changed since the person saw it."""
        line = self.draft.line(number)
        if command.seen is not None and line.revision > command.seen:
            text = f"line {number} ({line.name}) was just changed by the camera or on another screen; look at it and try again"
            raise CommandError(text, code="line_changed", line=number, name=line.name or "")
        return line


def _add(context: _Context, command: Add) -> Label:
    copies = context.counter.copy_of(command.card_id, context.now).model_copy(update={"quantity": command.copies})
    return Label(action="count", name=context.draft.put(copies).name, count=command.copies)


def _count(context: _Context, command: Count) -> Label:
    line = context.draft.line(command.line)
    if line.waiting:
        raise CommandError(f"line {line.id} waits for its name; name the card first", code="line_waits", line=line.id)
    if command.copies < 0:
        context.draft.take(line.id, -command.copies)
    else:
        context.draft.replace(line, quantity=line.quantity + command.copies, at=context.now)
    return Label(action="count", name=line.name, count=command.copies)


def _edit(context: _Context, command: Edit) -> Label:
    line, draft = context.unchanged(command, command.line), context.draft
    if line.waiting:
        raise CommandError(f"line {line.id} waits for its name; name the card first", code="line_waits", line=line.id)
    fields = command.model_dump(include={"finish", "condition", "language", "note", "quantity", "bin"}, exclude_none=True)
    if command.card_id is not None:
        other = context.counter.copy_of(command.card_id, context.now)
        fields |= other.model_dump(include={"card_id", "name", "set", "number", "rarity"})
    if command.copies is None or command.copies >= line.quantity:
        draft.replace(line, **fields)
    else:
        draft.take(line.id, command.copies)
        part = draft.put(line.model_copy(update={"quantity": command.copies, "at": context.now} | fields))
        newest = next((one for one in context.state.newest_appearances() if one.line == line.id), None)
        if newest is not None:
            draft.remember(newest.model_copy(update={"line": part.id}))
    return Label(action="edit", name=line.name, count=command.copies or line.quantity)


def _remove(context: _Context, command: Remove) -> Label:
    lines = [context.unchanged(command, number) for number in dict.fromkeys(command.lines)]
    for line in lines:
        context.draft.remove(line.id)
    return Label(action="remove", name=lines[0].name, count=len(lines))


def _merge(context: _Context, command: Merge) -> Label:
    first, *others = [context.unchanged(command, number) for number in dict.fromkeys(command.lines)]
    if not others:
        raise CommandError("merge: lines: name two lines or more", code="merge_one")
    if any(line.waiting for line in (first, *others)):
        raise CommandError("merge: a card that waits for its name cannot be merged; name it first", code="merge_waiting")
    if any(line.card_id != first.card_id for line in others):
        raise CommandError("merge: the lines are of different cards; correct the card of one of them first", code="merge_different")
    context.draft.replace(first, quantity=first.quantity + sum(line.quantity for line in others))
    for line in others:
        context.draft.remove(line.id)
    context.draft.move_appearances({line.id for line in others}, first.id)
    return Label(action="merge", name=first.name, count=len(others) + 1)


def _settle(context: _Context, command: Settle) -> Label:
    waiting = context.unchanged(command, command.line)
    copies = context.counter.copy_of(command.card_id, waiting.at)
    context.draft.remove(waiting.id)
    line = context.draft.put(copies.model_copy(update={"event_id": waiting.event_id, "quantity": waiting.quantity}))
    context.draft.move_appearances({waiting.id}, line.id)
    return Label(action="settle", name=line.name)


def _take_back(context: _Context, _command: TakeBack) -> Label:
    for appearance in context.state.newest_appearances():
        line = context.state.lines.get(appearance.line or 0)
        if line is not None and not line.waiting and not appearance.again:
            context.draft.take(line.id, 1)
            context.draft.remember(appearance.model_copy(update={"line": None}))
            return Label(action="remove", name=line.name)
    raise CommandError("the camera has counted no card in this list that could be taken back", code="nothing_counted")


_DRAFTS: Final[Mapping[type[_Command], Callable[[_Context, Any], Label]]] = {
    Add: _add,
    Count: _count,
    Edit: _edit,
    Remove: _remove,
    Merge: _merge,
    Settle: _settle,
    TakeBack: _take_back,
}


def imported(state: ListState, lines: Iterable[Line]) -> Change:
    """Return the change that adds lines that were read from a file. Raises ``CommandError`` if the list gets too long."""
    draft = Draft(state)
    copies = sum(draft.put(line) is not None and line.quantity for line in lines)
    return draft.change(Label(action="import", count=copies))


def _step(state: ListState, step: Step | None, kind: Literal["undo", "redo"]) -> Change:
    if step is None:
        raise CommandError(f"there is nothing to {kind}", code="nothing_to_undo" if kind == "undo" else "nothing_to_redo")
    revision = state.revision + 1
    put = tuple(line.model_copy(update={"revision": revision}) for line in step.put)
    return Change(
        revision=revision, kind=kind, label=step.label, put=put, removed=step.removed, appearances=step.appearances, header=step.header
    )


def _configured(header: ListHeader, command: Configure) -> ListHeader:
    parse_rules(command.rules or "")
    return ListHeader.model_validate({**header.model_dump(), **command.model_dump(exclude={"do", "seen"}, exclude_none=True)})


def _cleared(state: ListState, now: datetime) -> Change:
    appearances = tuple(one.model_copy(update={"line": None}) for one in state.newest_appearances())[::-1]
    return Change(
        revision=state.revision + 1,
        label=Label(action="clear", count=len(state.lines)),
        removed=tuple(state.lines),
        appearances=appearances,
        header=state.header.model_copy(update={"since": now}),
    )
