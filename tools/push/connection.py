"""A conversation with one scanner through the system's ``ssh``.

So config, agent, jump hosts and known hosts are OpenSSH's business.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, TypeVar

from edge.errors import ConnectionLostError, EdgeError, ExitCode, ProtocolError, UsageError
from edge.receiving.messages import PROTOCOL, REMOTE_COMMAND, RESPONSES, Hello, Message, Refused, Response, Step
from edge.receiving.transfer import Channel

_Wanted = TypeVar("_Wanted", bound=Response)

_END_TIMEOUT_S: Final = 10.0
_COMMAND_NOT_FOUND: Final = 127


@dataclass(frozen=True, slots=True)
class SshOptions:
    """How to reach hosts. ``config`` and ``options`` go to ssh as ``-F`` and ``-o``; ``idle_s`` is how long a device may be silent.

    Never asks anything: what needs a password or an unknown host key fails (``BatchMode``).
    """

    config: Path | None = None
    options: tuple[str, ...] = ()
    remote_command: str = REMOTE_COMMAND
    connect_timeout_s: int = 15
    idle_s: float = 120.0
    session_s: float = 3600.0

    def command(self, host: str) -> list[str]:
        """Return the command line; the first value of an option wins with ssh, so the caller's stand before ours."""
        ours = ("BatchMode=yes", f"ConnectTimeout={self.connect_timeout_s}", "ServerAliveInterval=15", "ServerAliveCountMax=4")
        options = [part for option in (*self.options, *ours) for part in ("-o", option)]
        return ["ssh", *(["-F", str(self.config)] if self.config else []), "-T", *options, "--", host, self.remote_command]


class HostRefusedError(EdgeError):
    """The device refuses what it was asked; ``status`` is the exit status it gave."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.reason)
        self.status = ExitCode(refused.exit_code) if refused.exit_code in set(ExitCode) else ExitCode.SOFTWARE


class Connection:
    """One conversation; ``hello`` is what the device said first."""

    def __init__(self, channel: Channel[Response], hello: Hello) -> None:
        self._channel = channel
        self.hello = hello

    def send(self, message: Message, payload: bytes | memoryview = b"") -> None:
        """Say something. Raises ``ConnectionLostError``."""
        self._channel.send(message, payload)

    def expect(self, kind: type[_Wanted]) -> _Wanted:
        """Return the answer of that kind. Raises ``HostRefusedError``, ``ProtocolError`` or ``ConnectionLostError``."""
        answer = self.receive()
        if not isinstance(answer, kind):
            raise ProtocolError(f"the device answered {answer.kind} where {kind.__name__} was expected; update the older of the two sides")
        return answer

    def receive(self) -> Response:
        """Return the next answer but a refusal, which raises ``HostRefusedError``."""
        answer = self._channel.receive().message
        if isinstance(answer, Refused):
            raise HostRefusedError(answer)
        return answer

    def receive_after_steps(self, kind: type[_Wanted], told: list[str]) -> _Wanted:
        """Return the answer of that kind, adding the steps the device tells before it to ``told``."""
        while isinstance(answer := self.receive(), Step):
            told.append(answer.step)
        if not isinstance(answer, kind):
            raise ProtocolError(f"the device answered {answer.kind} where {kind.__name__} was expected; update the older of the two sides")
        return answer


def ask(host: str, ssh: SshOptions, request: Message, kind: type[_Wanted]) -> _Wanted:
    """Ask a host one thing. Raises ``EdgeError``."""
    with connected(host, ssh) as device:
        device.send(request)
        return device.expect(kind)


@contextmanager
def connected(host: str, ssh: SshOptions) -> Iterator[Connection]:
    """Reach a host and hear its hello. Raises ``ConnectionLostError`` with ssh's own words, or ``ProtocolError``."""
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(ssh.command(host), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0)
        except FileNotFoundError:
            raise UsageError("ssh is not installed; install the package openssh-client") from None
        assert process.stdin is not None  # noqa: S101 - asked for above
        assert process.stdout is not None  # noqa: S101 - the same
        channel = Channel(process.stdout.fileno(), process.stdin.fileno(), RESPONSES, idle_s=ssh.idle_s, session_s=ssh.session_s)
        hello = None
        try:
            hello = _hello(channel)
            yield Connection(channel, hello)
        except ConnectionLostError as error:
            _end(process)
            what = str(error) if hello else "cannot be reached"
            raise ConnectionLostError(_why(process.returncode, errors, what)) from error
        except ProtocolError as error:
            _end(process)
            raise ProtocolError(f"{error}{_said(errors)}") from error
        finally:
            _end(process)
            process.stdout.close()


def _hello(channel: Channel[Response]) -> Hello:
    hello = channel.receive().message
    if isinstance(hello, Refused):
        raise HostRefusedError(hello)
    if not isinstance(hello, Hello):
        raise ProtocolError(f"the device begins with {hello.kind} instead of a hello; update it")
    if hello.protocol != PROTOCOL:
        raise ProtocolError(f"the device speaks {hello.protocol}, this tool {PROTOCOL}; update the older of the two")
    return hello


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None and not process.stdin.closed:
        process.stdin.close()
    try:
        process.wait(_END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _why(status: int, errors: IO[bytes], otherwise: str) -> str:
    if status == _COMMAND_NOT_FOUND:
        return f"the device does not know the command{_said(errors)}; install cardedge there, or name it with --remote-command"
    return f"{otherwise}{_said(errors)}"


def _said(errors: IO[bytes]) -> str:
    """Return the last words on standard error in brackets: ssh's, or the remote command's."""
    errors.seek(0)
    lines = [line.strip() for line in errors.read().decode(errors="replace").splitlines() if line.strip()]
    return f" ({'; '.join(lines[-2:])})" if lines else ""
