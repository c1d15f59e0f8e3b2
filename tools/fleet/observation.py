"""What is known about each scanner: its report over SSH, or why there is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeAlias

from edge.errors import EdgeError, ExitCode, ProtocolError
from edge.receiving.messages import DeviceReport, Hello, ReportRequest, Status, StatusRequest
from tools.push.connection import HostRefusedError, SshOptions, connected
from tools.push.rollout import status_of

Observe: TypeAlias = Callable[[str], "Observation"]

_UNKNOWN_REQUEST: Final = ("a message cannot be understood", "invalid message")
"""How version 0.1.0, and builds between it and this one, refuse a request that they do not know."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One scanner. ``problem`` is why it could not be asked, None if it answered.

    ``report`` is None for a scanner of version 0.1.0, which has only a ``status``.
    """

    host: str
    hello: Hello | None = None
    status: Status | None = None
    report: DeviceReport | None = None
    problem: str | None = None
    exit_code: ExitCode = ExitCode.OK

    @property
    def active_id(self) -> str | None:
        """The active bundle, None if there is none or it is not known."""
        return self.status.current.bundle_id if self.status and self.status.current else None

    @property
    def previous_id(self) -> str | None:
        """The bundle before, None if there is none or it is not known."""
        return self.status.previous.bundle_id if self.status and self.status.previous else None

    @property
    def reverted_id(self) -> str | None:
        """The bundle that this scanner reverted last, None if it has used another one since."""
        if self.report is not None:
            return self.report.reverted_id
        return self.status.reverted.partition(",")[0] if self.status and self.status.reverted else None


def observe(host: str, ssh: SshOptions, *, compare: bool = False) -> Observation:
    """Ask a scanner; with ``compare``, also for the names in its active and its previous bundle. Never raises ``EdgeError``."""
    try:
        try:
            with connected(host, ssh) as device:
                device.send(ReportRequest(compare=compare))
                report = device.expect(DeviceReport)
                return Observation(host, device.hello, report.status, report)
        except HostRefusedError as error:
            if not str(error).startswith(_UNKNOWN_REQUEST):
                raise
        with connected(host, ssh) as device:
            device.send(StatusRequest())
            return Observation(host, device.hello, device.expect(Status))
    except (HostRefusedError, ProtocolError) as error:
        return Observation(host, problem=str(error), exit_code=status_of(error))
    except EdgeError as error:
        return Observation(host, problem=str(error), exit_code=error.exit_code)


def observe_all(hosts: Sequence[str], observe_one: Observe, parallel: int) -> dict[str, Observation]:
    """Ask several scanners at a time; return the answers by host, in order."""
    with ThreadPoolExecutor(max_workers=parallel) as pool:
        return {seen.host: seen for seen in pool.map(observe_one, hosts)}
