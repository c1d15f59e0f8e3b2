"""The parser of every command line, and the types and options that several commands share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn, TypeAlias

from edge.errors import ExitCode
from edge.settings.file import DEFAULT_SETTINGS_FILE

DEFAULT_INDEX: Final = Path("/var/lib/cardedge/index")

Command: TypeAlias = Callable[[argparse.Namespace], ExitCode]
"""Runs a command and returns its exit status; may raise ``EdgeError``."""

AddCommand: TypeAlias = Callable[[str, Command, str], argparse.ArgumentParser]
"""Adds a command with its name and its description, whose first sentence is the summary in lists, and returns its parser."""


class CommandLineParser(argparse.ArgumentParser):
    """An argument parser that ends the program with exit status 64 if the command line is wrong."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and ``message`` on standard error and end the program with exit status 64."""
        self.print_usage(sys.stderr)
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}; see --help\n")


def positive_count(text: str) -> int:
    """Return the whole number in ``text``, at least 1. Raises ``argparse.ArgumentTypeError`` otherwise."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def positive_number(text: str) -> float:
    """Return the number in ``text``, above 0 and below 10⁹. Raises ``argparse.ArgumentTypeError`` otherwise."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def address(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``; an IPv6 host may be in brackets. Raises ``argparse.ArgumentTypeError`` otherwise."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT, for example 127.0.0.1:8080")
    return host, int(port)


def summary(description: str) -> str:
    """Return the first sentence of a command's description, without its period, for the list of commands."""
    return description.partition(". ")[0].removesuffix(".")


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object per line on standard output and nothing else there")


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--config``, the settings file."""
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_SETTINGS_FILE, metavar="FILE", help=f"settings file (default: {DEFAULT_SETTINGS_FILE})"
    )


def add_model_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--model``, a model's folder."""
    parser.add_argument("--model", type=Path, metavar="DIR", help="folder of the model (default: the only one under hef/)")


def add_index_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--index``, a bundle or a device index."""
    text = f"bundle, or device index with `releases/` and `current` (default: {DEFAULT_INDEX})"
    parser.add_argument("--index", type=Path, default=DEFAULT_INDEX, metavar="DIR", help=text)
