"""The report of a device by which a fleet is managed."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge.errors import BundleError
from edge.index.activity import Activity, read_activity
from edge.index.counter_session import is_open, read_waiting
from edge.index.renames import count_renames
from edge.index.signers import read_signers
from edge.index.trial import read_reverted, utc_now
from edge.receiving.messages import DeviceReport, SignersInfo
from edge.receiving.status import MAX_REASON, active_manifest, read_status

if TYPE_CHECKING:
    from edge.settings.sections import PushSection

_SILENT_AFTER: Final = timedelta(seconds=90)
"""The daemon writes every 30 s; three times are missed by a daemon that has ended, not by a slow memory card."""


def read_report(root: Path, rules: PushSection, review_dir: Path | None, *, compare: bool) -> DeviceReport:
    """Return the report; ``compare`` reads the active and the previous release, which takes seconds. Raises ``BundleError``."""
    now, activity, reverted = utc_now(), read_activity(root), read_reverted(root)
    active = active_manifest(root)
    return DeviceReport(
        status=read_status(root),
        signers=_signers_info(root),
        counter=active.counter if active else None,
        expires=active.expires if active else None,
        reverted_id=reverted.bundle_id if reverted else None,
        waiting=read_waiting(root),
        counter_session=review_dir is not None and is_open(review_dir, rules, now),
        activity=activity,
        daemon_runs=activity is not None and _is_recent(activity, now),
        renames=count_renames(root) if compare else None,
    )


def _is_recent(activity: Activity, now: datetime) -> bool:
    return activity.health.get("state") != "stopping" and abs(now - activity.at) < _SILENT_AFTER


def _signers_info(root: Path) -> SignersInfo:
    try:
        installed = read_signers(root)
    except BundleError as error:
        return SignersInfo(version=None, problem=str(error)[:MAX_REASON])
    return SignersInfo(version=installed.version if installed else None)
