"""Pushes to a fleet: canaries first, the other hosts only after they have succeeded, a few at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final, TypeAlias

from edge.errors import EdgeError, ExitCode
from edge.receiving.messages import Status, StatusRequest
from tools.push.connection import HostRefusedError, SshOptions, request_one
from tools.push.host_push import HostReport

PushTo: TypeAlias = Callable[[str], HostReport]

_WORST_FIRST: Final = (ExitCode.SOFTWARE, ExitCode.USAGE, ExitCode.CONFIG, ExitCode.BAD_DATA, ExitCode.UNAVAILABLE)


class Rollout:
    """Pushes to hosts in order. ``on_report`` is called with each report as it arrives, one at a time.

    All canaries must succeed before another host is contacted. After that, a host that is unreachable, full or not set up is skipped; a
    bundle that is refused or reverted (exit status 65) stops the rollout.
    """

    def __init__(self, push_to: PushTo, on_report: Callable[[HostReport], None], *, parallel: int) -> None:
        self._push_to = push_to
        self._on_report = on_report
        self._parallel = parallel
        self._stopped: str | None = None
        self._lock = threading.Lock()

    def run(self, hosts: Sequence[str], *, canaries: int, soak_s: float, ssh: SshOptions) -> list[HostReport]:
        """Push to all hosts and return their reports in order; the canaries must still use the bundle after ``soak_s`` seconds."""
        first = self._batch(hosts[:canaries], stop_on_any=True)
        if first and soak_s and self._stopped is None:
            time.sleep(soak_s)
            first = [recheck(report, ssh) for report in first]
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
            self._on_report(report)
        return report

    def _stop_at(self, reports: Sequence[HostReport], *, on_any: bool) -> None:
        for report in reports:
            if report.exit_code is ExitCode.BAD_DATA or (on_any and report.exit_code is not ExitCode.OK):
                self._stopped = self._stopped or f"stopped at {report.host}"


def recheck(report: HostReport, ssh: SshOptions) -> HostReport:
    """Query a canary that succeeded; return its report, changed to a failure if it no longer uses the bundle."""
    try:
        status = request_status(report.host, ssh)
    except EdgeError as error:
        return replace(report, result="unreachable", reason=f"can no longer be queried: {error}", exit_code=status_of(error))
    if status.current is None or status.current.bundle_id != report.after:
        return replace(report, result="reverted", reason=status.reverted or "another bundle is active", exit_code=ExitCode.BAD_DATA)
    return report


def request_status(host: str, ssh: SshOptions) -> Status:
    """Return the status of a device. Raises ``EdgeError``."""
    return request_one(host, ssh, StatusRequest(), Status)


def worst(codes: Sequence[ExitCode]) -> ExitCode:
    """Return the exit status for all hosts: 0 if all succeeded, otherwise the most severe one."""
    return next((code for code in _WORST_FIRST if code in codes), ExitCode.OK)


def status_of(error: EdgeError) -> ExitCode:
    """Return the exit status for an error."""
    return error.status if isinstance(error, HostRefusedError) else error.exit_code
