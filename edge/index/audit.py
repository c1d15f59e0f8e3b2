"""The audit: a line per attempt to change the releases over SSH, in ``audit.jsonl`` of the index folder and in the journal."""

import contextlib
import errno
import json
import logging
import os
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from logging.handlers import SysLogHandler
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, Field, ValidationError

from edge.bundles.signature import Signer
from edge.schema import Schema
from edge.system.files import write_atomically

AUDIT_FILE: Final = "audit.jsonl"
MAX_BYTES: Final = 1 << 20
"""A larger file loses its older half, which remains in the journal."""

JOURNAL: Final = "/dev/log"


class AuditLine(Schema):
    """One attempt to change the releases.

    ``key`` is the fingerprint of the signing key, ``principal`` its owner in the device's list of allowed signers. ``technician`` is the
    name of the SSH key on the device, ``peer`` the address of the client.
    """

    at: AwareDatetime
    action: str
    bundle_id: str | None = None
    result: str = Field(
        description="`activated`, `unchanged`, `confirmed`, `rolled_back`, `rejected`, `pruned`, `installed`, `waiting`, `refused` or "
        "`cut`."
    )
    reason: str | None = None
    principal: str | None = None
    key: str | None = None
    technician: str | None = None
    peer: str | None = None

    def to_json_dict(self) -> dict[str, str | None]:
        """Return the line as JSON values, without the fields that are None."""
        content: dict[str, str | None] = self.model_dump(mode="json", exclude_none=True)
        return content


class Audit:
    """Writes the audit lines of one session. ``environment`` is the process environment, in which sshd names the client."""

    def __init__(self, root: Path, environment: Mapping[str, str], *, technician: str | None, journal: str = JOURNAL) -> None:
        self._file = root / AUDIT_FILE
        self.technician = technician
        self._peer = (environment.get("SSH_CONNECTION") or "").split(" ")[0] or None
        self._journal = Path(journal)

    def write(
        self, action: str, bundle_id: str | None, result: str, *, reason: str | None = None, signer: Signer | None = None
    ) -> AuditLine:
        """Append a line to the file, durably, and log it to the journal; return it.

        On a full disk the line is in the journal alone, followed by the reason: what the line reports is done, or was refused for its own
        reason.
        """
        line = AuditLine(
            at=datetime.now(UTC),
            action=action,
            bundle_id=bundle_id,
            result=result,
            reason=reason,
            principal=signer.principal if signer else None,
            key=signer.fingerprint if signer else None,
            technician=self.technician,
            peer=self._peer,
        )
        text = json.dumps(line.to_json_dict(), ensure_ascii=False)
        lines = [text]
        try:
            self._append(text.encode() + b"\n")
        except OSError as error:
            lines.append(f"{self._file}: the line above cannot be appended ({error.strerror}); free space on the device")
        if self._journal.exists():
            for each in lines:
                self._log_to_journal(each)
        return line

    def _append(self, content: bytes) -> None:
        """Append all of a line, or nothing. Raises ``OSError``."""
        self._truncate()
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        try:
            length = os.fstat(descriptor).st_size
            if os.write(descriptor, content) < len(content):
                os.ftruncate(descriptor, length)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _log_to_journal(self, text: str) -> None:
        """Log through syslog: standard error leads to the push client, not to the journal."""
        with closing(SysLogHandler(str(self._journal), SysLogHandler.LOG_AUTHPRIV)) as handler:
            handler.ident = "cardedge-audit: "
            handler.emit(logging.LogRecord("audit", logging.INFO, "", 0, text, None, None))

    def _truncate(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self._file.stat().st_size > MAX_BYTES:
                newer = self._file.read_bytes()[-MAX_BYTES // 2 :].partition(b"\n")[2]
                write_atomically(self._file, newer)


def last_line(root: Path) -> AuditLine | None:
    """Return the newest complete line of the audit below ``root``, None if there is none."""
    try:
        with (root / AUDIT_FILE).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - (1 << 16)))
            lines = file.read().splitlines()
    except OSError:
        return None
    for text in reversed(lines):
        with contextlib.suppress(ValidationError):
            return AuditLine.model_validate_json(text)
    return None


class AuditReader:
    """Returns the newest line of an audit that other processes write; reads the file only when it has changed."""

    def __init__(self) -> None:
        self._read_state: tuple[Path, int, int] | None = None
        self._line: AuditLine | None = None

    def last(self, root: Path) -> AuditLine | None:
        """Return the newest complete line of the audit below ``root``, None if there is none."""
        try:
            status = (root / AUDIT_FILE).stat()
        except OSError:
            return None
        state = (root, status.st_mtime_ns, status.st_size)
        if state != self._read_state:
            self._read_state, self._line = state, last_line(root)
        return self._line
