"""Which bundles have completed a trial on this device, and the largest counter among them: ``proven.json`` in the index folder.

With it the device itself decides about downgrades. A person who holds an old, correctly signed bundle cannot push it to a device that has
never used it.
"""

from pathlib import Path
from typing import Final, Literal, TypeAlias

from pydantic import PositiveInt, ValidationError

from edge.bundles.manifest import BundleId, Manifest, read_manifest
from edge.errors import BundleError
from edge.schema import Schema
from edge.system.files import write_atomically

PROVEN_FILE: Final = "proven.json"
MAX_PROVEN: Final = 100
"""Ids that are kept, the newest ones: a weekly bundle for two years."""

DowngradeRule: TypeAlias = Literal["never", "proven", "always"]


class Proven(Schema):
    """The ids of bundles that have completed a trial, the latest last, and the largest counter of all of them."""

    bundle_ids: tuple[BundleId, ...] = ()
    counter: PositiveInt | None = None


def read_proven(root: Path) -> Proven:
    """Return the record; an empty one if there is none or it cannot be read."""
    try:
        return Proven.model_validate_json((root / PROVEN_FILE).read_bytes())
    except (OSError, ValidationError):
        return Proven()


def add_proven(root: Path, release: Path) -> None:
    """Record that the bundle in a folder has completed its trial, durably; one that cannot be read is left out. Raises ``OSError``."""
    try:
        manifest = read_manifest(release)
    except BundleError:
        return
    before = read_proven(root)
    others = tuple(bundle_id for bundle_id in before.bundle_ids if bundle_id != manifest.bundle_id)
    counter = max(before.counter or 0, manifest.counter or 0) or None
    now = Proven(bundle_ids=(*others, manifest.bundle_id)[-MAX_PROVEN:], counter=counter)
    if now != before:
        write_atomically(root / PROVEN_FILE, now.model_dump_json())


def remove_proven(root: Path, bundle_id: str) -> None:
    """Forget that a bundle has completed its trial; its counter still counts. Raises ``OSError``."""
    before = read_proven(root)
    if bundle_id in before.bundle_ids:
        others = tuple(other for other in before.bundle_ids if other != bundle_id)
        write_atomically(root / PROVEN_FILE, before.model_copy(update={"bundle_ids": others}).model_dump_json())


def check_downgrade(root: Path, offered: Manifest, active: Manifest | None, rule: DowngradeRule) -> None:
    """Raise ``BundleError`` if ``offered`` is older than the newest bundle of this device and ``rule`` does not permit that.

    Counters decide, and dates only between bundles without counters: a bundle that was built by a clock in the future blocks nothing once
    bundles are counted. A bundle without a counter is older than any with one.
    """
    proven = read_proven(root)
    newest = max(proven.counter or 0, (active.counter or 0) if active else 0)
    if active is None or rule == "always" or offered.bundle_id == active.bundle_id:
        return
    if newest and (offered.counter or 0) < newest:
        its = f"counter {offered.counter}" if offered.counter else "no counter"
        older = f"{offered.bundle_id} has {its}, this device has seen {newest}"
    elif not newest and offered.counter is None and offered.created < active.created:
        older = (
            f"{offered.bundle_id} was built {offered.created:%Y-%m-%d %H:%M}, before the active {active.bundle_id} "
            f"({active.created:%Y-%m-%d %H:%M})"
        )
    else:
        return
    if rule == "never":
        raise BundleError(f"{older}; sign it with a larger --counter, or change index.allow_downgrade on the device")
    if offered.bundle_id not in proven.bundle_ids:
        raise BundleError(
            f"{older}, and it has not completed a trial here, which index.allow_downgrade requires; sign it with a larger --counter"
        )
