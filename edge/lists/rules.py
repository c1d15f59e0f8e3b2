"""Rules that choose a bin for a card, as TOML: the first rule whose conditions all hold.

[[rule]]
bin = "Binder"
min_price = 5.0

[[rule]]
bin = "Playsets"
rarity = ["rare", "mythic"]
max_count = 4

[[rule]]
bin = "Bulk"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Final

from pydantic import Field, ValidationError

from edge.errors import CommandError
from edge.lists.entry import Condition, Finish, Line
from edge.schema import Schema

MAX_RULES: Final = 100
Texts = tuple[str, ...]


class Rule(Schema):
    """A bin and its conditions. ``min_count`` and ``max_count`` bound the copies of the card so far, this one included.

    ``wanted`` and ``owned`` say whether the lists of these kinds still miss the card, or have it. ``attribute`` names further columns of
    the index with the values that they may have.
    """

    bin: str = Field(min_length=1, max_length=60)
    set: Texts | None = None
    rarity: Texts | None = None
    finish: tuple[Finish, ...] | None = None
    condition: tuple[Condition, ...] | None = None
    language: Texts | None = None
    min_price: float | None = Field(None, ge=0)
    max_price: float | None = Field(None, ge=0)
    min_count: int | None = Field(None, ge=1)
    max_count: int | None = Field(None, ge=1)
    wanted: bool | None = None
    owned: bool | None = None
    attribute: Mapping[str, Texts] = Field(default_factory=dict)


class _Rules(Schema):
    rule: Annotated[tuple[Rule, ...], Field(max_length=MAX_RULES)] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules look at: one copy, how many there are with it, its price, and what the other lists say about it."""

    line: Line
    count: int
    price: float | None
    wanted: bool
    owned: bool
    attributes: Mapping[str, str]


@lru_cache(maxsize=8)
def parse_rules(text: str) -> tuple[Rule, ...]:
    """Return the rules of a text. Raises ``CommandError`` naming the rule and the key that is wrong."""
    try:
        return _Rules.model_validate(tomllib.loads(text)).rule
    except tomllib.TOMLDecodeError as error:
        message = f"rules: {error}; a text such as a name is written in quotes"
        named = re.search(r"at line (\d+)", str(error))  # otherwise it is the last one
        raise CommandError(message, code="rules_not_toml", line=int(named[1]) if named else len(text.splitlines())) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = " ".join(str(part + 1) if isinstance(part, int) else part for part in first["loc"])
        message = f"rules: {place}: {first['msg']}; the keys are in docs/counter.md"
        raise CommandError(message, code="rules_wrong", place=place, kind=first["type"], detail=first["msg"]) from error


def choose_bin(rules: tuple[Rule, ...], facts: Facts) -> str | None:
    """Return the bin of the first rule that holds, None if none does."""
    return next((rule.bin for rule in rules if _holds(rule, facts)), None)


def _holds(rule: Rule, facts: Facts) -> bool:
    line = facts.line
    named = ((rule.set, line.set), (rule.rarity, line.rarity), (rule.finish, line.finish), (rule.condition, line.condition))
    return (
        all(_is_among(values, value) for values, value in (*named, (rule.language, line.language)))
        and all(_is_among(values, facts.attributes.get(name)) for name, values in rule.attribute.items())
        and (rule.min_price is None or (facts.price is not None and facts.price >= rule.min_price))
        and (rule.max_price is None or (facts.price is not None and facts.price <= rule.max_price))
        and (rule.min_count or 1) <= facts.count <= (rule.max_count or facts.count)
        and rule.wanted in (None, facts.wanted)
        and rule.owned in (None, facts.owned)
    )


def _is_among(values: tuple[str, ...] | None, value: str | None) -> bool:
    return values is None or (value is not None and value.casefold() in {each.casefold() for each in values})
