"""The bundle to be pushed, and its signature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from edge.bundles.bundle import open_bundle
from edge.bundles.manifest import MANIFEST_FILE, Manifest, parse_manifest
from edge.bundles.signature import NAMESPACE, SIGNATURE_FILE
from edge.errors import BundleError, SignatureError
from edge.receiving.messages import SIGNATURE_MAX_BYTES
from edge.system.files import write_atomically
from tools.push.signing import sign

FORMER_SIGNATURE_FILE: Final = "manifest-2.json.sig"
"""Signature of the manifest without counter and expiry."""


@dataclass(frozen=True, slots=True, eq=False)
class LocalBundle:
    """A bundle on this machine; ``signature`` is empty if it is unsigned, ``former_signature`` that of the manifest for version 0.1.0."""

    folder: Path
    manifest: Manifest
    manifest_bytes: bytes
    signature: bytes
    former_signature: bytes = b""

    def for_former_version(self) -> LocalBundle | None:
        """Return the same bundle as a device of version 0.1.0 can read it, None if there is nothing else to offer."""
        former = self.manifest.without_distribution()
        if former == self.manifest or former.format_version > 2 or (self.signature and not self.former_signature):
            return None
        return replace(self, manifest=former, manifest_bytes=former.to_json().encode(), signature=self.former_signature)

    @property
    def size_bytes(self) -> int:
        """Total size of the data files."""
        return sum(file.size_bytes for file in self.manifest.files.values())


def read_bundle(folder: Path, *, check: bool = True) -> LocalBundle:
    """Return the bundle in ``folder``; with ``check``, after verifying all hashes. Raises ``BundleError``."""
    try:
        manifest_bytes = (folder / MANIFEST_FILE).read_bytes()
        signature, former_signature = (_read_if_any(folder / name) for name in (SIGNATURE_FILE, FORMER_SIGNATURE_FILE))
    except OSError as error:
        raise BundleError(f"{folder}: no readable {MANIFEST_FILE} ({error.strerror}); give a bundle's directory") from error
    if max(len(signature), len(former_signature)) > SIGNATURE_MAX_BYTES:
        raise SignatureError(f"{folder / SIGNATURE_FILE}: too large for a signature; sign the bundle again with tools/sign_bundle.py")
    manifest = parse_manifest(manifest_bytes, str(folder / MANIFEST_FILE))
    if check:
        open_bundle(folder)
    return LocalBundle(folder, manifest, manifest_bytes, signature, former_signature)


def _read_if_any(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def sign_bundle(folder: Path, key: Path, *, counter: int | None = None, expires: datetime | None = None) -> Path:
    """Publish a bundle: write ``counter`` and ``expires`` into its manifest, unless None, and sign it; return the signature file.

    ``key`` is the file of a private key, or of a public key whose private key is held by the agent or a security key. The manifest without
    counter and expiry is signed too, for devices of version 0.1.0. Raises ``SignatureError``, and leaves no signature then.
    """
    manifest = read_bundle(folder).manifest
    changes = {name: value for name, value in (("counter", counter), ("expires", expires)) if value is not None}
    published = manifest.model_copy(update=changes).sealed() if changes else manifest
    content = published.to_json().encode() if changes else (folder / MANIFEST_FILE).read_bytes()
    signature = sign(content, key, NAMESPACE)
    former = published.without_distribution()
    former_signature = sign(former.to_json().encode(), key, NAMESPACE) if former != published and former.format_version < 3 else None
    (folder / SIGNATURE_FILE).unlink(missing_ok=True)  # a signature never belongs to another manifest, also after a power cut
    (folder / FORMER_SIGNATURE_FILE).unlink(missing_ok=True)
    if changes:
        write_atomically(folder / MANIFEST_FILE, content)
    if former_signature is not None:
        write_atomically(folder / FORMER_SIGNATURE_FILE, former_signature)
    write_atomically(folder / SIGNATURE_FILE, signature)
    return folder / SIGNATURE_FILE
