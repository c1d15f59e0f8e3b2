"""Whether somebody is counting cards at the counter, so that an update waits: a new bundle may name the next card differently.

A session is open while a list changes, and for some minutes after. The lists are files of the page (``edge.lists``), so a push that runs
in a process of its own sees them too.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import AwareDatetime, ValidationError

from edge.bundles.manifest import BundleId
from edge.errors import CounterBusyError
from edge.index.trial import remove_record, utc_now
from edge.schema import Schema
from edge.system.files import write_atomically
from edge.system.journal import read_journal

if TYPE_CHECKING:
    from edge.settings.sections import PushSection

WAITING_FILE: Final = "waiting.json"
LISTS: Final = "lists/*.journal"


class Waiting(Schema):
    """A bundle that is complete on this device and waits for the counter since ``since``; at ``until`` it waits no longer."""

    bundle_id: BundleId
    since: AwareDatetime
    until: AwareDatetime


def read_waiting(root: Path) -> Waiting | None:
    """Return the bundle that waits, None if there is none."""
    try:
        return Waiting.model_validate_json((root / WAITING_FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def is_open(review_dir: Path, rules: PushSection, now: datetime) -> bool:
    """Return whether a session is open: a list with cards changed less than ``push.counter_quiet_s`` ago."""
    quiet = timedelta(seconds=rules.counter_quiet_s)
    changed = (path for path in review_dir.glob(LISTS) if abs(now - datetime.fromtimestamp(path.stat().st_mtime, UTC)) < quiet)
    return any(_has_cards(path) for path in changed)


def _has_cards(list_file: Path) -> bool:
    """Return whether a list has ever had a line; the empty one that a daemon begins when it starts has none."""
    try:
        return any(record.get("put") for record in read_journal(list_file).records)
    except OSError:
        return False


def wait_for_counter(root: Path, bundle_id: str, review_dir: Path, rules: PushSection) -> None:
    """Raise ``CounterBusyError`` if a session is open and ``bundle_id`` has not waited ``push.counter_wait_s`` yet.

    Otherwise the record that it waits is removed.
    """
    now, before = utc_now(), read_waiting(root)
    if before is None or before.bundle_id != bundle_id or before.since > now:
        before = Waiting(bundle_id=bundle_id, since=now, until=now + timedelta(seconds=rules.counter_wait_s))
    if now >= before.until or not is_open(review_dir, rules, now):
        remove_record(root / WAITING_FILE)
        return
    write_atomically(root / WAITING_FILE, before.model_dump_json())
    raise CounterBusyError(
        f"cards are being counted, so bundle {bundle_id} waits until the list has not changed for {rules.counter_quiet_s:g} s, "
        f"at the latest until {before.until:%H:%M} UTC; it is complete on the device, push it again then"
    )
