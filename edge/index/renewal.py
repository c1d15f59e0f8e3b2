"""Renewing an installed release: the same files, signed again with another key, a larger counter or a later date of expiry.

Manifest and signature are two files. Both are first written to ``renewal.json`` in the index folder, so that a renewal that was cut off
between them is completed by the next start of the daemon or the next push, and the signature of a release always fits its manifest.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from pydantic import ConfigDict, ValidationError

from edge.bundles.manifest import MANIFEST_FILE, BundleId, parse_manifest, read_manifest
from edge.bundles.signature import SIGNATURE_FILE
from edge.errors import BundleError
from edge.index import releases
from edge.index.stamps import stamp_holds, take_stamp, write_stamp
from edge.index.trial import remove_record, write_record
from edge.schema import Schema
from edge.system.files import write_atomically

_log = logging.getLogger(__name__)

RENEWAL_FILE: Final = "renewal.json"


class _Renewal(Schema):
    """A renewal under way: the new files of a release, in base64."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    bundle_id: BundleId
    manifest: bytes
    signature: bytes


def renew(root: Path, bundle_id: str, manifest: bytes, signature: bytes) -> bool:
    """Replace manifest and signature of an installed release by accepted ones of the same bundle; return whether they changed.

    An unsigned manifest or one with a smaller counter changes nothing. Raises ``BundleError``.
    """
    folder = root / releases.RELEASES / bundle_id
    with releases.locked(root, wait_s=releases.LOCK_WAIT_S):
        try:
            if not signature or (manifest, signature) == (_content(folder / MANIFEST_FILE), _content(folder / SIGNATURE_FILE)):
                return False
            if (parse_manifest(manifest, MANIFEST_FILE).counter or 0) < (read_manifest(folder).counter or 0):
                return False
            write_record(root / RENEWAL_FILE, _Renewal(bundle_id=bundle_id, manifest=manifest, signature=signature))
            _complete(root)
        except OSError as error:
            raise BundleError(f"{folder}: cannot be signed again ({error.strerror or error}); free space on the device") from error
    return True


def complete_renewal(root: Path) -> None:
    """Complete a renewal that was cut off. A failure is logged: the release is usable all the same, and the next call tries again."""
    if not (root / RENEWAL_FILE).exists():
        return
    try:
        with releases.locked(root, wait_s=releases.LOCK_WAIT_S):
            _complete(root)
    except (BundleError, OSError) as error:
        _log.warning("the signature of a release could not be renewed completely: %s", error)


def _complete(root: Path) -> None:
    """Write the files of the recorded renewal, then remove the record. May be called again after being killed at any step."""
    recorded = _read(root / RENEWAL_FILE)
    if recorded is not None and (folder := root / releases.RELEASES / recorded.bundle_id).is_dir():
        was_verified = stamp_holds(folder)
        write_atomically(folder / SIGNATURE_FILE, recorded.signature)
        write_atomically(folder / MANIFEST_FILE, recorded.manifest)
        if was_verified:
            write_stamp(folder, take_stamp(folder))
    remove_record(root / RENEWAL_FILE)


def _read(path: Path) -> _Renewal | None:
    """Return a recorded renewal, None if another process has completed it, or if the record has decayed."""
    try:
        return _Renewal.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _content(path: Path) -> bytes | None:
    """Return the content of a file, None if there is none."""
    return path.read_bytes() if path.exists() else None
