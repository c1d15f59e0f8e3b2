"""``cardedge check``: prints the results of the checks as they come."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from dataclasses import asdict

from edge.app.diagnostics import CheckResult, run_checks
from edge.cli.output import print_json, print_line
from edge.errors import ExitCode


def check(args: argparse.Namespace) -> ExitCode:
    """Run all checks, print a line for each result, and return the exit status."""
    results = []
    for result in run_checks(args.config, at_rest=args.at_rest, index=args.index):
        results.append(result)
        if args.json:
            print_json(asdict(result))
        else:
            print_line(result_text(result))
    return exit_code(results)


def exit_code(results: Collection[CheckResult]) -> ExitCode:
    """Return 0, or the status of the most severe failure: a bug, wrong settings, bad data, an unavailable device, in this order."""
    failed = {result.exit_code for result in results if result.level == "fail"}
    order = (ExitCode.SOFTWARE, ExitCode.CONFIG, ExitCode.BAD_DATA, ExitCode.UNAVAILABLE)
    return next((code for code in order if code in failed), ExitCode.OK)


def result_text(result: CheckResult) -> str:
    """Return a result as text: one line for each line of its message."""
    first, *rest = result.message.splitlines()
    return "\n".join([f"{result.level.upper():<5}{result.check:<12}{first}", *(f"{'':17}{line}" for line in rest)])
