"""A real sshd on a free loopback port with one restricted key, and the ssh configuration to reach it."""

import getpass
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.mosquitto import free_port, wait_until

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")

needs_sshd = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed; `apt install openssh-server openssh-client`"
)


def make_key(path: Path, comment: str = "test") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)], check=True)
    return path


def sshd_program() -> str:
    """Return the path of sshd, and as root create the folder that it requires and that the system's sshd service would create."""
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    return str(SSHD)


def public_key(path: Path) -> str:
    return path.with_name(path.name + ".pub").read_text().strip()


class Sshd:
    """One server. ``host`` is its name in ``config`` (for ``ssh -F``); the key can run only ``command``."""

    def __init__(self, folder: Path, host: str, key: Path, command: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.host = host
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        host_key = make_key(folder / "host_key")
        (folder / "authorized_keys").write_text(f'restrict,command="{command}" {public_key(key)}\n')
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {public_key(host_key)}\n")
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nPidFile none\nUsePAM no\nStrictModes no\n"
            f"AuthorizedKeysFile {folder / 'authorized_keys'}\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        )
        self.config = folder / "ssh_config"
        self.write_client_config(self.port)

    def write_client_config(self, port: int) -> None:
        """Write the client configuration for a port; a port other than the server's is that of a proxy."""
        key = (self._folder / "authorized_keys").read_text().split()[-1]
        identity = next(path for path in self._folder.parent.glob("*.pub") if path.read_text().split()[-1] == key)
        self.config.write_text(
            f"Host {self.host}\n HostName 127.0.0.1\n Port {port}\n User {getpass.getuser()}\n HostKeyAlias [127.0.0.1]:{self.port}\n"
            f" IdentityFile {identity.with_suffix('')}\n IdentitiesOnly yes\n UserKnownHostsFile {self._folder / 'known_hosts'}\n"
            " GlobalKnownHostsFile none\n StrictHostKeyChecking yes\n ControlMaster no\n"
        )

    def start(self) -> "Sshd":
        log = (self._folder / "sshd.log").open("ab")
        command = [sshd_program(), "-D", "-e", "-f", str(self._folder / "sshd_config")]
        # a group of its own: sessions end with it
        self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        log.close()
        wait_until(self._answers)
        return self

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
