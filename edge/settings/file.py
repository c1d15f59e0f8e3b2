"""Reads the settings file; reports each error in it with file, line, key, value and the allowed values."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import BaseModel, ValidationError

from edge.errors import SettingsError
from edge.settings.address import redact_addresses
from edge.settings.sections import Settings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

DEFAULT_SETTINGS_FILE: Final = Path("/etc/cardedge/cardedge.toml")

_TYPE_NAMES: Final = {int: "a whole number", float: "a number", str: "a string", bool: "true or false", Path: "a path"}


def load_settings(path: Path) -> Settings:
    """Return the settings in ``path``. Raises ``SettingsError`` if it is missing, not TOML, or contains a wrong key or value."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors write a byte order mark
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such settings file; choose one with --config, or copy systemd/cardedge.toml there") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read as UTF-8 text: {error}") from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not TOML: {error}; strings need quotes, sections look like [camera]") from None
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        errors = sorted(error.errors(include_url=False), key=lambda details: _line_of(text, _keys(details)) or 0)
        raise SettingsError("\n".join(_problem(path, text, details) for details in errors)) from None


def allowed_values(field: FieldInfo) -> str:
    """Return the allowed values of a key in words, such as ``a number, at least 0.5 and at most 60`` or ``"exact" or "hnsw"``."""
    bounds = [words for mark in field.metadata if (words := _bound(mark))]
    return _allowed_type(field.annotation) + (", " if bounds else "") + " and ".join(bounds)


def field_at(keys: tuple[str, ...]) -> FieldInfo | None:
    """Return the settings field at the path ``keys`` (section first), or None if there is none."""
    model: Any = Settings
    field: FieldInfo | None = None
    for key in keys:
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or key not in model.model_fields:
            return None
        field = model.model_fields[key]
        model = section_model(field)
    return field


def section_model(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a field that is a section, also an optional one; None for a plain key."""
    candidates = (field.annotation, *get_args(field.annotation))
    return next((kind for kind in candidates if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _allowed_type(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_allowed_type(kind) for kind in arguments if kind is not type(None))
    if origin in (tuple, list):
        return f"a list, each {_allowed_type(arguments[0])}"
    return _TYPE_NAMES.get(annotation, "a section" if isinstance(annotation, type) else str(annotation))


def _bound(mark: Any) -> str | None:
    match mark:
        case Ge():
            return f"at least {mark.ge}"
        case Gt():
            return f"above {mark.gt}"
        case Le():
            return f"at most {mark.le}"
        case Lt():
            return f"below {mark.lt}"
        case MinLen():
            return "not empty"
    pattern = getattr(mark, "pattern", None)
    return f"of the form `{pattern}`" if pattern else None


def _problem(path: Path, text: str, details: ErrorDetails) -> str:
    """Return one error as ``file:line: key = value: allowed is …``."""
    keys = _keys(details)
    field = field_at(keys)
    line = _line_of(text, keys)
    place = f"{path}:{line}" if line else str(path)
    name = ".".join(keys)
    if details["type"] == "extra_forbidden":
        return f"{place}: unknown key {name}{_suggestion(keys)}"
    if details["type"] == "missing":
        return f"{place}: {name} is missing; allowed: {allowed_values(field) if field else 'see docs/settings.md'}"
    if field is None or details["type"] == "value_error":
        return f"{place}: {name or 'settings'}: {details['msg'].removeprefix('Value error, ')}"
    value = redact_addresses(repr(details["input"])) if field.repr else "…"
    return f"{place}: {name} = {value}: allowed is {allowed_values(field)}"


def _keys(details: ErrorDetails) -> tuple[str, ...]:
    return tuple(str(part) for part in details["loc"])


def _suggestion(keys: tuple[str, ...]) -> str:
    """Return the end of the message about an unknown key: the most similar known key, or all known keys if none is similar."""
    section = field_at(keys[:-1]) if len(keys) > 1 else None
    model = section_model(section) if section else Settings
    known = sorted(model.model_fields) if model else []
    near = difflib.get_close_matches(keys[-1], known, n=1)
    if near:
        return f"; did you mean {'.'.join((*keys[:-1], near[0]))}?"
    return f"; known here: {', '.join(known)}"


def _line_of(text: str, keys: tuple[str, ...]) -> int | None:
    """Return the number of the line that sets ``keys``, or that begins the section they belong to; None if neither is found."""
    section: tuple[str, ...] = ()
    enclosing_line = None
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\s*([\w.\-]+)\s*\]", line):
            section = tuple(header[1].split("."))
            if section == keys:
                return number
            if section == keys[: len(section)]:
                enclosing_line = number
        elif key := re.match(r"\s*([\w.\-]+)\s*=", line):
            path = (*section, *key[1].split("."))
            if path[: len(keys)] == keys:
                return number
    return enclosing_line
