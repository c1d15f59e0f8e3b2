"""Whether the active release is still as good as it was when it was pushed: not expired, and its signer not revoked since.

Neither stops the scanner. Both are reported, so that a newer bundle is pushed.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from edge.bundles.manifest import MANIFEST_FILE, read_manifest
from edge.bundles.signers import SIGNERS_FILE
from edge.errors import BundleError
from edge.index import releases
from edge.index.signers import revoked_signer

if TYPE_CHECKING:
    from edge.settings.sections import PushSection

FilesState: TypeAlias = tuple[tuple[int, int] | None, tuple[int, int] | None]


class Standing:
    """The standing of the active release. ``update`` runs ssh-keygen, so it is not called by the daemon's loop; the rest is quick."""

    def __init__(self) -> None:
        self._files_state: FilesState = (None, None)
        self._expires: datetime | None = None
        self._revoked: str | None = None

    def is_outdated(self, root: Path) -> bool:
        """Return whether the list of signers or the manifest of the active release was replaced since the last ``update``."""
        return _files_state(root) != self._files_state

    def update(self, root: Path, rules: PushSection) -> None:
        """Look up the standing of the active release again."""
        self._files_state = _files_state(root)
        self._expires = self._revoked = None
        try:
            active_id = releases.current_id(root)
            if active_id is None:
                return
            self._expires = read_manifest(root / releases.RELEASES / active_id).expires
            self._revoked = revoked_signer(root, active_id, rules)
        except BundleError:
            return  # reported by the code that opens the release

    def warning(self, now: datetime) -> str | None:
        """Return what is wrong and what to do, None if nothing is."""
        if self._revoked is not None:
            return f"{self._revoked} and push it again, or push another bundle; until then it stays in use"
        if self._expires is not None and now >= self._expires:
            return f"the bundle expired at {self._expires:%Y-%m-%d %H:%M} UTC; it stays in use until a newer one is pushed"
        return None


def _files_state(root: Path) -> FilesState:
    """Return what changes when another process replaces the list of signers or the manifest of the active release."""

    def state(path: Path) -> tuple[int, int] | None:
        try:
            status = path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size

    return state(root / SIGNERS_FILE), state(root / releases.CURRENT / MANIFEST_FILE)
