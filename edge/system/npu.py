"""States, sensor values and failures of an NPU, and what to do about each failure.

The driver is ``edge/adapters/hailo_npu.py``; nothing here calls it. Status numbers are those of HailoRT 4.x
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
    """State of the device: absent → opening → ready → failed → (back-off) opening …; closed is final."""

    ABSENT = "absent"
    OPENING = "opening"
    READY = "ready"
    FAILED = "failed"
    CLOSED = "closed"


Operation: TypeAlias = Literal["import", "scan", "open", "load", "configure", "infer", "control"]
"""The operation that failed; ``infer`` covers submitting, waiting and the job itself."""


@dataclass(frozen=True, slots=True)
class NpuFailure:
    """A failure as reported by the runtime. ``status`` is HailoRT's status number, ``None`` if only a class or a message is known."""

    operation: Operation
    status: int | None
    text: str
    devices: int = 0
    """Number of devices that the driver lists at the time of the failure."""


@dataclass(frozen=True, slots=True)
class NpuStatus:
    """State and sensor values of the device; ``None`` for a value it does not report. ``reopened`` counts openings after the first."""

    state: NpuState
    reopened: int = 0
    last_error: str | None = None
    temperature_c: float | None = None
    throttling_level: int | None = None
    """Level of the firmware's clock reduction by heat, from 0; ``None`` without one (the firmware reports -1)."""
    clock_mhz: float | None = None
    architecture: str | None = None
    firmware: str | None = None
    runtime: str | None = None
    """Version of HailoRT, such as ``4.23.0``."""
    pcie: str | None = None
    """Generation and width of the link, like ``Gen3 x1``."""
    gauges_error: str | None = None
    """Why the newest sensor values could not be read."""


@dataclass(frozen=True, slots=True)
class ReopenPolicy:
    """How a failed device is reopened: one attempt after each wait of ``back_off_s``; then it stays failed."""

    back_off_s: tuple[float, ...] = (0.5, 1.0, 2.0)


WARM_C: Final = 85.0
"""Warn from this temperature; the firmware slows the clock from about 104 °C and closes the streams at about 120 °C."""

OLDEST_RUNTIME: Final = (4, 20)
"""First HailoRT with the Python API that is used here."""
NEWEST_RUNTIME: Final = (4, 23)
"""Newest HailoRT whose source the adapter was checked against."""

SLOW_LINKS: Final = ("Gen1", "Gen2")


def warnings(status: NpuStatus) -> tuple[str, ...]:
    """Return warnings about a device that works, each with what to do."""
    found = []
    if status.throttling_level is not None:
        found.append(f"slowed down by heat (level {status.throttling_level}); improve the cooling")
    if status.temperature_c is not None and status.temperature_c >= WARM_C:
        found.append(f"{status.temperature_c:.0f} °C; it slows down at about 104 °C and stops at about 120 °C: improve the cooling")
    if status.gauges_error is not None:
        found.append(status.gauges_error)
    return tuple(found)


def require_supported(runtime: str) -> None:
    """Raise ``NpuVersionError`` unless HailoRT has the API used here and serves the Hailo-8 family: 4.x from 4.20."""
    version = _version(runtime)
    if version >= (5, 0):
        raise NpuVersionError(
            f"HailoRT {runtime} serves the Hailo-10H and Hailo-15 only, not the Hailo-8 and 8L; replace it: `sudo apt install hailo-all` "
            "instead of `hailo-h10-all`"
        )
    if version < OLDEST_RUNTIME:
        raise NpuVersionError(f"HailoRT {runtime} is too old, 4.20 or a later 4.x is needed; update it: `sudo apt full-upgrade`")


def untested_runtime(status: NpuStatus) -> str | None:
    """Return a warning about a HailoRT newer than those CardEdge was checked against."""
    if status.runtime is None or _version(status.runtime) <= NEWEST_RUNTIME:
        return None
    return f"HailoRT {status.runtime} is newer than 4.23, the newest that CardEdge was checked against; report what does not work"


def _version(text: str) -> tuple[int, int]:
    """Return major and minor version; (0, 0) for a text without them."""
    parts = text.split(".")
    return (int(parts[0]), int(parts[1])) if len(parts) > 1 and parts[0].isdigit() and parts[1].isdigit() else (0, 0)


def slow_link(status: NpuStatus) -> str | None:
    """Return a warning about a PCIe link slower than the device supports, which delays a model that streams its weights."""
    if status.pcie is None or not status.pcie.startswith(SLOW_LINKS):
        return None
    return f"PCIe {status.pcie}: the model's weights are transferred at half the speed; set dtparam=pciex1_gen=3 in config.txt and reboot"


def summary(status: NpuStatus) -> str:
    """Return the sensor values in one line."""
    values = (
        status.architecture,
        status.runtime and f"HailoRT {status.runtime}",
        status.firmware and f"firmware {status.firmware}",
        status.pcie and f"PCIe {status.pcie}",
        status.temperature_c is not None and f"{status.temperature_c:.0f} °C",
        status.clock_mhz is not None and f"{status.clock_mhz:.0f} MHz",
    )
    return ", ".join(value for value in values if value) or "reports no values"


@dataclass(frozen=True, slots=True)
class FailureRule:
    """A row of the table of failures: when it applies, its error, and what to do. Empty ``operations`` or ``statuses`` match all."""

    error: type[NpuError]
    advice: str
    operations: frozenset[Operation] = frozenset()
    statuses: frozenset[int | None] = frozenset()
    device_listed: bool | None = None
    """Whether the driver must list a device; None if it does not matter."""

    def matches(self, failure: NpuFailure) -> bool:
        """Return whether this rule applies to ``failure``."""
        return (
            (not self.operations or failure.operation in self.operations)
            and (not self.statuses or failure.status in self.statuses)
            and (self.device_listed is None or self.device_listed == (failure.devices > 0))
        )


def _rule(
    error: type[NpuError], advice: str, *statuses: int | None, operations: tuple[Operation, ...] = (), device_listed: bool | None = None
) -> FailureRule:
    return FailureRule(error, advice, frozenset(operations), frozenset(statuses), device_listed)


COMPILERS: Final = "compile with the matching version (3.34 for 4.24, 3.33 for 4.23, 3.32 for 4.22, 3.31 for 4.21, 3.30 for 4.20)"
"""Dataflow Compiler by HailoRT (hailo_model_zoo, docs/CHANGELOG.rst)."""

FAILURE_RULES: Final = (
    _rule(
        NpuVersionError,
        "hailo_platform cannot be imported; install it with `sudo apt install hailo-all` and use a virtual environment with access to "
        "system packages (install.sh does both); library and Python package must have the same version",
        operations=("import",),
    ),
    _rule(
        NpuAbsentError,
        "no Hailo board found; check the ribbon cable and `lspci -d 1e60:`, load the driver with `sudo modprobe hailo_pci`, reboot "
        "after installing it",
        None,
        operations=("scan",),
    ),
    _rule(
        NpuBusyError,
        "another process is using the NPU; find it with `sudo fuser -v /dev/hailo0` and stop it (the NPU cannot be shared with "
        "rpicam-apps or other Hailo programs)",
        73,
        74,
        device_listed=True,
    ),
    _rule(NpuAbsentError, "no Hailo board found; check the ribbon cable, `lspci -d 1e60:` and `dmesg | grep hailo`", 74),
    _rule(
        NpuPermissionError,
        "/dev/hailo0 cannot be opened; run install.sh again to install the udev rule for the daemon's user, then reboot",
        36,
        operations=("open",),
    ),
    _rule(
        NpuVersionError,
        "driver and HailoRT library have different versions; compare `modinfo hailo_pci` with `hailortcli --version`, install the "
        "same release of both (`sudo apt install --reinstall hailo-all`) and reboot",
        76,
        85,
        86,
    ),
    _rule(
        NpuVersionError,
        "the NPU's firmware is not loaded or does not match the HailoRT library; reinstall `hailo-all` and power the Pi off and on",
        6,
        15,
        16,
        18,
        23,
        operations=("open", "load", "configure", "control"),
    ),
    _rule(
        NpuVersionError,
        "the HailoRT service is missing or has another version; CardEdge does not use it: `sudo systemctl disable --now hailort`",
        77,
        78,
    ),
    _rule(
        NpuHefError,
        "the .hef was compiled for another chip; compile it for hailo8l (python -m tools.compile_hef), or check the board with "
        "`hailortcli fw-control identify`",
        26,
        75,
        93,
        operations=("configure",),
    ),
    _rule(
        NpuHefError,
        f"the .hef was made by a compiler that is newer than this HailoRT; update HailoRT or {COMPILERS}",
        92,
        operations=("load", "configure"),
    ),
    _rule(
        NpuHefError,
        f"the .hef is damaged, or was made by a compiler that is newer than this HailoRT; copy the model's directory again, or {COMPILERS}",
        26,
        operations=("load",),
    ),
    _rule(
        NpuHefError, "the .hef is damaged or cannot be read; copy the model's directory again", 13, 14, 91, operations=("load", "configure")
    ),
    _rule(
        NpuOverheatedError,
        "the NPU aborted its streams, most often from heat or undervoltage: improve the cooling, use the 27 W power supply, and check "
        "`dmesg`",
        63,
    ),
    _rule(NpuTimeoutError, "the NPU did not answer in time; if this persists, power the Pi off and on", 4),
    _rule(
        NpuRemovedError,
        "the NPU disappeared from the bus; check the ribbon cable and the power supply, then reboot",
        36,
        62,
        64,
        87,
        operations=("infer", "control", "scan"),
    ),
)
"""Errors by failure; the first matching rule applies."""

_GOALS: Final[dict[Operation, str]] = {
    "import": "load its library",
    "scan": "find it",
    "open": "open it",
    "load": "read the .hef",
    "configure": "load the model",
    "infer": "run the model",
    "control": "read its state",
}


def to_error(failure: NpuFailure) -> NpuError:
    """Return the error for a failure; its message says what to do."""
    text = failure.text if failure.status is None else f"{failure.text} [status {failure.status}]"
    rule = next((rule for rule in FAILURE_RULES if rule.matches(failure)), None)
    if rule is not None:
        return rule.error(f"{rule.advice} ({text})")
    return NpuError(f"the NPU failed (wanted: {_GOALS[failure.operation]}): {text}; run `cardedge check` and look at `dmesg | grep hailo`")
