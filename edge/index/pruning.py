"""Removing releases that a device no longer needs."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from edge.errors import BundleError
from edge.index import releases
from edge.system.files import sync

if TYPE_CHECKING:
    from pathlib import Path


def prune(root: Path, keep: int) -> tuple[str, ...]:
    """Remove old releases and partial files; keep the newest ``keep`` releases, the active one and its rollback targets.

    Returns the ids of the removed releases. Raises ``BundleError``.
    """
    with releases.locked(root, wait_s=releases.LOCK_WAIT_S):
        installed = releases.list_releases(root)
        needed = {release.bundle_id for release in installed[:keep]} | {releases.current_id(root), releases.previous_id(root)}
        if trial := releases.trial(root):
            needed |= {trial.previous_id, trial.former_id}
        removed = tuple(release.bundle_id for release in installed if release.bundle_id not in needed)
        folder = root / releases.RELEASES
        try:
            for bundle_id in removed:
                # renamed first: a half-removed release must not be listed as installed
                removing = folder / f".{bundle_id}.removing.partial"
                (folder / bundle_id).replace(removing)
                (folder / f"{bundle_id}.verified").unlink(missing_ok=True)
            for leftover in folder.glob(".*.partial"):
                shutil.rmtree(leftover)
            if folder.is_dir():
                sync(folder)
        except OSError as error:
            raise BundleError(f"{error.filename or folder}: cannot be removed ({error.strerror}); run this as its owner") from error
    return removed
