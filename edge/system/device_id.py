"""The default id of a device: the same after restarts and updates, different on every machine."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

from edge.errors import SettingsError

PI_SERIAL: Final = Path("/proc/device-tree/serial-number")
MACHINE_ID: Final = Path("/etc/machine-id")


def derive_device_id(serial: Path = PI_SERIAL, machine_id: Path = MACHINE_ID) -> str:
    """Return the serial number of a Raspberry Pi, or a hash of the machine id, in characters of ``[a-zA-Z0-9_-]``.

    The machine id itself is confidential (machine-id(5)). Raises ``SettingsError`` if the machine has neither.
    """
    if number := re.sub(r"[^a-zA-Z0-9_-]", "", _first_line(serial)):
        return number.lstrip("0") or number
    if identity := _first_line(machine_id):
        return hashlib.sha256(f"cardedge:{identity}".encode()).hexdigest()[:12]
    raise SettingsError("this machine has neither a serial number nor a machine id; set device.id in the settings file")


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="ignore").strip("\0\n ")
    except OSError:
        return ""
