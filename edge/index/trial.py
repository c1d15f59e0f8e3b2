"""A release on trial: what is tried, what to go back to, and what was reverted and why. Two small files in the index root.

``trial.json`` is written before the link ``current`` moves, so that whoever starts after a power cut knows that the release has not
proven itself. A trial that does not name the current release is void: the link was never moved, or moved back.
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
    """A release that has become current and has not proven itself.

    ``previous_id`` is the last proven release, ``former_id`` the one before that. ``tries`` counts how often a daemon began to serve it and
    has neither stood the trial's time nor stopped in good order. ``confirm_within_s`` is None when nobody has to confirm (any more).
    """

    bundle_id: BundleId
    previous_id: BundleId
    former_id: BundleId | None
    since: AwareDatetime
    confirm_within_s: PositiveFloat | None = None
    attempts: NonNegativeInt = Field(default=0, alias="tries")
    healthy: bool = Field(default=False, alias="stood", description="A daemon has used it for the time of a trial without failing.")

    @property
    def deadline(self) -> datetime | None:
        """When the release is reverted unless it was confirmed; None when nobody has to confirm."""
        return None if self.confirm_within_s is None else self.since + timedelta(seconds=self.confirm_within_s)

    @property
    def loaded(self) -> bool:
        """Whether a daemon has begun to serve it."""
        return self.attempts > 0 or self.healthy

    def overdue(self, now: datetime) -> bool:
        """Say whether the time to confirm is over."""
        return self.deadline is not None and now >= self.deadline


class Reverted(Schema):
    """A release that was left again by itself, and why."""

    bundle_id: BundleId
    back_to_id: BundleId
    reason: str
    at: AwareDatetime


def read_trial(root: Path) -> Trial | None:
    """Return the trial under way; None when there is none. A file that cannot be read is no trial: it was never completed."""
    return _read(root / TRIAL_FILE, Trial.model_validate_json)


def read_reverted(root: Path) -> Reverted | None:
    """Return what was reverted last; None when nothing was, or another release has proven itself since."""
    return _read(root / REVERTED_FILE, Reverted.model_validate_json)


def write_trial(root: Path, trial: Trial) -> None:
    """Replace the trial at once and on the disk."""
    write_record(root / TRIAL_FILE, trial)


def write_reverted(root: Path, reverted: Reverted) -> None:
    """Replace what was reverted last."""
    write_record(root / REVERTED_FILE, reverted)


def remove_record(path: Path) -> None:
    """Remove a record, if there is one."""
    if path.exists():
        path.unlink()
        sync(path.parent)


def write_record(path: Path, record: Schema) -> None:
    """Replace a file by a record: a reader sees the old or the new one, whole."""
    write_atomically(path, record.model_dump_json(by_alias=True))


def utc_now() -> datetime:
    """Return the wall-clock time."""
    return datetime.now(UTC)


def _read(path: Path, parse: Callable[[bytes], _Record]) -> _Record | None:
    try:
        return parse(path.read_bytes())
    except (OSError, ValidationError):
        return None
