"""What can be known about an NPU: its states, its readings, and what each of its failures means for the person beside it.

Pure: the driver that produces all this is ``edge/adapters/hailo.py``. Status numbers are those of HailoRT 4.20 to 4.23
(``hailort/include/hailo/hailort.h`` of hailo-ai/hailort, branch hailo8).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from edge.errors import (
    NpuAbsentError,
    NpuBusyError,
    NpuError,
    NpuHefError,
    NpuOverheatedError,
    NpuPermissionError,
    NpuRemovedError,
    NpuTimeoutError,
    NpuVersionError,
)


class NpuState(StrEnum):
    """Where the life of the device stands: absent → opening → ready → failed → (back-off) opening …; closed is the end."""

    ABSENT = "absent"
    OPENING = "opening"
    READY = "ready"
    FAILED = "failed"
    CLOSED = "closed"


Operation: TypeAlias = Literal["import", "scan", "open", "load", "configure", "infer", "control"]
"""What we were doing when it failed; ``infer`` is submitting, waiting and the job itself."""


@dataclass(frozen=True, slots=True)
class NpuFailure:
    """A failure as the runtime tells it. ``status`` is the number of HailoRT, ``None`` where only a class or a text is known."""

    doing: Operation
    status: int | None
    text: str
    devices: int = 0
    """Devices the driver lists at the moment of the failure."""


@dataclass(frozen=True, slots=True)
class NpuReadings:
    """What the device says of itself; ``None`` where it does not tell. ``reopened`` counts openings after the first."""

    state: NpuState
    reopened: int = 0
    last_error: str | None = None
    temperature_c: float | None = None
    throttling_level: int | None = None
    """Step of the firmware's clock reduction by heat, from 0; ``None`` while there is none (the firmware says -1)."""
    clock_mhz: float | None = None
    architecture: str | None = None
    firmware: str | None = None
    pcie: str | None = None
    """Generation and width of the link, like ``Gen3 x1``."""
    gauges_error: str | None = None
    """Why the newest readings could not be taken."""


@dataclass(frozen=True, slots=True)
class ReopenPolicy:
    """How a failed device is opened again: after waiting ``back_off_s`` each, as often as there are waits; then it stays failed."""

    back_off_s: tuple[float, ...] = (0.5, 1.0, 2.0)


WARM_C: Final = 85.0
"""From here a look at the cooling is due; the firmware slows the clock from about 104 °C and closes the streams at about 120 °C."""

SLOW_LINKS: Final = ("Gen1", "Gen2")


def concerns(readings: NpuReadings) -> tuple[str, ...]:
    """Return what is wrong with a device that works, each with the next step."""
    found = []
    if readings.throttling_level is not None:
        found.append(f"slowed down by heat (level {readings.throttling_level}); give the board air")
    if readings.temperature_c is not None and readings.temperature_c >= WARM_C:
        found.append(f"{readings.temperature_c:.0f} °C; at about 104 °C it slows down, at 120 °C it stops: give the board air")
    if readings.gauges_error is not None:
        found.append(readings.gauges_error)
    return tuple(found)


def slow_link(readings: NpuReadings) -> str | None:
    """Return what is to be said about a PCIe link slower than the device takes: a network that streams its weights waits for it."""
    if readings.pcie is None or not readings.pcie.startswith(SLOW_LINKS):
        return None
    return f"PCIe {readings.pcie}: the network's weights come at half the speed; set dtparam=pciex1_gen=3 in config.txt and reboot"


def described(readings: NpuReadings) -> str:
    """Return what the device says of itself, in one line."""
    said = (
        readings.architecture,
        readings.firmware and f"firmware {readings.firmware}",
        readings.pcie and f"PCIe {readings.pcie}",
        readings.temperature_c is not None and f"{readings.temperature_c:.0f} °C",
        readings.clock_mhz is not None and f"{readings.clock_mhz:.0f} MHz",
    )
    return ", ".join(part for part in said if part) or "tells nothing of itself"


@dataclass(frozen=True, slots=True)
class FailureRule:
    """A row of the table of failures: when it applies, what it is, and the next step. Empty ``doing`` or ``statuses`` match all."""

    error: type[NpuError]
    advice: str
    doing: frozenset[Operation] = frozenset()
    statuses: frozenset[int | None] = frozenset()
    device_listed: bool | None = None
    """Whether the driver lists a device; None where that does not matter."""

    def fits(self, failure: NpuFailure) -> bool:
        """Say whether this row tells ``failure``."""
        return (
            (not self.doing or failure.doing in self.doing)
            and (not self.statuses or failure.status in self.statuses)
            and (self.device_listed is None or self.device_listed == (failure.devices > 0))
        )


def _row(
    error: type[NpuError], advice: str, *statuses: int | None, doing: tuple[Operation, ...] = (), device_listed: bool | None = None
) -> FailureRule:
    return FailureRule(error, advice, frozenset(doing), frozenset(statuses), device_listed)


MEANINGS: Final = (
    _row(
        NpuVersionError,
        "hailo_platform cannot be used; install it with `sudo apt install hailo-all` and give the daemon a virtual environment seeing it "
        "(install.sh does both); library and Python package must have the same version",
        doing=("import",),
    ),
    _row(
        NpuAbsentError,
        "no Hailo board found; check the ribbon cable and `lspci -d 1e60:`, load the driver with `sudo modprobe hailo_pci`, reboot after "
        "installing it",
        None,
        doing=("scan",),
    ),
    _row(
        NpuBusyError,
        "another process holds the NPU; find it with `sudo fuser -v /dev/hailo0` and stop it (rpicam-apps and other Hailo programs cannot "
        "share it with us)",
        73,
        74,
        device_listed=True,
    ),
    _row(NpuAbsentError, "no Hailo board found; check the ribbon cable, `lspci -d 1e60:` and `dmesg | grep hailo`", 74),
    _row(
        NpuPermissionError,
        "/dev/hailo0 cannot be opened; the daemon's user needs it: run install.sh again for its udev rule, then reboot",
        36,
        doing=("open",),
    ),
    _row(
        NpuVersionError,
        "driver and HailoRT library have different versions; compare `modinfo hailo_pci` with `hailortcli --version`, install both of one "
        "release (`sudo apt install --reinstall hailo-all`) and reboot",
        76,
        85,
        86,
    ),
    _row(
        NpuVersionError,
        "the NPU's firmware is not loaded or does not fit the HailoRT library; reinstall `hailo-all` and switch the Pi off and on",
        6,
        15,
        16,
        18,
        23,
        doing=("open", "load", "configure", "control"),
    ),
    _row(
        NpuVersionError,
        "the HailoRT service is missing or of another version; we do not use it: `sudo systemctl disable --now hailort`",
        77,
        78,
    ),
    _row(
        NpuHefError,
        "the .hef was compiled for another chip than this one; compile it for hailo8l (tools/compile_hef.py), or check the board with "
        "`hailortcli fw-control identify`",
        26,
        75,
        93,
        doing=("load", "configure"),
    ),
    _row(
        NpuHefError,
        "the .hef comes from a newer compiler than this HailoRT reads; update HailoRT or compile with the matching version (3.33 for 4.23, "
        "3.32 for 4.22, 3.31 for 4.21, 3.30 for 4.20)",
        92,
        doing=("load", "configure"),
    ),
    _row(NpuHefError, "the .hef is damaged or cannot be read; copy the network's folder again", 13, 14, 91, doing=("load", "configure")),
    _row(
        NpuOverheatedError,
        "the NPU closed its streams: too hot or short of current; give the board air and the 27 W supply, look at `dmesg`",
        63,
    ),
    _row(NpuTimeoutError, "the NPU did not answer in time; if it stays so, switch the Pi off and on", 4),
    _row(
        NpuRemovedError,
        "the NPU is gone from the bus; check the ribbon cable and the supply, then reboot",
        36,
        62,
        64,
        87,
        doing=("infer", "control", "scan"),
    ),
)
"""What each failure means, the first row that fits counts."""

_WANTED: Final[dict[Operation, str]] = {
    "import": "load its library",
    "scan": "find it",
    "open": "open it",
    "load": "read the .hef",
    "configure": "load the network",
    "infer": "run the network",
    "control": "read its state",
}


def explain(failure: NpuFailure) -> NpuError:
    """Return the named error for a failure, its message with the next step."""
    said = failure.text if failure.status is None else f"{failure.text} [status {failure.status}]"
    meaning = next((meaning for meaning in MEANINGS if meaning.fits(failure)), None)
    if meaning is not None:
        return meaning.error(f"{meaning.advice} ({said})")
    return NpuError(f"the NPU failed while we wanted to {_WANTED[failure.doing]}: {said}; run `cardedge check`, see `dmesg | grep hailo`")
