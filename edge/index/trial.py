"""Records of the trial of a release and of the last revert: two small files in the index folder.

``trial.json`` is written before the link ``current`` is replaced, so that a daemon that starts after a power cut knows that the release is
on trial. A trial that does not name the active release is void: the link was never replaced, or was replaced again.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from pydantic import AwareDatetime, Field, NonNegativeInt, PositiveFloat, ValidationError

from edge.bundles.manifest import BundleId
from edge.schema import Schema
from edge.system.files import sync, write_atomically

TRIAL_FILE: Final = "trial.json"
REVERTED_FILE: Final = "reverted.json"

_Record = TypeVar("_Record", bound=Schema)


class Trial(Schema):
    """The trial of the active release.

    ``previous_id`` is the last healthy release, ``former_id`` the one before it. ``attempts`` counts the daemons that began to open the
    release and have neither completed the trial nor shut down cleanly. ``confirm_within_s`` is None if no confirmation is required (any
    more). ``opening`` is true until the daemon that made the attempt has opened the release; the key is written only while it is true,
    because version 0.1.0 rejects a record with a key that it does not know.
    """

    bundle_id: BundleId
    previous_id: BundleId
    former_id: BundleId | None
    since: AwareDatetime
    confirm_within_s: PositiveFloat | None = None
    attempts: NonNegativeInt = Field(default=0, alias="tries")
    healthy: bool = Field(default=False, alias="stood", description="A daemon has used it for the time of a trial without failing.")
    opening: bool = False

    @property
    def deadline(self) -> datetime | None:
        """When the release is reverted unless it is confirmed; None if no confirmation is required."""
        return None if self.confirm_within_s is None else self.since + timedelta(seconds=self.confirm_within_s)

    @property
    def loaded(self) -> bool:
        """Whether a daemon has loaded it."""
        return (self.attempts > 0 and not self.opening) or self.healthy

    def overdue(self, now: datetime) -> bool:
        """Return whether the time to confirm the release is over."""
        return self.deadline is not None and now >= self.deadline


class Reverted(Schema):
    """A release that was reverted automatically to ``back_to_id``, and why."""

    bundle_id: BundleId
    back_to_id: BundleId
    reason: str
    at: AwareDatetime


def read_trial(root: Path) -> Trial | None:
    """Return the recorded trial, None if there is none or its file cannot be read."""
    return _read(root / TRIAL_FILE, Trial.model_validate_json)


def read_reverted(root: Path) -> Reverted | None:
    """Return the last revert, None if there was none or another release has become healthy since."""
    return _read(root / REVERTED_FILE, Reverted.model_validate_json)


def remove_record(path: Path) -> None:
    """Remove a record if there is one, durably."""
    if path.exists():
        path.unlink()
        sync(path.parent)


def write_record(path: Path, record: Schema) -> None:
    """Replace a file by a record in one step, durably."""
    unset = {"opening"} if isinstance(record, Trial) and not record.opening else set()
    write_atomically(path, record.model_dump_json(by_alias=True, exclude=unset))


def utc_now() -> datetime:
    """Return the wall-clock time in UTC."""
    return datetime.now(UTC)


def _read(path: Path, parse: Callable[[bytes], _Record]) -> _Record | None:
    try:
        return parse(path.read_bytes())
    except (OSError, ValidationError):
        return None
