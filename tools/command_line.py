"""The command line of a tool."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from edge.errors import ExitCode


class CommandLine(argparse.ArgumentParser):
    """Ends with our own status for a wrong command line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and end with status 64."""
        self.print_usage(sys.stderr)
        self.exit(ExitCode.USAGE, f"{self.prog}: {message}; see --help\n")
