"""Facts about this machine, read from the kernel: name, temperatures, throttling, clock, disk, memory."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BOARD: Final = Path("/proc/device-tree/model")
THERMAL: Final = Path("/sys/class/thermal")
MOUNTS: Final = Path("/proc/self/mountinfo")
MEMORY_FILE_SYSTEMS: Final = frozenset({"tmpfs", "ramfs"})
CONTAINER_MARKERS: Final = (Path("/.dockerenv"), Path("/run/.containerenv"), Path("/run/systemd/container"))
"""Files that a container has; its root is an overlay too, but stored on the host's disk."""
THROTTLED: Final = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")

_THROTTLE_BITS: Final = {
    0: "under-voltage now",
    1: "frequency capped now",
    2: "throttled now",
    3: "temperature limit now",
    16: "under-voltage since start",
    17: "frequency capped since start",
    18: "throttled since start",
    19: "temperature limit since start",
}
"""Bits of ``get_throttled``; see Raspberry Pi documentation, "vcgencmd"."""

_TIMEX_BYTES: Final = 256  # struct timex takes 208 on 64-bit Linux; all zero it changes nothing
_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronized


def board_name(file: Path = BOARD) -> str:
    """Return the name of the board, e.g. ``Raspberry Pi 5 Model B Rev 1.0``; on other machines the CPU architecture."""
    try:
        return file.read_text(errors="replace").strip("\0\n ") or platform.machine()
    except OSError:
        return platform.machine()


def is_raspberry_pi(file: Path = BOARD) -> bool:
    """Return whether this machine is a Raspberry Pi."""
    return "Raspberry Pi" in board_name(file)


def temperatures_c(thermal: Path = THERMAL) -> dict[str, float]:
    """Return the temperature in degrees Celsius of each thermal zone that has one, by its type (``cpu-thermal`` on a Raspberry Pi)."""
    temperatures = {}
    try:
        zones = sorted(thermal.glob("thermal_zone*"))
    except OSError:  # too many open files
        return {}
    for zone in zones:
        try:
            name, millidegrees = (zone / "type").read_text().strip(), int((zone / "temp").read_text())
        except (OSError, ValueError):  # reading a zone without a sensor fails
            continue
        temperatures[name if name not in temperatures else f"{name}-{zone.name[12:]}"] = millidegrees / 1000.0
    return temperatures


def throttling(file: Path = THROTTLED) -> tuple[str, ...] | None:
    """Return the active throttling reasons, empty if none; ``None`` on a machine that is not a Raspberry Pi."""
    try:
        bits = int(file.read_text().strip(), 16)
    except (OSError, ValueError):
        return None
    return tuple(reason for bit, reason in _THROTTLE_BITS.items() if bits & 1 << bit)


def clock_is_synchronized() -> bool | None:
    """Return whether the kernel's clock is synchronized to a time server (adjtimex(2)); ``None`` if that is not known."""
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def memory_file_system(folder: Path, mounts: Path = MOUNTS) -> str | None:
    """Return the type of the file system of ``folder`` if it loses its content with the power, None otherwise.

    That is ``tmpfs``, ``ramfs``, or an ``overlay`` whose upper layer is one of them. An upper layer that is not visible is taken to be in
    memory, as that of a read-only root file system, except in a container.
    """
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return None
    mount = _mount_of(_nearest_existing(folder).resolve(), lines)
    if mount is not None and mount.kind in MEMORY_FILE_SYSTEMS:
        return mount.kind
    if mount is None or mount.kind != "overlay" or mount.upper is None:
        return None
    upper = _mount_of(mount.upper, lines) if mount.upper.exists() else None
    if upper is None or upper == mount:
        return None if any(marker.exists() for marker in CONTAINER_MARKERS) else mount.kind
    return mount.kind if upper.kind in MEMORY_FILE_SYSTEMS else None


@dataclass(frozen=True, slots=True)
class _Mount:
    point: Path
    kind: str
    upper: Path | None
    """The writable layer of an overlay."""


def _mount_of(path: Path, lines: Sequence[str]) -> _Mount | None:
    """Return the mount that contains ``path``, from the lines of ``mountinfo`` (proc_pid_mountinfo(5)); the last one hides the others."""
    found: _Mount | None = None
    for line in lines:
        fields, _, system = line.partition(" - ")
        point = Path(_unescaped(fields.split(" ")[4]))
        kind, _, options = system.split(" ", 2)
        if path.is_relative_to(point) and (found is None or len(point.parts) >= len(found.point.parts)):
            upper = next((option.removeprefix("upperdir=") for option in options.split(",") if option.startswith("upperdir=")), None)
            found = _Mount(point, kind, None if upper is None else Path(_unescaped(upper)))
    return found


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), text)


def _nearest_existing(path: Path) -> Path:
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())


def free_mb(folder: Path) -> float:
    """Return the space in megabytes that this user can write on the disk of ``folder`` or of its nearest existing parent."""
    return shutil.disk_usage(_nearest_existing(folder)).free / 1e6


def resident_mb() -> float | None:
    """Return the resident memory of this process in megabytes; ``None`` if the kernel does not report it."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


def return_free_memory() -> None:
    """Return memory that this process has freed, but its C library keeps for later, to the system.

    Only glibc has and requires this call (malloc_trim(3)); does nothing with other C libraries.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
