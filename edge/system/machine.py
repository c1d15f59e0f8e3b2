"""Facts about this machine, read from the kernel: name, temperatures, throttling, clock, disk, memory."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
from pathlib import Path
from typing import Final

BOARD: Final = Path("/proc/device-tree/model")
THERMAL: Final = Path("/sys/class/thermal")
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


def free_mb(folder: Path) -> float:
    """Return the space in megabytes that this user can write on the disk of ``folder`` or of its nearest existing parent."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free / 1e6


def resident_mb() -> float | None:
    """Return the resident memory of this process in megabytes; ``None`` if the kernel does not report it."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)
