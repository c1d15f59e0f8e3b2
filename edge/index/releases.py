"""The bundles of a device: which are installed, which one serves, and the way back.

Under one root: ``releases/<bundle_id>/`` holds the bundles, the links ``current`` and ``previous`` name two of them. Links are replaced
by rename(2), so a reader sees the old or the new release, never none.

Beside each release stands ``<bundle_id>.verified``: size, modification and change time and inode of its files at the moment their hashes
were checked. While these hold, nobody wrote to the files (the change time cannot be set back by a program), so start-up need not
read a few hundred megabytes again only to hash them: the gallery and all vectors are still checked. A stamp that does not hold, or
is missing, costs one full check. It does not find bits that rot on the medium later; ``cardedge index verify`` always reads everything.

A release that becomes current is *on trial* until a daemon has served it for a minute and, where that was asked for, somebody has confirmed
it; else it is reverted to the last proven one (``edge.index.trial`` holds the record, ``edge.index.device_index`` keeps the time).
"""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.bundles.bundle import Bundle, check_recognizes, open_bundle
from edge.bundles.manifest import BUNDLE_ID_PATTERN, MANIFEST_FILE, Manifest, read_manifest
from edge.errors import BundleError
from edge.index.stamps import Stamp, stamp_holds, stamp_path, take_stamp, write_stamp
from edge.index.trial import (
    REVERTED_FILE,
    TRIAL_FILE,
    Reverted,
    Trial,
    read_reverted,
    read_trial,
    remove_record,
    utc_now,
    write_reverted,
    write_trial,
)
from edge.recognition.embedding import ModelId
from edge.system import files
from edge.system.files import replace_link, sync

RELEASES: Final = "releases"
CURRENT: Final = "current"
PREVIOUS: Final = "previous"
LOCK_WAIT_S: Final = 10.0
"""How long the small steps of a trial wait for a change under way: checking a release takes seconds on a slow card."""


@dataclass(frozen=True, slots=True)
class Release:
    """An installed bundle; ``problem`` says why its manifest cannot be read, then ``manifest`` is None."""

    bundle_id: str
    manifest: Manifest | None
    problem: str | None
    current: bool
    previous: bool


def is_root(path: Path) -> bool:
    """Say whether a directory holds releases rather than being a bundle itself."""
    return (path / RELEASES).is_dir() or (path / CURRENT).is_symlink()


def open_index(path: Path, *, expected_model_id: ModelId | None = None) -> Bundle:
    """Open the bundle at ``path``, or, where ``path`` is a device's root, its current release. Raises ``BundleError``."""
    if not is_root(path):
        return open_bundle(path, expected_model_id=expected_model_id)
    bundle_id = current_id(path)
    if bundle_id is None:
        raise BundleError(f"{path}: no release is active; choose one with `cardedge index activate`")
    return open_release(path, bundle_id, expected_model_id=expected_model_id)


def open_release(root: Path, bundle_id: str, *, expected_model_id: ModelId | None = None) -> Bundle:
    """Open an installed release. Its hashes are checked unless its stamp holds."""
    directory = _release_directory(root, bundle_id)
    bundle = open_bundle(directory, expected_model_id=expected_model_id, verify_hashes=not stamp_holds(directory))
    if bundle.manifest.bundle_id != bundle_id:
        raise BundleError(
            f"{directory}: holds bundle {bundle.manifest.bundle_id}, not the one it is named by; remove it and install it again"
        )
    return bundle


def list_releases(root: Path) -> tuple[Release, ...]:
    """Return the installed releases, newest first; one that cannot be read is listed with its problem."""
    if not root.is_dir():
        raise BundleError(f"{root}: no such directory; name the device's index with --index")
    current, previous = current_id(root), previous_id(root)
    folder = root / RELEASES
    names = sorted(entry.name for entry in folder.iterdir() if re.match(BUNDLE_ID_PATTERN, entry.name)) if folder.is_dir() else []
    releases = []
    for name in names:
        try:
            manifest, problem = read_manifest(folder / name), None
        except BundleError as error:
            manifest, problem = None, str(error)
        releases.append(Release(name, manifest, problem, current=name == current, previous=name == previous))
    return tuple(sorted(releases, key=lambda release: release.manifest.created.timestamp() if release.manifest else 0.0, reverse=True))


def current_id(root: Path) -> str | None:
    """Return the id of the active release, None when there is none. Raises ``BundleError`` for a link that leads elsewhere."""
    return _linked_id(root / CURRENT)


def previous_id(root: Path) -> str | None:
    """Return the id of the release before the active one, None when there is none."""
    return _linked_id(root / PREVIOUS)


def install(root: Path, source: Path) -> Manifest:
    """Copy a bundle from anywhere into ``releases/`` and check the copy; it is not activated. Installing it again changes nothing."""
    manifest = read_manifest(source)
    try:
        (root / RELEASES).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BundleError(f"{root}: cannot be written ({error.strerror}); run this as the service's user or root") from error
    with locked(root):
        target = root / RELEASES / manifest.bundle_id
        if not target.exists():
            _copy_bundle(source, target)
    return manifest


def adopt(root: Path, folder: Path, bundle_id: str, stamp: Stamp) -> None:
    """Move a complete and synced folder of the same file system into ``releases/``; it is not activated.

    ``stamp`` was taken before its hashes were verified; moving a folder does not change the state of its files. A damaged release of
    that id is replaced. Raises ``BundleError``.
    """
    try:
        (root / RELEASES).mkdir(parents=True, exist_ok=True)
        with locked(root, wait_s=LOCK_WAIT_S):
            target = root / RELEASES / bundle_id
            damaged = target.with_name(f".{bundle_id}.damaged.partial")
            shutil.rmtree(damaged, ignore_errors=True)
            if target.exists():
                target.replace(damaged)
            folder.replace(target)
            sync(target.parent)
            write_stamp(target, stamp)
            shutil.rmtree(damaged, ignore_errors=True)
    except OSError as error:
        raise BundleError(f"{folder}: cannot be moved to {root / RELEASES} ({error.strerror or error})") from error


def activate(root: Path, bundle_id: str, *, expected_model_id: ModelId | None = None, confirm_within_s: float | None = None) -> Manifest:
    """Check an installed release, then make it ``current``, on trial; the one before becomes ``previous``.

    Its hashes are verified unless its stamp holds: a release that was just pushed is not read again.

    With ``confirm_within_s`` it is reverted unless ``confirm`` is called in time; None confirms it at once. The first release of a device
    is not on trial: there is nothing to go back to.
    Raises ``BundleError`` (``ModelMismatchError`` for another network than ``expected_model_id``) and changes nothing then.
    """
    with locked(root):
        manifest = _check(root, bundle_id, expected_model_id, trust_stamp=True)
        _switch(root, bundle_id, confirm_within_s)
    return manifest


def rollback(root: Path, *, expected_model_id: ModelId | None = None) -> Manifest:
    """Make ``previous`` current again and the other way round, after checking it completely."""
    with locked(root):
        active, before = current_id(root), previous_id(root)
        if before is None or before == active:
            raise BundleError(f"{root}: no release to go back to; see `cardedge index list`")
        manifest = _check(root, before, expected_model_id, trust_stamp=False)
        _switch(root, before, None)
    return manifest


def trial(root: Path) -> Trial | None:
    """Return the trial of the current release; None when it has proven itself."""
    found = read_trial(root)
    return found if found is not None and found.bundle_id == current_id(root) else None


def awaiting_confirmation(root: Path) -> Trial | None:
    """Return the trial of the current release while it has to be confirmed; see its ``previous_id``, ``deadline`` and ``serving``."""
    found = trial(root)
    return found if found is not None and found.confirm_within_s is not None else None


def reverted(root: Path) -> Reverted | None:
    """Return which release was reverted last and why; None once another release has proven itself."""
    return read_reverted(root)


def confirm(root: Path, bundle_id: str) -> None:
    """Say that the current release shall stay. Confirming it twice changes nothing.

    Raises ``BundleError`` when it is not current (any more) or its time is over.
    """
    with locked(root, wait_s=LOCK_WAIT_S):
        if current_id(root) != bundle_id:
            gone = read_reverted(root)
            why = f"it was reverted: {gone.reason}" if gone and gone.bundle_id == bundle_id else f"{current_id(root)} is"
            raise BundleError(f"{bundle_id} cannot be confirmed, it is not the active release; {why}")
        found = awaiting_confirmation(root)
        if found is None:
            return
        if found.overdue(utc_now()):
            raise BundleError(f"{bundle_id} cannot be confirmed, its time ended at {found.deadline:%H:%M:%S} UTC; activate it again")
        _settle(root, found.model_copy(update={"confirm_within_s": None}))


def record_attempt(root: Path) -> None:
    """Note that a daemon begins to serve the current release; nothing happens when it has proven itself."""
    _update_trial(root, lambda found: found.model_copy(update={"attempts": found.attempts + 1}))


def clear_attempts(root: Path) -> None:
    """Note that the daemon stops in good order: the release is not to blame, and its trial begins anew with the next start."""
    _update_trial(root, lambda found: found.model_copy(update={"attempts": 0}))


def mark_healthy(root: Path) -> None:
    """Note that a daemon has served the current release for the time of a trial; it is proven once nobody has to confirm it."""
    _update_trial(root, lambda found: found.model_copy(update={"healthy": True, "attempts": 0}))


def revert(root: Path, reason: str) -> Reverted:
    """Go back from the release on trial to the last proven one, with the link ``previous`` as it was. Raises ``BundleError``.

    Killed at any step, it can be called again: the release on trial stays current until the last link is moved.
    """
    with locked(root, wait_s=LOCK_WAIT_S):
        found = trial(root)
        if found is None:
            raise BundleError(f"{root}: the active release is not on trial; choose another with `cardedge index activate`")
        _release_directory(root, found.previous_id)
        record = Reverted(bundle_id=found.bundle_id, back_to_id=found.previous_id, reason=reason, at=utc_now())
        write_reverted(root, record)
        if found.former_id is None:
            _unlink(root / PREVIOUS)
        else:
            _link(root / PREVIOUS, found.former_id)
        _link(root / CURRENT, found.previous_id)
        remove_record(root / TRIAL_FILE)
    return record


def _switch(root: Path, bundle_id: str, confirm_within_s: float | None) -> None:
    """Move the links to a checked release and put it on trial; the trial is on the disk before the first link moves."""
    active, on_trial = current_id(root), trial(root)
    if active == bundle_id:
        if on_trial is not None and confirm_within_s is None:
            _settle(root, on_trial.model_copy(update={"confirm_within_s": None}))
        return
    proven = on_trial.previous_id if on_trial else active
    if proven is not None and proven != bundle_id:
        former = on_trial.former_id if on_trial else previous_id(root)
        write_trial(
            root,
            Trial(bundle_id=bundle_id, previous_id=proven, former_id=former, since=utc_now(), confirm_within_s=confirm_within_s),
        )
    if active is not None:
        # before `current`: there is no moment in which the new release serves and the way back is lost
        _link(root / PREVIOUS, active)
    _link(root / CURRENT, bundle_id)
    if trial(root) is None:
        remove_record(root / TRIAL_FILE)


def _update_trial(root: Path, change: Callable[[Trial], Trial]) -> None:
    if trial(root) is None:
        return  # the usual case takes no lock
    with locked(root, wait_s=LOCK_WAIT_S):
        found = trial(root)
        if found is not None:
            _settle(root, change(found))


def _settle(root: Path, found: Trial) -> None:
    """Keep a trial as it is now; end it when the release has proven itself and need not be confirmed."""
    if found.healthy and found.confirm_within_s is None:
        remove_record(root / TRIAL_FILE)
        remove_record(root / REVERTED_FILE)
    else:
        write_trial(root, found)


def _check(root: Path, bundle_id: str, expected_model_id: ModelId | None, *, trust_stamp: bool) -> Manifest:
    """Open a release as a daemon would; unless its stamp holds and is trusted, verify all hashes and write a new stamp."""
    directory = _release_directory(root, bundle_id)
    trusted = trust_stamp and stamp_holds(directory)
    if not trusted:
        stamp_path(directory).unlink(missing_ok=True)
    stamp = take_stamp(directory)
    manifest = open_release(root, bundle_id, expected_model_id=expected_model_id).manifest
    check_recognizes(directory, manifest)
    if not trusted:
        write_stamp(directory, stamp)
    return manifest


def _release_directory(root: Path, bundle_id: str) -> Path:
    if not re.match(BUNDLE_ID_PATTERN, bundle_id):
        raise BundleError(f"{bundle_id!r} is no bundle id (16 hexadecimal digits); see `cardedge index list`")
    directory = root / RELEASES / bundle_id
    if not directory.is_dir() or directory.is_symlink():
        raise BundleError(f"{directory}: no such release; see `cardedge index list`")
    return directory


def _linked_id(link: Path) -> str | None:
    if not link.is_symlink():
        return None
    target = link.readlink()
    if target.parts[:-1] != (RELEASES,) or not re.match(BUNDLE_ID_PATTERN, target.name):
        raise BundleError(f"{link}: leads to {target}, not to a release; remove it and use `cardedge index activate`")
    return target.name


def _link(link: Path, bundle_id: str) -> None:
    replace_link(link, Path(RELEASES) / bundle_id)


def _unlink(link: Path) -> None:
    link.unlink(missing_ok=True)
    sync(link.parent)


def _copy_bundle(source: Path, target: Path) -> None:
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    try:
        for name in (MANIFEST_FILE, *read_manifest(source).files):
            shutil.copyfile(source / name, staging / name, follow_symlinks=False)
            (staging / name).chmod(0o644)
            sync(staging / name)
        staging.chmod(0o755)
        open_bundle(staging)
        sync(staging)
        staging.replace(target)
        sync(target.parent)
    except OSError as error:
        raise BundleError(f"{source}: cannot be copied to {target.parent} ({error.strerror or error})") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def locked(root: Path, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the root for one change at a time, waiting up to ``wait_s`` for the one under way."""
    if not root.is_dir():
        raise BundleError(f"{root}: no such directory; name the device's index with --index")
    try:
        lock = files.locked(root / ".lock", wait_s=wait_s)
    except BlockingIOError as error:
        raise BundleError(f"{root}: another command is changing the releases; try again when it is done") from error
    except OSError as error:
        raise BundleError(f"{root}: cannot be written ({error.strerror}); run this as the service's user or root") from error
    with lock:
        yield
