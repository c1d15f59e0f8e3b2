"""All failures of a Hailo board: configuration of the double, error class, and part of the advice.

The situations are those of the table in docs/npu.md, which a test holds against this one.
"""

import re
from dataclasses import dataclass

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
from tests.support.hailo_double import Board, Fault
from tests.support.paths import ROOT


@dataclass(frozen=True)
class Failure:
    """``board`` are the fields of the board (failures of opening), ``fault`` is the fault of a board in operation."""

    error: type
    advice: str
    board: dict | None = None
    fault: Fault | None = None

    def make_board(self):
        fields = dict(self.board or {})
        return Board(**{**fields, "faults": [Fault(fault.at, fault.status, fault.times) for fault in fields.get("faults", ())]})


def promises():
    """Return the errors documented in docs/npu.md, by situation: class and advice."""
    page = (ROOT / "docs" / "npu.md").read_text(encoding="utf-8")
    rows = [re.split(r"(?<!\\)\|", line) for line in page.splitlines() if re.match(r"\| [^|]+ \| `Npu\w*Error` \|", line)]
    return {situation.strip(): (error.strip(" `"), words.strip().replace("\\|", "|")) for _, situation, error, words, _ in rows}


def promised(situation):
    """Return the row of one situation."""
    return promises()[situation]


def struck(at, status):
    return {"faults": [Fault(at, status)]}


OPENING = {
    "no board, or its driver not loaded": Failure(NpuAbsentError, "modprobe hailo_pci", {"present": False}),
    "the driver cannot be asked for devices": Failure(NpuRemovedError, "ribbon cable", struck("scan", 36)),
    "another process holds the board": Failure(NpuBusyError, "fuser -v /dev/hailo0", {"busy": True}),
    "the user may not open /dev/hailo0": Failure(NpuPermissionError, "udev", {"permission": False}),
    "driver and library of different versions (76)": Failure(NpuVersionError, "hailortcli --version", {"driver": "4.20.0"}),
    "driver and library of different versions (85)": Failure(NpuVersionError, "hailortcli --version", struck("vdevice", 85)),
    "driver and library of different versions (86)": Failure(NpuVersionError, "hailortcli --version", struck("vdevice", 86)),
    "library and Python package of different versions": Failure(NpuVersionError, "hailo-all", {"import_error": "libhailort.so.4.20.0"}),
    "HailoRT 5": Failure(NpuVersionError, "HailoRT 5.2.0 serves the Hailo-10H", {"library": "5.2.0", "driver": "5.2.0"}),
    "HailoRT before 4.20": Failure(NpuVersionError, "HailoRT 4.19.0 is too old", {"library": "4.19.0", "driver": "4.19.0"}),
    "firmware does not fit the library": Failure(NpuVersionError, "firmware", struck("vdevice", 16)),
    "firmware not loaded": Failure(NpuVersionError, "firmware is not loaded", struck("configure", 6)),
    "HEF of another chip, HailoRT 4.21 and later": Failure(NpuHefError, "another chip", {"architecture": "HAILO8"}),
    "HEF of another chip, HailoRT 4.20": Failure(NpuHefError, "another chip", struck("configure", 26)),
    "HEF for a Hailo-10 or -15": Failure(NpuHefError, "another chip", struck("configure", 93)),
    "HEF from a newer compiler": Failure(NpuHefError, "compiler that is newer", {"newest_compiler": (3, 30)}),
    "HEF damaged or cut short": Failure(NpuHefError, "damaged", struck("create", 91)),
    "HEF damaged or from a newer compiler, HailoRT 4.20": Failure(NpuHefError, "damaged, or was made by", struck("create", 26)),
    "HailoRT's service of another version": Failure(NpuVersionError, "disable --now hailort", struck("vdevice", 78)),
    "HailoRT's service absent": Failure(NpuVersionError, "disable --now hailort", struck("vdevice", 77)),
    "anything else while opening": Failure(NpuError, "cardedge check", struck("configure", 7)),
}

WORKING = {
    "too hot: the board closed its streams": Failure(NpuOverheatedError, "27 W power supply", fault=Fault("job", 63)),
    "pulled out, or the driver unloaded (36)": Failure(NpuRemovedError, "ribbon cable", fault=Fault("job", 36)),
    "pulled out, or the driver unloaded (62)": Failure(NpuRemovedError, "ribbon cable", fault=Fault("job", 62)),
    "the driver waits for the board in vain (87)": Failure(NpuRemovedError, "then reboot", fault=Fault("job", 87)),
    "a job runs into the runtime's time-out": Failure(NpuTimeoutError, "did not answer in time", fault=Fault("job", 4)),
    "a job never ends": Failure(NpuTimeoutError, "did not answer in time", fault=Fault("job")),
    "the runtime has no room for a job": Failure(NpuTimeoutError, "did not answer in time", fault=Fault("ready", 4)),
    "a submission is refused": Failure(NpuError, "cardedge check", fault=Fault("submit", 6)),
}
