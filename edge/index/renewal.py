"""Renewing an installed release: the same files, signed again with another key, a larger counter or a later date of expiry."""

from __future__ import annotations

from pathlib import Path

from edge.bundles.manifest import MANIFEST_FILE, parse_manifest, read_manifest
from edge.bundles.signature import SIGNATURE_FILE
from edge.errors import BundleError
from edge.index import releases
from edge.index.stamps import stamp_holds, take_stamp, write_stamp
from edge.system.files import write_atomically


def renew(root: Path, bundle_id: str, manifest: bytes, signature: bytes) -> bool:
    """Replace manifest and signature of an installed release by accepted ones of the same bundle; return whether they changed.

    An unsigned manifest or one with a smaller counter changes nothing. If the power fails between the two files, the signature does not fit
    the manifest until the bundle is pushed again. Raises ``BundleError``.
    """
    folder = root / releases.RELEASES / bundle_id
    with releases.locked(root, wait_s=releases.LOCK_WAIT_S):
        try:
            if not signature or (manifest, signature) == (_content(folder / MANIFEST_FILE), _content(folder / SIGNATURE_FILE)):
                return False
            if (parse_manifest(manifest, MANIFEST_FILE).counter or 0) < (read_manifest(folder).counter or 0):
                return False
            was_verified = stamp_holds(folder)
            write_atomically(folder / SIGNATURE_FILE, signature)
            write_atomically(folder / MANIFEST_FILE, manifest)
            if was_verified:
                write_stamp(folder, take_stamp(folder))
        except OSError as error:
            raise BundleError(f"{folder}: cannot be signed again ({error.strerror or error}); free space on the device") from error
    return True


def _content(path: Path) -> bytes | None:
    """Return the content of a file, None if there is none."""
    return path.read_bytes() if path.exists() else None
