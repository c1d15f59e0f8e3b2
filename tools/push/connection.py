"""A connection to one device through the system's ``ssh`` with its configuration, agent, jump hosts and known hosts."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, TypeVar

from edge.errors import ConnectionLostError, EdgeError, ExitCode, ProtocolError, UsageError
from edge.receiving.messages import PROTOCOL, REMOTE_COMMAND, RESPONSES, Hello, Message, Refused, Response, Step
from edge.receiving.transfer import Channel, ReceivedMessage

_Wanted = TypeVar("_Wanted", bound=Response)

_END_TIMEOUT_S: Final = 10.0
_COMMAND_NOT_FOUND: Final = 127
_NOT_SET_UP: Final = (ExitCode.USAGE, ExitCode.BAD_DATA, ExitCode.SOFTWARE, ExitCode.CONFIG)
"""How ``cardedge index receive`` ends if settings or model of the device are wrong. ssh itself ends with 255."""


@dataclass(frozen=True, slots=True)
class SshOptions:
    """How to reach hosts. ``config`` and ``options`` are passed to ssh as ``-F`` and ``-o``.

    ``idle_s`` bounds each wait for the device, ``session_s`` the whole session. ssh runs in ``BatchMode``: instead of prompting for a
    password or an unknown host key, it fails.
    """

    config: Path | None = None
    options: tuple[str, ...] = ()
    remote_command: str = REMOTE_COMMAND
    connect_timeout_s: int = 15
    idle_s: float = 120.0
    session_s: float = 3600.0

    def command(self, host: str) -> list[str]:
        """Return the command line. ssh uses the first value of an option, so ``options`` precede the defaults."""
        ours = ("BatchMode=yes", f"ConnectTimeout={self.connect_timeout_s}", "ServerAliveInterval=15", "ServerAliveCountMax=4")
        options = [part for option in (*self.options, *ours) for part in ("-o", option)]
        return ["ssh", *(["-F", str(self.config)] if self.config else []), "-T", *options, "--", host, self.remote_command]


class HostRefusedError(EdgeError):
    """The device refused a request; ``status`` is the exit status it sent."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.reason)
        self.status = ExitCode(refused.exit_code) if refused.exit_code in set(ExitCode) else ExitCode.SOFTWARE


class Connection(Channel[Response]):
    """An open connection to a device. ``hello`` is its first message."""

    def __init__(self, read_fd: int, write_fd: int, *, idle_s: float, session_s: float) -> None:
        super().__init__(read_fd, write_fd, RESPONSES, idle_s=idle_s, session_s=session_s)
        self.hello = self.expect(Hello)
        if self.hello.protocol != PROTOCOL:
            raise ProtocolError(f"the device uses {self.hello.protocol}, this tool {PROTOCOL}; update the older of the two")

    def send(self, message: Message, payload: bytes | memoryview = b"") -> None:
        """Send a message with its payload.

        Raises ``HostRefusedError`` if the device has refused an earlier message, of which several may be on their way, and reads no more,
        or ``ConnectionLostError``.
        """
        try:
            super().send(message, payload)
        except ConnectionLostError:
            with suppress(ConnectionLostError):
                while (received := self.receive_if_any()) is not None:
                    if isinstance(received.message, Refused):
                        raise HostRefusedError(received.message) from None
            raise

    def expect(self, kind: type[_Wanted], steps: list[str] | None = None) -> _Wanted:
        """Return the next response, which must be of ``kind``; with ``steps``, append the steps reported before it.

        Raises ``HostRefusedError`` for a refusal, ``ProtocolError`` for any other response, or ``ConnectionLostError``.
        """
        return self.expect_one((kind,), steps).message

    def expect_one(self, kinds: tuple[type[_Wanted], ...], steps: list[str] | None = None) -> ReceivedMessage[_Wanted]:
        """Return the next response with its payload, which must be of one of ``kinds``; raises like ``expect``."""
        while True:
            received = self.receive()
            response = received.message
            if isinstance(response, kinds):
                return ReceivedMessage(response, received.payload)
            if isinstance(response, Refused):
                raise HostRefusedError(response)
            if steps is None or not isinstance(response, Step):
                expected = " or ".join(kind.__name__ for kind in kinds)
                raise ProtocolError(f"the device answered {response.kind} instead of {expected}; update the older of client and device")
            steps.append(response.step)


def request_one(host: str, ssh: SshOptions, request: Message, kind: type[_Wanted]) -> _Wanted:
    """Send one request to a host and return its response. Raises ``EdgeError``."""
    with connected(host, ssh) as device:
        device.send(request)
        return device.expect(kind)


@contextmanager
def connected(host: str, ssh: SshOptions) -> Iterator[Connection]:
    """Yield a connection to a host.

    Raises ``ConnectionLostError`` with the error output of ssh, ``HostRefusedError`` if the device is not set up, or ``ProtocolError``.
    """
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(ssh.command(host), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0)
        except FileNotFoundError:
            raise UsageError("ssh is not installed; install the package openssh-client") from None
        assert process.stdin is not None  # noqa: S101 - requested above
        assert process.stdout is not None  # noqa: S101 - the same
        device = None
        try:
            device = Connection(process.stdout.fileno(), process.stdin.fileno(), idle_s=ssh.idle_s, session_s=ssh.session_s)
            yield device
        except ConnectionLostError as error:
            _end(process)
            if device is None and process.returncode in _NOT_SET_UP:
                reason = f"its receiver cannot start{_stderr_tail(errors)}; mend that on the device"
                raise HostRefusedError(Refused(reason=reason, exit_code=ExitCode.CONFIG)) from error
            otherwise = str(error) if device else "cannot be reached"
            raise ConnectionLostError(_failure_reason(host, process.returncode, errors, otherwise)) from error
        except ProtocolError as error:
            _end(process)
            raise ProtocolError(f"{error}{_stderr_tail(errors)}") from error
        finally:
            _end(process)
            process.stdout.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None and not process.stdin.closed:
        process.stdin.close()
    try:
        process.wait(_END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _failure_reason(host: str, status: int, errors: IO[bytes], otherwise: str) -> str:
    if status == _COMMAND_NOT_FOUND:
        return f"command not found on the device{_stderr_tail(errors)}; install cardedge there, or give its path with --remote-command"
    return f"{otherwise}{_stderr_tail(errors)}{_advice(host, _stderr(errors))}"


def _advice(host: str, stderr: str) -> str:
    """Return what to do about an error of ssh that a first push meets, empty for others."""
    name = host.rpartition("@")[2]
    if "HOST IDENTIFICATION HAS CHANGED" in stderr:
        return f"; the host has another key than the stored one; if it was set up again, `ssh-keygen -R {name}`, then compare the new one"
    if "Host key verification failed" in stderr:
        return f"; store the host's key with `ssh-keyscan -t ed25519 {name} >> ~/.ssh/known_hosts`, and compare it as in docs/updating.md"
    if "Permission denied" in stderr:
        user = "" if "@" in host else f"give the host as cardedge@{name}, and "
        return f"; {user}allow your key on the scanner: sudo ./install.sh --allow-technician KEY.pub"
    return ""


def _stderr(errors: IO[bytes]) -> str:
    errors.seek(0)
    return errors.read().decode(errors="replace")


def _stderr_tail(errors: IO[bytes]) -> str:
    """Return the last two lines of standard error in parentheses, empty without output."""
    lines = [line.strip() for line in _stderr(errors).splitlines() if line.strip()]
    return f" ({'; '.join(lines[-2:])})" if lines else ""
