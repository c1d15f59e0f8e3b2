"""A fleet: the canaries first, the others only when these serve the bundle; a few at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final, TypeAlias

from edge.errors import EdgeError, ExitCode
from edge.receiving.messages import Status, StatusRequest
from tools.push.connection import HostRefusedError, SshOptions, ask
from tools.push.host_push import HostReport

PushTo: TypeAlias = Callable[[str], HostReport]

_WORST_FIRST: Final = (ExitCode.SOFTWARE, ExitCode.USAGE, ExitCode.CONFIG, ExitCode.BAD_DATA, ExitCode.UNAVAILABLE)


class Rollout:
    """Pushes to hosts in order. ``heard`` is told each host's report as it comes, one at a time.

    Every canary must succeed before another host is touched. Behind them, a host that is unreachable, full or not set up is left out and
    the next is tried; a bundle that is refused or reverted (exit status 65) stops the rest.
    """

    def __init__(self, push_to: PushTo, heard: Callable[[HostReport], None], *, parallel: int) -> None:
        self._push_to = push_to
        self._heard = heard
        self._parallel = parallel
        self._stopped: str | None = None
        self._lock = threading.Lock()

    def run(self, hosts: Sequence[str], *, canaries: int, soak_s: float, ssh: SshOptions) -> list[HostReport]:
        """Push to all and return the reports in the order of the hosts; the canaries must still serve the bundle after ``soak_s``."""
        first = self._batch(hosts[:canaries], stop_on_any=True)
        if first and soak_s and self._stopped is None:
            time.sleep(soak_s)
            first = [still_well(report, ssh) for report in first]
            self._stop_at(first, on_any=True)
        return first + self._batch(hosts[canaries:], stop_on_any=False)

    def _batch(self, hosts: Sequence[str], *, stop_on_any: bool) -> list[HostReport]:
        with ThreadPoolExecutor(max_workers=self._parallel) as pool:
            return list(pool.map(lambda host: self._one(host, stop_on_any=stop_on_any), hosts))

    def _one(self, host: str, *, stop_on_any: bool) -> HostReport:
        stopped = self._stopped
        report = self._push_to(host) if stopped is None else HostReport(host, "not_tried", reason=stopped)
        with self._lock:
            self._stop_at([report], on_any=stop_on_any)
            self._heard(report)
        return report

    def _stop_at(self, reports: Sequence[HostReport], *, on_any: bool) -> None:
        for report in reports:
            if report.exit_code is ExitCode.BAD_DATA or (on_any and report.exit_code is not ExitCode.OK):
                self._stopped = self._stopped or f"stopped at {report.host}"


def still_well(report: HostReport, ssh: SshOptions) -> HostReport:
    """Ask a canary that succeeded whether it still serves the bundle; return its report, or why it is a failure by now."""
    try:
        status = ask_status(report.host, ssh)
    except EdgeError as error:
        return replace(report, result="unreachable", reason=f"cannot be asked any more: {error}", exit_code=status_of(error))
    if status.current is None or status.current.bundle_id != report.after:
        return replace(report, result="reverted", reason=status.reverted or "serves another bundle by now", exit_code=ExitCode.BAD_DATA)
    return report


def ask_status(host: str, ssh: SshOptions) -> Status:
    """Return how a device stands. Raises ``EdgeError``."""
    return ask(host, ssh, StatusRequest(), Status)


def worst(codes: Sequence[ExitCode]) -> ExitCode:
    """Return the exit status of the whole: 0 when all went well, else the gravest class."""
    return next((code for code in _WORST_FIRST if code in codes), ExitCode.OK)


def status_of(error: EdgeError) -> ExitCode:
    """Return the exit status an error stands for."""
    return error.status if isinstance(error, HostRefusedError) else error.exit_code
