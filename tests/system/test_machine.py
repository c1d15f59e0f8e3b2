"""Facts about the machine, read from files like the kernel's."""

from pathlib import Path

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
