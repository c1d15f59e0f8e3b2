"""Pushes a bundle to one scanner: sends the missing files, has them activated, and confirms once the daemon uses the bundle."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from edge.errors import ConnectionLostError, DeviceError, EdgeError, ExitCode
from edge.receiving.messages import Completed, ConfirmRequest, Offer, Status, StatusRequest, TransferPlan
from tools.push.connection import Connection, HostRefusedError, SshOptions, connected
from tools.push.local_bundle import LocalBundle
from tools.push.sending import Transfer

PushResult: TypeAlias = Literal["planned", "activated", "unchanged", "refused", "reverted", "unreachable", "not_tried"]
ReportProgress: TypeAlias = Callable[[str], None]

RETRY_AFTER_S: Final = (1.0, 5.0, 15.0)
"""Pauses before an interrupted push is resumed."""

POLL_S: Final = 0.5
_NEWER_FORMAT: Final = re.compile(r"format \d+ is newer than \d+")
"""How every version refuses a manifest that it cannot read."""

_BEYOND_DEADLINE_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class PushOptions:
    """How to push.

    ``need_daemon``: confirm only a bundle that the device's daemon has loaded. ``retry_after_s``: pauses before resuming.
    """

    dry_run: bool = False
    allow_downgrade: bool = False
    confirm_within_s: float = 120.0
    need_daemon: bool = True
    retry_after_s: tuple[float, ...] = RETRY_AFTER_S


@dataclass(frozen=True, slots=True)
class HostReport:
    """The outcome for one host.

    ``before`` and ``after`` are the active bundles; ``audit`` contains the audit lines of the device. ``bytes_wanted`` is the size of what
    the device lacked, ``bytes_sent`` counts all bytes that were sent to transfer it, with the manifest and after compression.
    """

    host: str
    result: PushResult
    exit_code: ExitCode = ExitCode.OK
    reason: str | None = None
    device_id: str | None = None
    before: str | None = None
    after: str | None = None
    signer: str | None = None
    bytes_wanted: int = 0
    bytes_sent: int = 0
    free_bytes: int | None = None
    cuts: int = 0
    seconds: float = 0.0
    audit: tuple[dict[str, str | None], ...] = ()

    def to_json_dict(self) -> dict[str, object]:
        """Return the object printed with ``--json``."""
        content = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**content, "exit_code": int(self.exit_code), "seconds": round(self.seconds, 2), "audit": list(self.audit)}


class HostPush:
    """Pushes one bundle to one host. ``report_progress`` is called with one line of text for each step."""

    def __init__(self, host: str, bundle: LocalBundle, ssh: SshOptions, options: PushOptions, report_progress: ReportProgress) -> None:
        self._host = host
        self._bundle = bundle
        self._ssh = ssh
        self._options = options
        self._report_progress = report_progress
        self._report = HostReport(host, "unreachable")
        self._stored_bytes = 0

    def run(self) -> HostReport:
        """Push and return the report; never raises ``EdgeError``."""
        began_s = time.monotonic()
        try:
            self._push_in_a_known_format()
        except HostRefusedError as error:
            self._report = replace(self._report, result="refused", exit_code=error.status, reason=str(error))
        except ConnectionLostError as error:
            self._report = replace(self._report, result="unreachable", exit_code=error.exit_code, reason=str(error))
        except EdgeError as error:
            self._report = replace(self._report, result="refused", exit_code=error.exit_code, reason=str(error))
        self._report = replace(self._report, seconds=time.monotonic() - began_s)
        return self._report

    def _push_in_a_known_format(self) -> None:
        """Push the bundle; to a device that does not know its format, the same bundle as that version can read it.

        Raises ``DeviceError`` if that version cannot read it at all.
        """
        try:
            self._push_with_retries()
        except HostRefusedError as error:
            if not _NEWER_FORMAT.search(str(error)):
                raise
            former = self._bundle.for_former_version()
            if former is None:  # no fault of the bundle: the other hosts may have it
                raise DeviceError(f"{error} on the scanner, or push a bundle to it that was built with --format 2") from error
            self._report_progress("the device has an earlier version; offering the bundle without counter and expiry")
            self._bundle = former
            self._push_with_retries()

    def _push_with_retries(self) -> None:
        for pause_s in (*self._options.retry_after_s, None):
            try:
                done = self._push()
                if done is not None:
                    self._confirm_on_device(done)
            except ConnectionLostError as error:
                if pause_s is None or self._report.device_id is None:
                    raise  # the host was never reached; an immediate retry would not reach it either
                self._report = replace(self._report, cuts=self._report.cuts + 1)
                self._report_progress(f"interrupted: {error}; resuming in {pause_s:.0f} s")
                time.sleep(pause_s)
            else:
                return

    def _push(self) -> Completed | None:
        """Offer the bundle and send what is missing; return the device's final response, None for a dry run."""
        bundle, options = self._bundle, self._options
        with connected(self._host, self._ssh) as device, self._counted(device):
            self._report = replace(self._report, device_id=device.hello.device_id)
            offer = Offer(
                manifest_bytes=len(bundle.manifest_bytes),
                signature_bytes=len(bundle.signature),
                allow_downgrade=options.allow_downgrade,
                dry_run=options.dry_run,
                confirm_within_s=options.confirm_within_s,
            )
            transfer = Transfer(device, bundle, self._report_stored)
            plan = transfer.offer(offer)
            self._add_plan(plan.message)
            if options.dry_run:
                self._report = replace(self._report, result="planned", after=self._report.before)
                return None
            self._report_progress(f"{plan.message.bytes_wanted / 1e6:.1f} of {bundle.size_bytes / 1e6:.1f} MB to send")
            transfer.send(plan)
            steps: list[str] = []
            done = transfer.commit(steps)
            self._report_progress(f"{', '.join(steps)}: {done.result}")
        return done

    @contextmanager
    def _counted(self, device: Connection) -> Iterator[None]:
        """Add what was sent over a connection to the report, also if it breaks."""
        try:
            yield
        finally:
            self._report = replace(self._report, bytes_sent=self._report.bytes_sent + device.bytes_sent)

    def _add_plan(self, plan: TransferPlan) -> None:
        # a resumed push keeps the active bundle and the bytes wanted from its first attempt
        before = self._report.before or (plan.current.bundle_id if plan.current else None)
        wanted = self._report.bytes_wanted or plan.bytes_wanted
        self._report = replace(
            self._report, before=before, after=before, signer=plan.signer, bytes_wanted=wanted, free_bytes=plan.free_bytes
        )

    def _report_stored(self, size_bytes: int) -> None:
        before, total_bytes = self._stored_bytes, self._report.bytes_wanted
        self._stored_bytes += size_bytes
        quarters = [4 * stored // max(total_bytes, 1) for stored in (before, self._stored_bytes)]
        if quarters[0] != quarters[1]:
            self._report_progress(f"{min(25 * quarters[1], 100)} % sent")

    def _confirm_on_device(self, done: Completed) -> None:
        """Confirm over a new connection, once the daemon has loaded the activated bundle."""
        self._add_audit(done)
        if done.confirm_before is None:
            self._set_activated()
            return
        bundle_id = self._bundle.manifest.bundle_id
        give_up_s = time.monotonic() + self._options.confirm_within_s + _BEYOND_DEADLINE_S
        with connected(self._host, self._ssh) as device:
            while True:
                device.send(StatusRequest())
                status = device.expect(Status)
                if status.current is None or status.current.bundle_id != bundle_id:
                    self._set_reverted(status)
                    return
                trial = status.trial
                if trial is None or trial.deadline is None or trial.serving or not self._options.need_daemon:
                    break
                if time.monotonic() > give_up_s:
                    raise ConnectionLostError("the daemon did not load the bundle and the device did not revert it; see its journal")
                time.sleep(POLL_S)
            device.send(ConfirmRequest(bundle_id=bundle_id))
            self._add_audit(device.expect(Completed))
        self._set_activated()
        self._report_progress("confirmed")

    def _set_activated(self) -> None:
        # compared with the bundle that was active at first: a resumed push may find its own bundle active
        bundle_id = self._bundle.manifest.bundle_id
        self._report = replace(self._report, result="unchanged" if self._report.before == bundle_id else "activated", after=bundle_id)

    def _set_reverted(self, status: Status) -> None:
        now = status.current.bundle_id if status.current else None
        reason = status.reverted or "the device returned to its previous bundle; see its journal"
        self._report = replace(self._report, result="reverted", exit_code=ExitCode.BAD_DATA, reason=reason, after=now)

    def _add_audit(self, done: Completed) -> None:
        if done.audit is not None:
            self._report = replace(self._report, audit=(*self._report.audit, done.audit))
