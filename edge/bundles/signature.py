"""Who signed a manifest: checked by ``ssh-keygen -Y``, so that agents, hardware keys, certificates and revocation are OpenSSH's business.

The manifest hashes every file, so its signature covers the bundle.
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
"""A signature made for anything else (a commit, a mail) is worth nothing here."""

SIGNATURE_FILE: Final = "manifest.json.sig"
_ARMOUR: Final = b"-----BEGIN SSH SIGNATURE-----"
_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Signer:
    """The principal that the list of allowed signers names for a key, and the key's fingerprint (``SHA256:…``)."""

    principal: str
    fingerprint: str


def check_signature(manifest: bytes, signature: bytes, allowed_signers: Path) -> Signer:
    """Return who signed ``manifest``. Raises ``SignatureError``, or ``SettingsError`` when there is no list of allowed signers."""
    if not allowed_signers.is_file():
        raise SettingsError(f"{allowed_signers}: no such file, so no signature can be checked; list the technicians' public keys there")
    if not signature.lstrip().startswith(_ARMOUR):
        raise SignatureError("manifest.json.sig: not an SSH signature; sign the bundle with tools/sign_bundle.py")
    with tempfile.NamedTemporaryFile(prefix="cardedge-", suffix=".sig") as file:
        file.write(signature)
        file.flush()
        found = _keygen("find-principals", "-s", file.name, "-f", str(allowed_signers))
        principals = found.stdout.decode(errors="replace").splitlines()
        if found.returncode or not principals:
            raise SignatureError(
                f"manifest.json.sig: signed by a key that {allowed_signers} does not name{_said(found)}; "
                "sign with another key, or add this one on the device"
            )
        for principal in principals:
            checked = _keygen("verify", "-n", NAMESPACE, "-I", principal, "-s", file.name, "-f", str(allowed_signers), data=manifest)
            if checked.returncode == 0:
                return Signer(principal, _fingerprint(checked.stdout))
    raise SignatureError(
        f"manifest.json.sig: does not fit the manifest, or was not made for {NAMESPACE}{_said(checked)}; sign the bundle again"
    )


def _fingerprint(said: bytes) -> str:
    """Return the key's fingerprint from ``Good "…" signature for … with ED25519 key SHA256:…``."""
    found = re.search(rb"key (SHA256:\S+)", said)
    return found[1].decode() if found else "unknown key"


def _keygen(action: str, *options: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(  # noqa: S603 - no shell, and no option comes from outside: files and principals follow their flags
            ["ssh-keygen", "-Y", action, *options],  # noqa: S607 - wherever the system keeps it
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


def _said(ended: subprocess.CompletedProcess[bytes]) -> str:
    """Return ssh-keygen's own last words in brackets."""
    lines = [line.strip() for line in (ended.stderr + b"\n" + ended.stdout).decode(errors="replace").splitlines() if line.strip()]
    return f" ({lines[0]})" if lines else ""
