"""Facts about the machine, read from files like the kernel's."""

import platform
from pathlib import Path

import pytest

from edge.system import machine


def test_the_kernels_files_are_parsed(tmp_path):
    for number, (kind, millidegrees) in enumerate([("cpu-thermal", "48312\n"), ("rp1_adc", "51000\n"), ("broken", "")]):
        zone = tmp_path / f"thermal_zone{number}"
        zone.mkdir()
        (zone / "type").write_text(kind + "\n")
        (zone / "temp").write_text(millidegrees)
    assert machine.temperatures_c(tmp_path) == {"cpu-thermal": 48.312, "rp1_adc": 51.0}
    assert machine.temperatures_c(tmp_path / "none") == {}
    (tmp_path / "get_throttled").write_text("50005\n")
    reasons = machine.throttling(tmp_path / "get_throttled")
    assert reasons == ("under-voltage now", "throttled now", "under-voltage since start", "throttled since start")
    assert machine.throttling(tmp_path / "none") is None
    (tmp_path / "model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    assert machine.board_name(tmp_path / "model") == "Raspberry Pi 5 Model B Rev 1.0"
    assert machine.free_mb(Path("/no/such/folder/at/all")) > 0.0
    assert machine.clock_is_synchronized() in {True, False, None}


ROOT = "25 1 8:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw"
OVERLAY = "25 1 0:30 / / rw - overlay overlayroot rw,lowerdir=/media/root-ro,upperdir={upper},workdir=/w"


@pytest.mark.parametrize(
    ("mounts", "in_container", "kind"),
    [
        ([ROOT], False, None),
        ([ROOT, "31 25 0:40 / {parent} rw - tmpfs tmpfs rw,size=100k"], False, "tmpfs"),
        ([ROOT, "31 25 0:40 / {parent} rw - tmpfs tmpfs rw", "32 31 8:3 / {state} rw - ext4 /dev/mmcblk0p3 rw"], False, None),
        ([ROOT, "31 25 0:40 / {state}-other rw - tmpfs tmpfs rw"], False, None),
        ([OVERLAY.format(upper="/no/such/upper")], False, "overlay"),
        ([OVERLAY.format(upper="/no/such/upper")], True, None),
        ([OVERLAY.format(upper="{upper}"), "31 25 0:40 / {upper} rw - tmpfs tmpfs-root rw"], False, "overlay"),
        ([OVERLAY.format(upper="{upper}"), "31 25 8:3 / {upper} rw - ext4 /dev/mmcblk0p3 rw"], False, None),
        ([OVERLAY.format(upper="{upper}"), "32 25 8:3 / {state} rw - ext4 /dev/mmcblk0p3 rw"], False, None),
    ],
)
def test_a_file_system_in_memory_is_recognized(mounts, in_container, kind, tmp_path, monkeypatch):
    state, upper = tmp_path / "with space" / "state", tmp_path / "upper"
    state.mkdir(parents=True)
    upper.mkdir()
    names = {"parent": state.parent, "state": state, "upper": upper}
    (tmp_path / "mountinfo").write_text("\n".join(mounts).format(**{name: str(path).replace(" ", "\\040") for name, path in names.items()}))
    monkeypatch.setattr(machine, "CONTAINER_MARKERS", (tmp_path,) if in_container else ())
    assert machine.memory_file_system(state / "not" / "yet", tmp_path / "mountinfo") == kind
    assert machine.memory_file_system(state, tmp_path / "none") is None


def test_sensors_that_cannot_be_listed_report_nothing(monkeypatch, tmp_path):
    def fails(*_):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Path, "glob", fails)
    assert machine.temperatures_c(tmp_path) == {}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep no memory")
def test_free_memory_between_what_is_in_use_is_returned():
    blocks = [b"x" * 100_000 for _ in range(1000)]
    in_use = blocks[::50]
    del blocks
    before_mb = machine.resident_mb()
    machine.return_free_memory()
    assert machine.resident_mb() < before_mb - 70
    assert len(in_use) == 20
