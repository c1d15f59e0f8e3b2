"""Verifying SSH signatures with ``ssh-keygen -Y``, which supports agents, hardware keys, certificates and revocation.

The manifest of a bundle contains the hash of every file, so its signature covers the bundle.
"""

from __future__ import annotations

import base64
import os
import re
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.errors import DeviceError, RevokedKeyError, SettingsError, SignatureError

NAMESPACE: Final = "cardedge-index"
"""Signatures made for another purpose (a commit, an e-mail) are not valid for a bundle."""

SIGNATURE_FILE: Final = "manifest.json.sig"
_MAGIC: Final = b"SSHSIG"
_ARMOR: Final = b"-----BEGIN SSH SIGNATURE-----"
_OWNER: Final = "its-owner"
_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Signer:
    """The owner of a signing key in the list of allowed signers, and the fingerprint of the key (``SHA256:…``)."""

    principal: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """Whose signatures count: a file in the format of ssh-keygen(1), ALLOWED SIGNERS, without the keys of the files ``revoked``.

    Each of ``revoked`` is a key revocation list (KRL) or has a public key per line. ``name`` is how errors name the list.
    """

    allowed: Path
    revoked: tuple[Path, ...] = ()
    name: str = ""

    def __str__(self) -> str:
        return self.name or str(self.allowed)


@dataclass(frozen=True, slots=True)
class SignedContent:
    """What is signed, and for which purpose. ``content_name`` and ``signature_name`` name both in errors, ``tool`` is what signs it."""

    namespace: str = NAMESPACE
    content_name: str = "the manifest"
    signature_name: str = SIGNATURE_FILE
    tool: str = "tools.sign_bundle"


BUNDLE: Final = SignedContent()


def check_signature(content: bytes, signature: bytes, trusted: TrustedKeys, what: SignedContent = BUNDLE) -> Signer:
    """Return the signer of ``content``.

    Raises ``RevokedKeyError`` for a key that is revoked, ``SignatureError``, or ``SettingsError`` if a file of ``trusted`` is missing.
    """
    for path in (trusted.allowed, *trusted.revoked):
        if not path.is_file():
            raise SettingsError(f"{path}: no such file, so no signature can be checked; list the technicians' public keys there")
    if not signature.lstrip().startswith(_ARMOR):
        raise SignatureError(f"{what.signature_name}: not an SSH signature; sign with {what.tool}")
    with tempfile.TemporaryDirectory(prefix="cardedge-") as folder:
        file = Path(folder) / SIGNATURE_FILE
        file.write_bytes(signature)
        _refuse_revoked(content, file, trusted, what)
        found = _keygen("-Y", "find-principals", "-s", str(file), "-f", str(trusted.allowed))
        principals = found.stdout.decode(errors="replace").splitlines()
        if found.returncode or not principals:
            raise SignatureError(
                f"{what.signature_name}: signed by a key that {trusted} does not name{_output(found)}; "
                "sign with another key, or add this one on the device"
            )
        for principal in principals:
            checked = _verify(content, file, principal, trusted.allowed, what)
            if checked.returncode == 0:
                signer = Signer(principal, _fingerprint(checked.stdout))
                # once more for certificates, which the first check does not cover
                _refuse_if_listed(signer, content, file, trusted.allowed, trusted, what)
                return signer
    raise SignatureError(
        f"{what.signature_name}: does not match {what.content_name}, or was not made for {what.namespace}{_output(checked)}; sign it again"
    )


def _refuse_revoked(content: bytes, signature_file: Path, trusted: TrustedKeys, what: SignedContent) -> None:
    """Raise ``RevokedKeyError`` if the key in the signature is revoked, whether or not the list of allowed signers still names it."""
    key = _key_of(signature_file.read_bytes())
    if key is None or not trusted.revoked:
        return
    own = signature_file.with_name("own_key")
    own.write_text(f"{_OWNER} {key}\n")
    checked = _verify(content, signature_file, _OWNER, own, what)
    if checked.returncode == 0:
        _refuse_if_listed(Signer(_OWNER, _fingerprint(checked.stdout)), content, signature_file, own, trusted, what)


def _refuse_if_listed(signer: Signer, content: bytes, file: Path, allowed: Path, trusted: TrustedKeys, what: SignedContent) -> None:
    """Verify a valid signature again with each revocation list: ssh-keygen gives the same message for a revoked key and a wrong one."""
    for path in trusted.revoked:
        if _verify(content, file, signer.principal, allowed, what, "-r", str(path)).returncode:
            raise RevokedKeyError(
                f"{what.signature_name}: the key {signer.fingerprint} is revoked by {trusted.name or path}; sign with another key"
            )


def _verify(
    content: bytes, signature_file: Path, principal: str, allowed: Path, what: SignedContent, *options: str
) -> subprocess.CompletedProcess[bytes]:
    return _keygen(
        "-Y", "verify", "-n", what.namespace, "-I", principal, "-s", str(signature_file), "-f", str(allowed), *options, data=content
    )


def _key_of(signature: bytes) -> str | None:
    """Return the public key that an armored signature contains, None if it has another form.

    The format is that of PROTOCOL.sshsig of OpenSSH: ``SSHSIG``, a version of 4 bytes, and the key as a string with its length before it.
    """
    try:
        blob = base64.b64decode(b"".join(line for line in signature.split(b"\n") if line and not line.startswith(b"-----")))
        key = _string(blob[len(_MAGIC) + 4 :])
        return f"{_string(key).decode('ascii')} {base64.b64encode(key).decode()}" if blob.startswith(_MAGIC) else None
    except (ValueError, struct.error):
        return None


def _string(data: bytes) -> bytes:
    (length,) = struct.unpack_from(">I", data)
    return data[4 : 4 + length]


def _fingerprint(stdout: bytes) -> str:
    """Return the key's fingerprint from ``Good "…" signature for … with ED25519 key SHA256:…``."""
    found = re.search(rb"key (SHA256:\S+)", stdout)
    return found[1].decode() if found else "unknown key"


def is_revocation_list(path: Path) -> bool:
    """Return whether a file is a key revocation list (KRL) that ssh-keygen can read. Raises ``DeviceError`` without ssh-keygen."""
    return _keygen("-Q", "-l", "-f", str(path)).returncode == 0


def _keygen(*options: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(  # noqa: S603 - no shell, and no untrusted option: files and principals follow their flags
            ["ssh-keygen", *options],  # noqa: S607 - its location depends on the system
            input=data,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise DeviceError("ssh-keygen is not installed, so no signature can be checked; install the package openssh-client") from None
    except subprocess.TimeoutExpired:
        raise DeviceError(f"ssh-keygen {' '.join(options[:2])} did not answer within {_TIMEOUT_S:.0f} s; try again") from None


def _output(ended: subprocess.CompletedProcess[bytes]) -> str:
    """Return the first line of the output of ssh-keygen in parentheses, empty without output."""
    lines = [line.strip() for line in (ended.stderr + b"\n" + ended.stdout).decode(errors="replace").splitlines() if line.strip()]
    return f" ({lines[0]})" if lines else ""
