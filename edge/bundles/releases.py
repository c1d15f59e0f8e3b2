"""The bundles of a device: which are installed, which one serves, and the way back.

Under one root: ``releases/<bundle_id>/`` holds the bundles, the links ``current`` and ``previous`` name two of them. Links are replaced
by rename(2), so a reader sees the old or the new release, never none.

Beside each release stands ``<bundle_id>.verified``: size, modification and change time and inode of its files at the moment their hashes
were checked. While these hold, nobody wrote to the files (the change time cannot be set back by a program), so start-up need not
read a few hundred megabytes again only to hash them: the gallery and all vectors are still checked. A stamp that does not hold, or
is missing, costs one full check. It does not find bits that rot on the medium later; ``cardedge index verify`` always reads everything.
"""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from edge.bundles.bundle import Bundle, open_bundle
from edge.bundles.bundle_writing import sync
from edge.bundles.manifest import BUNDLE_ID_PATTERN, DATA_FILES, MANIFEST_FILE, Manifest, read_manifest
from edge.embedding import ModelId
from edge.errors import BundleError
from edge.schema import Schema

RELEASES: Final = "releases"
CURRENT: Final = "current"
PREVIOUS: Final = "previous"
_STAMP_SUFFIX: Final = ".verified"


class FileState(Schema):
    """What the file system says about a file; it changes whenever the file does."""

    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int


class Stamp(Schema):
    """States of a release's files when their hashes were right."""

    files: dict[str, FileState]


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
    bundle = open_bundle(directory, expected_model_id=expected_model_id, verify_hashes=not _stamp_holds(directory))
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
    with _locked(root):
        target = root / RELEASES / manifest.bundle_id
        if not target.exists():
            _copy_bundle(source, target)
    return manifest


def activate(root: Path, bundle_id: str, *, expected_model_id: ModelId | None = None) -> Manifest:
    """Check an installed release completely, then make it ``current``; the one before becomes ``previous``.

    Raises ``BundleError`` (``ModelMismatchError`` for another network than ``expected_model_id``) and changes nothing then.
    """
    with _locked(root):
        manifest = _verify(root, bundle_id, expected_model_id)
        active = current_id(root)
        if active != bundle_id:
            if active is not None:
                # before `current`: there is no moment in which the new release serves and the way back is lost
                _link(root, PREVIOUS, active)
            _link(root, CURRENT, bundle_id)
    return manifest


def rollback(root: Path, *, expected_model_id: ModelId | None = None) -> Manifest:
    """Make ``previous`` current again and the other way round, after checking it completely."""
    with _locked(root):
        active, before = current_id(root), previous_id(root)
        if before is None or before == active:
            raise BundleError(f"{root}: no release to go back to; see `cardedge index list`")
        manifest = _verify(root, before, expected_model_id)
        _link(root, CURRENT, before)
        if active is not None:
            _link(root, PREVIOUS, active)
    return manifest


def _verify(root: Path, bundle_id: str, expected_model_id: ModelId | None) -> Manifest:
    """Open a release with all hashes and stamp it."""
    directory = _release_directory(root, bundle_id)
    _stamp_path(directory).unlink(missing_ok=True)
    # taken first: a file that changes while it is hashed will not match its stamp
    stamp = Stamp(files=_file_states(directory))
    manifest = open_release(root, bundle_id, expected_model_id=expected_model_id).manifest
    _replace(_stamp_path(directory), stamp.model_dump_json())
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


def _link(root: Path, name: str, bundle_id: str) -> None:
    temporary = root / f".{name}.new"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(Path(RELEASES) / bundle_id)
    temporary.replace(root / name)
    sync(root)


def _copy_bundle(source: Path, target: Path) -> None:
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    try:
        for name in (MANIFEST_FILE, *DATA_FILES):
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


def _stamp_path(directory: Path) -> Path:
    return directory.with_name(directory.name + _STAMP_SUFFIX)


def _file_states(directory: Path) -> dict[str, FileState]:
    states = {}
    for name in (MANIFEST_FILE, *DATA_FILES):
        try:
            status = os.lstat(directory / name)
        except OSError as error:
            raise BundleError(f"{directory / name}: missing ({error.strerror}); copy the bundle again") from error
        states[name] = FileState(
            size_bytes=status.st_size, modified_ns=status.st_mtime_ns, changed_ns=status.st_ctime_ns, inode=status.st_ino
        )
    return states


def _stamp_holds(directory: Path) -> bool:
    try:
        stamp = Stamp.model_validate_json(_stamp_path(directory).read_bytes())
        return stamp.files == _file_states(directory)
    except (OSError, ValidationError, BundleError):
        # no stamp to trust: the caller checks everything, and names what is missing
        return False


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, encoding="utf-8")
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Hold the root for one change at a time."""
    if not root.is_dir():
        raise BundleError(f"{root}: no such directory; name the device's index with --index")
    try:
        descriptor = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise BundleError(f"{root}: cannot be written ({error.strerror}); run this as the service's user or root") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BundleError(f"{root}: another command is changing the releases; try again when it is done") from error
        yield
    finally:
        os.close(descriptor)
