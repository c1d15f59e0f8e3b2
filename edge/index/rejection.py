"""Rejecting the active release because it recognizes badly, although it may have completed its trial."""

from pathlib import Path

from edge.errors import BundleError
from edge.index import releases
from edge.index.proven import remove_proven
from edge.index.trial import TRIAL_FILE, Reverted, Trial, utc_now, write_record


def reject(root: Path, bundle_id: str, reason: str) -> Reverted:
    """Revert the active release; the previous one becomes active without a trial, because it has completed one. Raises ``BundleError``.

    The record of the revert names the rejected release, so that it is not offered to this device again.
    """
    with releases.locked(root, wait_s=releases.LOCK_WAIT_S):
        active, before = releases.current_id(root), releases.previous_id(root)
        if active != bundle_id:
            raise BundleError(f"{bundle_id} cannot be rejected: {active} is active; see `cardedge index status`")
        if releases.trial(root) is None:
            if before is None or before == active:
                raise BundleError(f"{bundle_id} cannot be rejected: there is no release to return to; push another bundle")
            write_record(root / TRIAL_FILE, Trial(bundle_id=bundle_id, previous_id=before, former_id=None, since=utc_now()))
        remove_proven(root, bundle_id)
    return releases.revert(root, reason)
