"""What commands print: the result on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys

from edge.logs import writes_to_journal


def print_line(line: str) -> None:
    """Print a line of the result and flush it, because a program that reads it may act on it at once."""
    print(line, flush=True)


def print_json(values: dict[str, object]) -> None:
    """Print one JSON object on a line of its own."""
    print_line(json.dumps(values, ensure_ascii=False))


def print_error(text: str) -> None:
    """Print ``text`` on standard error; under systemd mark each line as an error for the journal."""
    mark = "<3>" if writes_to_journal(sys.stderr) else ""
    for line in text.splitlines():
        print(mark + line, file=sys.stderr)
