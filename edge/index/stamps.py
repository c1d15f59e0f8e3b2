"""Stamps: the state of a release's files (size, times, inode) when their hashes were verified, stored beside the release.

While the state is the same, the files were not written to: a program cannot set the change time (ctime) of a file. A stamp does not cover
bits that decay on the medium.
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
    """Size, times and inode of a file; they change whenever the file is written."""

    size_bytes: int
    modified_ns: int
    changed_ns: int
    inode: int


class Stamp(Schema):
    """States of a release's files, by name, before their hashes were verified."""

    files: dict[str, FileState]


def stamp_path(directory: Path) -> Path:
    """Return the path of a release's stamp."""
    return directory.with_name(directory.name + STAMP_SUFFIX)


def file_states(directory: Path) -> dict[str, FileState]:
    """Return the state of every file of a release. Raises ``BundleError`` for a missing file."""
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
    """Return whether the files of a release are unchanged since their hashes were verified."""
    try:
        stamp = Stamp.model_validate_json(stamp_path(directory).read_bytes())
        return stamp.files == file_states(directory)
    except (OSError, ValidationError, BundleError):
        # without a stamp the caller verifies all hashes, and reports what is missing
        return False
