"""The state of a device's releases, as a push client receives it and as text."""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING, Final

from edge.bundles.manifest import read_manifest
from edge.errors import BundleError
from edge.index import releases
from edge.index.audit import last_line
from edge.index.trial import read_reverted, utc_now
from edge.receiving.messages import ReleaseInfo, Status, TrialInfo

if TYPE_CHECKING:
    from pathlib import Path

    from edge.bundles.manifest import Manifest
    from edge.index.trial import Trial

_log = logging.getLogger(__name__)

MAX_REASON: Final = 2000
"""Characters of a reason that are sent; the rest is cut off. The protocol allows twice as many."""


def read_status(root: Path) -> Status:
    """Return the active and previous release, the trial, the last revert, the free space and the newest audit line.

    Raises ``BundleError`` if ``root`` is not an index folder.
    """
    on_trial, reverted, line = releases.trial(root), read_reverted(root), last_line(root)
    installed = {release.bundle_id: release_facts(release) for release in releases.list_releases(root)}
    return Status(
        current=next((release for release in installed.values() if release.current), None),
        previous=next((release for release in installed.values() if release.previous), None),
        trial=_trial_info(on_trial) if on_trial else None,
        reverted=f"{reverted.bundle_id}, {reverted.at:%Y-%m-%d %H:%M} UTC: {reverted.reason}"[:MAX_REASON] if reverted else None,
        free_bytes=free_bytes(root),
        last=line.to_json_dict() if line else None,
    )


def describe_status(status: Status) -> str:
    """Return a status as lines of text."""
    lines = {
        "current": f"{status.current.bundle_id}  {status.current.name or status.current.problem}" if status.current else "none",
        "previous": f"{status.previous.bundle_id}  {status.previous.name or status.previous.problem}" if status.previous else "none",
        "free": f"{status.free_bytes / 1e6:.0f} MB",
    }
    if trial := status.trial:
        serving = "in use for a minute" if trial.stood else "in use by the daemon" if trial.serving else "not yet loaded by a daemon"
        until = f", to be confirmed before {trial.deadline:%H:%M:%S} UTC" if trial.deadline else ""
        lines["on trial"] = f"{trial.bundle_id}: {serving}{until}; the rollback target is {trial.before}"
    if status.reverted:
        lines["reverted"] = status.reverted
    if status.last:
        lines["last"] = ", ".join(f"{what} {text}" for what, text in status.last.items())
    return "\n".join(f"{what:<10}{text}" for what, text in lines.items())


def revert_if_overdue(root: Path) -> None:
    """Revert a release that was not confirmed in time, if no running daemon has done so.

    Call this before the state of the releases is read or changed. A failure is logged.
    """
    on_trial = releases.awaiting_confirmation(root)
    if on_trial is not None and on_trial.overdue(utc_now()):
        try:
            releases.revert(root, "not confirmed in time")
        except BundleError as error:
            _log.warning("%s", error)  # reverted by the daemon in the meantime


def active_manifest(root: Path) -> Manifest | None:
    """Return the manifest of the active release, None if there is none or it cannot be read."""
    active = releases.current_id(root)
    try:
        return read_manifest(root / releases.RELEASES / active) if active else None
    except BundleError:
        return None


def release_facts(release: releases.Release) -> ReleaseInfo:
    """Return an installed release as sent to a client."""
    if release.manifest is None:
        return ReleaseInfo(
            bundle_id=release.bundle_id, problem=(release.problem or "")[:MAX_REASON], current=release.current, previous=release.previous
        )
    return manifest_facts(release.manifest).model_copy(update={"current": release.current, "previous": release.previous})


def manifest_facts(manifest: Manifest) -> ReleaseInfo:
    """Return what a client is sent about a bundle, neither active nor previous."""
    return ReleaseInfo(bundle_id=manifest.bundle_id, name=manifest.name, created=manifest.created, cards=manifest.cards)


def free_bytes(root: Path) -> int:
    """Return the free space of the file system that holds ``root``."""
    return shutil.disk_usage(root).free


def _trial_info(trial: Trial) -> TrialInfo:
    return TrialInfo(
        bundle_id=trial.bundle_id, before=trial.previous_id, deadline=trial.deadline, serving=trial.loaded, stood=trial.healthy
    )
