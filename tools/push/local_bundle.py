"""The bundle to be pushed, and its signature."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.bundles.bundle import open_bundle
from edge.bundles.manifest import MANIFEST_FILE, Manifest, parse_manifest
from edge.bundles.signature import NAMESPACE, SIGNATURE_FILE
from edge.errors import BundleError, SignatureError, UsageError
from edge.receiving.messages import SIGNATURE_MAX_BYTES
from edge.system.files import write_atomically

_SIGNING_TIMEOUT_S: Final = 300.0
"""A hardware key waits for a touch, a locked one for its passphrase."""


@dataclass(frozen=True, slots=True, eq=False)
class LocalBundle:
    """A bundle on this machine; ``signature`` is empty if it is unsigned."""

    folder: Path
    manifest: Manifest
    manifest_bytes: bytes
    signature: bytes

    @property
    def size_bytes(self) -> int:
        """Total size of the data files."""
        return sum(file.size_bytes for file in self.manifest.files.values())


def read_bundle(folder: Path, *, check: bool = True) -> LocalBundle:
    """Return the bundle in ``folder``; with ``check``, after verifying all hashes. Raises ``BundleError``."""
    try:
        manifest_bytes = (folder / MANIFEST_FILE).read_bytes()
        signature = (folder / SIGNATURE_FILE).read_bytes() if (folder / SIGNATURE_FILE).exists() else b""
    except OSError as error:
        raise BundleError(f"{folder}: no readable {MANIFEST_FILE} ({error.strerror}); give a bundle's directory") from error
    if len(signature) > SIGNATURE_MAX_BYTES:
        raise SignatureError(f"{folder / SIGNATURE_FILE}: too large for a signature; sign the bundle again with tools/sign_bundle.py")
    manifest = parse_manifest(manifest_bytes, str(folder / MANIFEST_FILE))
    if check:
        open_bundle(folder)
    return LocalBundle(folder, manifest, manifest_bytes, signature)


def sign_bundle(folder: Path, key: Path) -> Path:
    """Sign the manifest with an SSH key, directly or through an agent; return the signature file. Raises ``SignatureError``.

    ``key`` is the file of a private key, or of a public key whose private key is held by the agent or a security key.
    """
    manifest = read_bundle(folder).manifest_bytes
    if not key.is_file():
        raise UsageError(f"{key}: file not found; give a key's file (the public key if an agent or security key holds the private one)")
    try:
        # ssh-keygen prompts for passphrases and touches on the terminal
        signed = subprocess.run(
            ["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", NAMESPACE],
            input=manifest,
            capture_output=True,
            timeout=_SIGNING_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise UsageError("ssh-keygen is not installed; install the package openssh-client") from None
    except subprocess.TimeoutExpired:
        raise SignatureError(f"{key}: the key was not unlocked or touched within {_SIGNING_TIMEOUT_S:.0f} s; try again") from None
    if signed.returncode or not signed.stdout:
        reason = (signed.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
        raise SignatureError(f"{folder}: ssh-keygen did not sign with {key} ({reason}); is the key in the agent, or locked?")
    write_atomically(folder / SIGNATURE_FILE, signed.stdout)
    return folder / SIGNATURE_FILE
