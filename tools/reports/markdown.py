"""Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; every row has as many cells as there are ``columns``."""
    return "\n".join([head(columns), *(row(cells) for cells in rows)])


def head(columns: Sequence[str]) -> str:
    """Return the first two lines of a table: the column names and the rule below them."""
    return f"{row(columns)}\n{'|---' * len(columns)}|"


def row(cells: Sequence[str]) -> str:
    """Return one line of a table."""
    return "| " + " | ".join(cells) + " |"
