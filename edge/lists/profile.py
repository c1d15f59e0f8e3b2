"""Export profiles: one TOML file per program that reads a list. A shop adds its own by dropping a file into a folder.

The shipped ones are in ``profiles/``, with the source of their columns; ``docs/counter.md`` describes the keys.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from edge.errors import DataError
from edge.lists.entry import Finish
from edge.schema import Schema

SHIPPED: Final = Path(__file__).resolve().parent / "profiles"
MAX_PROFILE_BYTES: Final = 100_000
OTHER: Final = "*"
"""Key of a mapping for every value that has no word of its own."""

FieldName = Literal[
    "card_id", "name", "set", "number", "rarity", "language", "finish", "condition", "quantity", "note", "bin", "price", "currency",
    "added", "day", "conditions",
]  # fmt: skip
"""``added`` is when the first copy was counted, ``day`` its date; ``conditions`` counts the copies of a row: ``NM:2;LP:1``."""
TEMPLATE: Final = re.compile(r"\{(set|number|card_id)(?::(upper|[1-9]))?\}")
"""A field in a template: in upper case, or beginning with at least so many digits."""


class Column(Schema):
    """One column: a ``field`` of the line, an ``attribute`` of the card in the index, a fixed ``text``, or a ``template`` of fields.

    An ``optional`` column may stay empty without a word; of every other one it is said how many lines have nothing for it. One with
    ``finishes`` has only the copies in these finishes, which the format takes for the first of them; lines that differ in nothing else
    share a row.
    """

    name: str = Field(max_length=200)
    field: FieldName | None = None
    attribute: str | None = Field(None, max_length=100)
    text: str | None = Field(None, max_length=500)
    template: str | None = Field(None, max_length=100, pattern=TEMPLATE.pattern)
    finishes: tuple[Finish, ...] = ()
    case: Literal["upper", "lower"] | None = None
    optional: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(value is not None for value in (self.field, self.attribute, self.text, self.template)) != 1:
            raise ValueError(f"column {self.name!r}: give exactly one of field, attribute, text, template")
        if self.finishes and self.field not in ("quantity", "conditions", "price"):
            raise ValueError(f"column {self.name!r}: finishes are for quantity, conditions and price")
        if self.field == "conditions" and not self.finishes:
            raise ValueError(f"column {self.name!r}: conditions need finishes")
        return self


class Profile(Schema):
    """A format. ``kind`` is ``csv`` with a header row, ``text`` with one line per card after ``line``, or ``json``.

    ``maps`` translate the values of finish, condition and language; a value without a word is exported as that of ``*``. ``line`` has the
    names of columns in braces. With ``escape_formulas`` no cell is a formula of a spreadsheet.
    """

    name: str = Field(min_length=1, max_length=100)
    source: str = Field("", max_length=2000)
    checked: date | None = None
    file: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,80}$")
    kind: Literal["csv", "text", "json"] = "csv"
    delimiter: Literal[",", ";", "\t"] = ","
    quote: Literal["needed", "all"] = "needed"
    sep_line: bool = False
    bom: bool = False
    newline: Literal["\n", "\r\n"] = "\n"
    escape_formulas: bool = False
    line: str | None = Field(None, max_length=500)
    columns: Annotated[tuple[Column, ...], Field(min_length=1, max_length=100)]
    maps: Mapping[Literal["finish", "condition", "language"], Mapping[str, str]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _line_of_text(self) -> Self:
        if (self.kind == "text") != (self.line is not None):
            raise ValueError('line: needed for kind = "text", and only there')
        names = [column.name for column in self.columns]
        if len(set(names)) != len(names):
            raise ValueError("columns: two have the same name")
        return self

    @cached_property
    def words(self) -> dict[str, dict[str, str]]:
        """The values of the list by the words of the program, in lower case, for reading; the first value of several counts."""
        found: dict[str, dict[str, str]] = {}
        for field, mapping in self.maps.items():
            words = found.setdefault(field, {})
            for value, word in mapping.items():
                if value != OTHER:
                    words.setdefault(word.strip().lower(), value)
        return found


def read_profile(path: Path) -> Profile:
    """Return the profile in a file. Raises ``DataError`` naming the file and what is wrong in it."""
    try:
        content = path.read_bytes()
        if len(content) > MAX_PROFILE_BYTES:
            raise DataError(f"{path}: larger than {MAX_PROFILE_BYTES} bytes; that is not an export profile")
        return Profile.model_validate(tomllib.loads(content.decode()))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: is not TOML ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: {place or 'profile'}: {first['msg']}; see docs/counter.md") from error


def read_profiles(folders: tuple[Path, ...]) -> tuple[dict[str, Profile], tuple[str, ...]]:
    """Return the profiles in folders by the stem of their file, and why files cannot be used. A later folder replaces an earlier one."""
    found: dict[str, Profile] = {}
    problems = []
    for folder in folders:
        for path in sorted(folder.glob("*.toml")):
            try:
                found[path.stem] = read_profile(path)
            except DataError as error:
                problems.append(str(error))
    return dict(sorted(found.items(), key=lambda one: one[1].name.lower())), tuple(problems)
