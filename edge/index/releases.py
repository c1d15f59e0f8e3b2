"""The releases of a device: install, activate, roll back, confirm, revert.

Below the index folder (``root``), ``releases/<bundle_id>/`` holds the releases; the links ``current`` and ``previous`` name two of them.
Links are replaced by rename(2), so a reader always finds the old release or the new one.

``<bundle_id>.verified`` beside a release is its stamp (``edge.index.stamps``). While it holds, the hashes of the release are not verified
again when it is opened or activated; the gallery and all vectors are still checked. A missing or outdated stamp costs one full check. It
does not detect bits that decay on the medium: ``cardedge index verify`` and a rollback always verify all hashes.

A release that becomes active is *on trial* until a daemon has used it for a minute without failing and, where required, it was confirmed.
Otherwise it is reverted to the last healthy release. ``edge.index.trial`` holds the record, ``edge.index.device_index`` runs the trial.
"""

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from edge.bundles.bundle import Bundle, check_recognizes, open_bundle
from edge.bundles.manifest import BUNDLE_ID_PATTERN, MANIFEST_FILE, Manifest, read_manifest
from edge.errors import BundleError
from edge.index.proven import add_proven
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
    write_record,
)
from edge.recognition.embedding import ModelId
from edge.system import files
from edge.system.files import replace_link, sync

RELEASES: Final = "releases"
CURRENT: Final = "current"
PREVIOUS: Final = "previous"
LOCK_WAIT_S: Final = 10.0
"""How long short changes wait for the lock: checking a release takes seconds on a slow memory card."""


@dataclass(frozen=True, slots=True)
class Release:
    """An installed bundle. ``manifest`` is None if it cannot be read; ``problem`` is the reason then."""

    bundle_id: str
    manifest: Manifest | None
    problem: str | None
    current: bool
    previous: bool


class BundleCheck(Protocol):
    """Opens a bundle to see whether it is usable: ``open_bundle``, or a check in a child process. Raises ``BundleError``."""

    def __call__(self, path: Path, /, *, expected_model_id: ModelId | None, verify_hashes: bool) -> object:
        """Check the bundle in a directory; the hashes of its files too if ``verify_hashes``."""
        ...


def is_root(path: Path) -> bool:
    """Return whether a directory is an index folder, not a bundle."""
    return (path / RELEASES).is_dir() or (path / CURRENT).is_symlink()


def open_index(path: Path, *, expected_model_id: ModelId | None = None) -> Bundle:
    """Open the bundle at ``path``, or the active release if ``path`` is an index folder. Raises ``BundleError``."""
    if not is_root(path):
        return open_bundle(path, expected_model_id=expected_model_id)
    return open_release(path, _active_id(path), expected_model_id=expected_model_id)


def open_release(root: Path, bundle_id: str, *, expected_model_id: ModelId | None = None) -> Bundle:
    """Open an installed release; verify its hashes unless its stamp holds. Raises ``BundleError``."""
    directory = _release_directory(root, bundle_id)
    bundle = open_bundle(directory, expected_model_id=expected_model_id, verify_hashes=not stamp_holds(directory))
    _check_name(directory, bundle.manifest)
    return bundle


def check_index(path: Path, check: BundleCheck, *, expected_model_id: ModelId | None = None) -> Manifest:
    """Check what ``open_index`` would open, without opening it in this process; return its manifest. Raises ``BundleError``."""
    if not is_root(path):
        check(path, expected_model_id=expected_model_id, verify_hashes=True)
        return read_manifest(path)
    directory = _release_directory(path, _active_id(path))
    check(directory, expected_model_id=expected_model_id, verify_hashes=not stamp_holds(directory))
    manifest = read_manifest(directory)
    _check_name(directory, manifest)
    return manifest


def list_releases(root: Path) -> tuple[Release, ...]:
    """Return the installed releases, newest first, including unreadable ones. Raises ``BundleError`` if ``root`` is missing."""
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
    """Return the id of the active release, None if there is none. Raises ``BundleError`` if the link does not name a release."""
    return _linked_id(root / CURRENT)


def previous_id(root: Path) -> str | None:
    """Return the id of the previous release, None if there is none. Raises ``BundleError`` if the link does not name a release."""
    return _linked_id(root / PREVIOUS)


def install(root: Path, source: Path, *, check: BundleCheck = open_bundle) -> Manifest:
    """Copy a bundle into ``releases/``, ``check`` the copy and return its manifest; it is not activated.

    An installed bundle is left as it is. Raises ``BundleError``.
    """
    manifest = read_manifest(source)
    try:
        (root / RELEASES).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BundleError(f"{root}: cannot be written ({error.strerror}); run this as the service's user or root") from error
    with locked(root):
        target = root / RELEASES / manifest.bundle_id
        if not target.exists():
            _copy_bundle(source, target, check)
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


def check_release(root: Path, bundle_id: str, check: BundleCheck, *, expected_model_id: ModelId | None = None) -> None:
    """``check`` an installed release; its hashes are verified unless its stamp holds, and then stamped. Raises ``BundleError``."""
    with locked(root):
        _check(root, bundle_id, expected_model_id, check, trust_stamp=True)


def activate(
    root: Path,
    bundle_id: str,
    *,
    expected_model_id: ModelId | None = None,
    confirm_within_s: float | None = None,
    check: BundleCheck = open_bundle,
) -> Manifest:
    """``check`` an installed release, then make it the active one, on trial; the former one becomes the previous one.

    Its hashes are verified unless its stamp holds, so that a release that was just pushed is not read again. With ``confirm_within_s``,
    it is reverted unless ``confirm`` is called in time; None means that no confirmation is required. The first release of a device is not
    put on trial, because there is no rollback target. Returns its manifest. Raises ``BundleError`` (``ModelMismatchError`` for another
    model than ``expected_model_id``) and changes nothing then.
    """
    with locked(root):
        manifest = _check(root, bundle_id, expected_model_id, check, trust_stamp=True)
        _switch(root, bundle_id, confirm_within_s)
    return manifest


def rollback(root: Path, *, expected_model_id: ModelId | None = None, check: BundleCheck = open_bundle) -> Manifest:
    """Verify the previous release completely and swap it with the active one; return its manifest. Raises ``BundleError``."""
    with locked(root):
        active, before = current_id(root), previous_id(root)
        if before is None or before == active:
            raise BundleError(f"{root}: no previous release; see `cardedge index list`")
        manifest = _check(root, before, expected_model_id, check, trust_stamp=False)
        _switch(root, before, None)
    return manifest


def trial(root: Path) -> Trial | None:
    """Return the trial of the active release, None if it is not on trial."""
    on_trial = read_trial(root)
    return on_trial if on_trial is not None and on_trial.bundle_id == current_id(root) else None


def awaiting_confirmation(root: Path) -> Trial | None:
    """Return the trial of the active release if it still has to be confirmed, otherwise None."""
    on_trial = trial(root)
    return on_trial if on_trial is not None and on_trial.confirm_within_s is not None else None


def confirm(root: Path, bundle_id: str) -> None:
    """Confirm the active release, so that it is not reverted. Confirming it again changes nothing.

    Raises ``BundleError`` if ``bundle_id`` is not active or its time to be confirmed is over.
    """
    with locked(root, wait_s=LOCK_WAIT_S):
        if current_id(root) != bundle_id:
            last = read_reverted(root)
            why = f"it was reverted: {last.reason}" if last and last.bundle_id == bundle_id else f"{current_id(root)} is"
            raise BundleError(f"{bundle_id} cannot be confirmed, it is not the active release; {why}")
        on_trial = awaiting_confirmation(root)
        if on_trial is None:
            return
        if on_trial.overdue(utc_now()):
            raise BundleError(f"{bundle_id} cannot be confirmed, its time ended at {on_trial.deadline:%H:%M:%S} UTC; activate it again")
        _save_trial(root, on_trial.model_copy(update={"confirm_within_s": None}))


def record_attempt(root: Path, *, opening: bool = False) -> None:
    """Count an attempt of a daemon to use the active release, if it is on trial; ``opening`` if it has yet to open it."""
    _update_trial(root, lambda on_trial: on_trial.model_copy(update={"attempts": on_trial.attempts + 1, "opening": opening}))


def record_opened(root: Path) -> None:
    """Record that the daemon whose attempt was counted has opened the active release, if it is on trial."""
    _update_trial(root, lambda on_trial: on_trial.model_copy(update={"opening": False}))


def clear_attempts(root: Path) -> None:
    """Record a clean shutdown, so that the trial is not counted as failed; the next daemon starts it over."""
    _update_trial(root, lambda on_trial: on_trial.model_copy(update={"attempts": 0, "opening": False}))


def mark_healthy(root: Path) -> None:
    """Record that a daemon has used the active release for the time of a trial. This ends the trial if no confirmation is pending."""
    _update_trial(root, lambda on_trial: on_trial.model_copy(update={"healthy": True, "attempts": 0, "opening": False}))


def revert(root: Path, reason: str) -> Reverted:
    """Make the last healthy release active again in place of the one on trial, and restore ``previous``. Raises ``BundleError``.

    May be called again after being killed at any step: the release on trial stays active until the last link is replaced.
    """
    with locked(root, wait_s=LOCK_WAIT_S):
        on_trial = trial(root)
        if on_trial is None:
            raise BundleError(f"{root}: the active release is not on trial; choose another with `cardedge index activate`")
        _release_directory(root, on_trial.previous_id)
        record = Reverted(bundle_id=on_trial.bundle_id, back_to_id=on_trial.previous_id, reason=reason, at=utc_now())
        write_record(root / REVERTED_FILE, record)
        if on_trial.former_id is None:
            _unlink(root / PREVIOUS)
        else:
            replace_link(root / PREVIOUS, Path(RELEASES) / on_trial.former_id)
        replace_link(root / CURRENT, Path(RELEASES) / on_trial.previous_id)
        remove_record(root / TRIAL_FILE)
    return record


def _switch(root: Path, bundle_id: str, confirm_within_s: float | None) -> None:
    """Point the links to a checked release and put it on trial; the trial is recorded before the first link is replaced."""
    active, on_trial = current_id(root), trial(root)
    if active == bundle_id:
        if on_trial is not None and confirm_within_s is None:
            _save_trial(root, on_trial.model_copy(update={"confirm_within_s": None}))
        return
    if on_trial is None and active is not None:
        add_proven(root, root / RELEASES / active)
    healthy_id = on_trial.previous_id if on_trial else active
    if healthy_id is not None and healthy_id != bundle_id:
        former = on_trial.former_id if on_trial else previous_id(root)
        write_record(
            root / TRIAL_FILE,
            Trial(bundle_id=bundle_id, previous_id=healthy_id, former_id=former, since=utc_now(), confirm_within_s=confirm_within_s),
        )
    if active is not None:
        # before `current`, so that there is a rollback target whenever the new release is active
        replace_link(root / PREVIOUS, Path(RELEASES) / active)
    replace_link(root / CURRENT, Path(RELEASES) / bundle_id)
    if trial(root) is None:
        remove_record(root / TRIAL_FILE)


def _update_trial(root: Path, change: Callable[[Trial], Trial]) -> None:
    if trial(root) is None:
        return  # the usual case, without a lock
    with locked(root, wait_s=LOCK_WAIT_S):
        on_trial = trial(root)
        if on_trial is not None:
            _save_trial(root, change(on_trial))


def _save_trial(root: Path, on_trial: Trial) -> None:
    """Save a changed trial, or end it if the release is healthy and needs no confirmation."""
    if on_trial.healthy and on_trial.confirm_within_s is None:
        add_proven(root, root / RELEASES / on_trial.bundle_id)
        remove_record(root / TRIAL_FILE)
        remove_record(root / REVERTED_FILE)
    else:
        write_record(root / TRIAL_FILE, on_trial)


def _check(root: Path, bundle_id: str, expected_model_id: ModelId | None, check: BundleCheck, *, trust_stamp: bool) -> Manifest:
    """Check a release; verify all hashes and write a new stamp unless a stamp is trusted and holds."""
    directory = _release_directory(root, bundle_id)
    trusted = trust_stamp and stamp_holds(directory)
    if not trusted:
        stamp_path(directory).unlink(missing_ok=True)
    stamp = take_stamp(directory)
    check(directory, expected_model_id=expected_model_id, verify_hashes=not trusted)
    manifest = read_manifest(directory)
    _check_name(directory, manifest)
    check_recognizes(directory, manifest)
    if not trusted:
        write_stamp(directory, stamp)
    return manifest


def _active_id(root: Path) -> str:
    bundle_id = current_id(root)
    if bundle_id is None:
        raise BundleError(f"{root}: no release is active; choose one with `cardedge index activate`")
    return bundle_id


def _check_name(directory: Path, manifest: Manifest) -> None:
    if manifest.bundle_id != directory.name:
        raise BundleError(f"{directory}: holds bundle {manifest.bundle_id}, not the one it is named after; remove it and install it again")


def _release_directory(root: Path, bundle_id: str) -> Path:
    if not re.match(BUNDLE_ID_PATTERN, bundle_id):
        raise BundleError(f"{bundle_id!r} is not a bundle id (16 hexadecimal digits); see `cardedge index list`")
    directory = root / RELEASES / bundle_id
    if not directory.is_dir() or directory.is_symlink():
        raise BundleError(f"{directory}: no such release; see `cardedge index list`")
    return directory


def _linked_id(link: Path) -> str | None:
    if not link.is_symlink():
        return None
    target = link.readlink()
    if target.parts[:-1] != (RELEASES,) or not re.match(BUNDLE_ID_PATTERN, target.name):
        raise BundleError(f"{link}: points to {target}, not to a release; remove it and use `cardedge index activate`")
    return target.name


def _unlink(link: Path) -> None:
    link.unlink(missing_ok=True)
    sync(link.parent)


def _copy_bundle(source: Path, target: Path, check: BundleCheck) -> None:
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    try:
        for name in (MANIFEST_FILE, *read_manifest(source).files):
            shutil.copyfile(source / name, staging / name, follow_symlinks=False)
            (staging / name).chmod(0o644)
            sync(staging / name)
        staging.chmod(0o755)
        check(staging, expected_model_id=None, verify_hashes=True)
        sync(staging)
        staging.replace(target)
        sync(target.parent)
    except OSError as error:
        raise BundleError(f"{source}: cannot be copied to {target.parent} ({error.strerror or error})") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def locked(root: Path, *, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock of the index folder, waiting up to ``wait_s`` seconds for it. Raises ``BundleError``."""
    if not root.is_dir():
        raise BundleError(f"{root}: no such directory; name the device's index with --index")
    try:
        lock = files.locked(root / ".lock", wait_s=wait_s)
    except BlockingIOError as error:
        raise BundleError(f"{root}: another command is changing the releases; try again later") from error
    except OSError as error:
        raise BundleError(f"{root}: cannot be written ({error.strerror}); run this as the service's user or root") from error
    with lock:
        yield
