"""Verifying the signature of a manifest with ``ssh-keygen -Y``, which supports agents, hardware keys, certificates and revocation.

The manifest contains the hash of every file, so its signature covers the bundle.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge.errors import DeviceError, SettingsError, SignatureError

if TYPE_CHECKING:
    from pathlib import Path

NAMESPACE: Final = "cardedge-index"
"""Signatures made for another purpose (a commit, an e-mail) are not valid for a bundle."""

SIGNATURE_FILE: Final = "manifest.json.sig"
_ARMOR: Final = b"-----BEGIN SSH SIGNATURE-----"
_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Signer:
    """The owner of a signing key in the list of allowed signers, and the fingerprint of the key (``SHA256:…``)."""

    principal: str
    fingerprint: str


def check_signature(manifest: bytes, signature: bytes, allowed_signers: Path) -> Signer:
    """Return the signer of ``manifest``. Raises ``SignatureError``, or ``SettingsError`` if the list of allowed signers is missing."""
    if not allowed_signers.is_file():
        raise SettingsError(f"{allowed_signers}: no such file, so no signature can be checked; list the technicians' public keys there")
    if not signature.lstrip().startswith(_ARMOR):
        raise SignatureError("manifest.json.sig: not an SSH signature; sign the bundle with tools.sign_bundle")
    with tempfile.NamedTemporaryFile(prefix="cardedge-", suffix=".sig") as file:
        file.write(signature)
        file.flush()
        found = _keygen("find-principals", "-s", file.name, "-f", str(allowed_signers))
        principals = found.stdout.decode(errors="replace").splitlines()
        if found.returncode or not principals:
            raise SignatureError(
                f"manifest.json.sig: signed by a key that {allowed_signers} does not name{_output(found)}; "
                "sign with another key, or add this one on the device"
            )
        for principal in principals:
            checked = _keygen("verify", "-n", NAMESPACE, "-I", principal, "-s", file.name, "-f", str(allowed_signers), data=manifest)
            if checked.returncode == 0:
                return Signer(principal, _fingerprint(checked.stdout))
    raise SignatureError(
        f"manifest.json.sig: does not match the manifest, or was not made for {NAMESPACE}{_output(checked)}; sign the bundle again"
    )


def _fingerprint(stdout: bytes) -> str:
    """Return the key's fingerprint from ``Good "…" signature for … with ED25519 key SHA256:…``."""
    found = re.search(rb"key (SHA256:\S+)", stdout)
    return found[1].decode() if found else "unknown key"


def _keygen(action: str, *options: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(  # noqa: S603 - no shell, and no untrusted option: files and principals follow their flags
            ["ssh-keygen", "-Y", action, *options],  # noqa: S607 - its location depends on the system
            input=data,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise DeviceError("ssh-keygen is not installed, so no signature can be checked; install the package openssh-client") from None
    except subprocess.TimeoutExpired:
        raise DeviceError(f"ssh-keygen -Y {action} did not answer within {_TIMEOUT_S:.0f} s; try again") from None


def _output(ended: subprocess.CompletedProcess[bytes]) -> str:
    """Return the first line of the output of ssh-keygen in parentheses, empty without output."""
    lines = [line.strip() for line in (ended.stderr + b"\n" + ended.stdout).decode(errors="replace").splitlines() if line.strip()]
    return f" ({lines[0]})" if lines else ""
