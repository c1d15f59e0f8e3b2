"""A disk that really fills up: a small file system in memory."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BLOCK = 4096


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """Mount a file system of this size and return its folder; skip the test where that is not possible."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    disk = folder / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "none"]
    mounted = subprocess.run(["mount", *options, str(disk)], capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@contextmanager
def almost_full(disk: Path, free_bytes: int = 0) -> Iterator[None]:
    """Leave so many bytes of a disk free."""
    status, ballast = os.statvfs(disk), disk / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(status.f_bavail * status.f_frsize - free_bytes, 1))
    try:
        yield
    finally:
        ballast.unlink()
