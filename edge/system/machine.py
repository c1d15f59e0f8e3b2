"""Facts about the machine we run on, read from the kernel: name, temperatures, throttling, clock, disk, memory."""

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
_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised


def board_name(file: Path = BOARD) -> str:
    """Return what the machine is, e.g. ``Raspberry Pi 5 Model B Rev 1.0``; elsewhere its architecture."""
    try:
        return file.read_text().strip("\0\n ") or platform.machine()
    except OSError:
        return platform.machine()


def temperatures_c(thermal: Path = THERMAL) -> dict[str, float]:
    """Return the temperature of each thermal zone by its type (``cpu-thermal`` on a Pi), in degrees Celsius; a silent zone is left out."""
    temperatures = {}
    for zone in sorted(thermal.glob("thermal_zone*")):
        try:
            name, millidegrees = (zone / "type").read_text().strip(), int((zone / "temp").read_text())
        except (OSError, ValueError):  # a zone without a sensor answers with an error
            continue
        temperatures[name if name not in temperatures else f"{name}-{zone.name[12:]}"] = millidegrees / 1000.0
    return temperatures


def throttling(file: Path = THROTTLED) -> tuple[str, ...] | None:
    """Return what a Pi's firmware holds back and why, nothing when all is well, ``None`` on other machines."""
    try:
        bits = int(file.read_text().strip(), 16)
    except (OSError, ValueError):
        return None
    return tuple(what for bit, what in _THROTTLE_BITS.items() if bits & 1 << bit)


def clock_is_synchronised() -> bool | None:
    """Say whether the kernel's clock follows a time server (adjtimex(2)); ``None`` where that cannot be asked."""
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def free_mb(folder: Path) -> float:
    """Return the free space for our user on the disk of ``folder``, or of its nearest existing parent, in megabytes."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free / 1e6


def resident_mb() -> float | None:
    """Return our resident memory in megabytes; ``None`` where the kernel does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)
