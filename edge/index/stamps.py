"""Stamps beside releases: what the file system said about their files at the moment their hashes were right.

While size, modification and change time and inode hold, nobody wrote to the files (the change time cannot be set back by a program).
"""

import os
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from edge.bundles.manifest import MANIFEST_FILE, read_manifest
from edge.errors import BundleError
from edge.schema import Schema
from edge.system.files import write_atomically

STAMP_SUFFIX: Final = ".verified"


class FileState(Schema):
    """What the file system says about a file; it changes whenever the file does."""

    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int


class Stamp(Schema):
    """States of a release's files when their hashes were right."""

    files: dict[str, FileState]


def stamp_path(directory: Path) -> Path:
    """Return where the stamp of a release stands."""
    return directory.with_name(directory.name + STAMP_SUFFIX)


def file_states(directory: Path) -> dict[str, FileState]:
    """Return the state of every file of a release. Raises ``BundleError`` for one that is missing."""
    states = {}
    for name in (MANIFEST_FILE, *read_manifest(directory).files):
        try:
            status = os.lstat(directory / name)
        except OSError as error:
            raise BundleError(f"{directory / name}: missing ({error.strerror}); copy the bundle again") from error
        states[name] = FileState(
            size_bytes=status.st_size, modified_ns=status.st_mtime_ns, changed_ns=status.st_ctime_ns, inode=status.st_ino
        )
    return states


def take_stamp(directory: Path) -> Stamp:
    """Return the present state of a bundle's files. Call it before the hashes are verified.

    A file that is changed while it is hashed then does not match its stamp. Raises ``BundleError`` for a missing file.
    """
    return Stamp(files=file_states(directory))


def write_stamp(directory: Path, stamp: Stamp) -> None:
    """Write the stamp of a release whose hashes were verified after ``stamp`` was taken."""
    write_atomically(stamp_path(directory), stamp.model_dump_json())


def stamp_holds(directory: Path) -> bool:
    """Say whether nobody wrote to a release since its hashes were checked."""
    try:
        stamp = Stamp.model_validate_json(stamp_path(directory).read_bytes())
        return stamp.files == file_states(directory)
    except (OSError, ValidationError, BundleError):
        # no stamp to trust: the caller checks everything, and names what is missing
        return False
