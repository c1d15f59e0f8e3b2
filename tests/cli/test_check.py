"""``cardedge check``, the doctor: a line per part, the next step with every fault, the status of the worst one."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.bundles.calibration import Calibration
from edge.bundles.writer import set_calibration
from edge.cli import check
from edge.cli.main import main
from edge.errors import ExitCode
from edge.recognition.decision import AcceptanceThresholds
from edge.system import machine
from tests.support.mosquitto import Mosquitto, free_port, needs_mosquitto
from tests.support.small_scanner import NOTE, on_table, save, write_index, write_network

OK, WARN, FAIL = "ok", "warn", "fail"


@pytest.fixture
def doctor(small_world, tmp_path, capsys):
    """Run the command with ``--json`` on settings that work, but for what ``changes`` replaces; returns status and findings by name."""
    (tmp_path / "stills").mkdir()
    save(tmp_path / "stills" / "card.png", on_table(next(iter(small_world.pictures.values()))))

    def run(*options, **changes):
        values = {
            "device": {"id": "bench"},
            "camera": {"kind": "stills", "source": str(tmp_path / "stills")},
            "network": {"model": str(small_world.model)},
            "index": {"directory": str(small_world.index)},
            "mqtt": {"host": "127.0.0.1", "port": free_port()},
            "outbox": {"file": str(tmp_path / "outbox.sqlite")},
        }
        for section, keys in changes.items():
            values[section] = values.get(section, {}) | keys
        config = tmp_path / "cardedge.toml"
        lines = [
            f"[{section}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items()) for section, keys in values.items()
        ]
        config.write_text("".join(lines))
        status = main(["check", "--config", str(config), "--json", *map(str, options)])
        findings = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert all(list(finding) == ["check", "level", "message", "exit_code"] for finding in findings)
        assert all((finding["exit_code"] != 0) == (finding["level"] == FAIL) for finding in findings)
        return status, {finding["check"]: finding for finding in findings}

    return run


@needs_mosquitto
def test_all_is_well(doctor, small_world, tmp_path):
    broker = Mosquitto(tmp_path).start()
    try:
        status, findings = doctor(mqtt={"port": broker.port})
    finally:
        broker.stop()
    assert status == ExitCode.OK
    assert not [finding for finding in findings.values() if finding["level"] == FAIL]
    well = {"versions", "settings", "model", "training", "backend", "index", "camera", "broker", "outbox", "disk"}
    assert well <= {name for name, finding in findings.items() if finding["level"] == OK}
    assert "bench" in findings["settings"]["message"]
    assert "1280x720" in findings["camera"]["message"]
    assert "acknowledged" in findings["broker"]["message"]


def test_how_little_the_network_was_trained_is_repeated(doctor):
    _, findings = doctor()
    assert NOTE in findings["training"]["message"]


def test_wrong_settings_end_the_examination(tmp_path, capsys):
    config = tmp_path / "cardedge.toml"
    config.write_text("[camera]\nfsp = 3\n")
    assert main(["check", "--config", str(config)]) == ExitCode.CONFIG
    said = capsys.readouterr().out
    assert f"{config}:2: unknown key camera.fsp; did you mean camera.fps?" in said


def test_a_network_that_is_not_whole_is_named(doctor, tmp_path):
    model = write_network(tmp_path / "broken")
    with (model / "network.onnx").open("ab") as file:
        file.write(b"x")
    status, findings = doctor(network={"model": str(model)})
    assert status == ExitCode.BAD_DATA
    assert "network.onnx" in findings["network"]["message"]
    assert findings["index"]["level"] == OK, "the bundle is judged all the same"


def test_a_backend_the_network_was_not_compiled_for_is_not_replaced_by_another(doctor):
    status, findings = doctor(network={"backend": "hailo"})
    assert status == ExitCode.BAD_DATA
    assert "no `hef` artefact (onnx listed)" in findings["network"]["message"]


def test_a_bundle_of_another_network_is_refused(doctor, tmp_path):
    status, findings = doctor(network={"model": str(write_network(tmp_path / "other", seed=1))})
    assert status == ExitCode.BAD_DATA
    assert "embedded by network" in findings["index"]["message"]


def test_thresholds_say_where_they_come_from(doctor, small_world, tmp_path):
    index = write_index(tmp_path / "calibrated", small_world.model, small_world.pictures)
    _, findings = doctor(index={"directory": str(index)})
    assert "not calibrated for this bundle" in findings["thresholds"]["message"]
    set_calibration(index, Calibration(thresholds=AcceptanceThresholds(), source="measured on the test bench"))
    _, findings = doctor(index={"directory": str(index)})
    assert findings["thresholds"] == {
        "check": "thresholds",
        "level": OK,
        "message": "calibrated: measured on the test bench",
        "exit_code": 0,
    }


def test_an_index_without_cards_is_a_warning(doctor, small_world, tmp_path):
    _, findings = doctor(index={"directory": str(write_index(tmp_path / "empty", small_world.model, {}))})
    assert findings["index"]["level"] == WARN
    assert "every card will be unknown" in findings["index"]["message"]


def test_an_absent_camera_is_named_with_the_next_step(doctor):
    status, findings = doctor(camera={"kind": "v4l2", "source": "/dev/video97"})
    assert status == ExitCode.UNAVAILABLE
    assert "/dev/video97" in findings["camera"]["message"]


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        (np.full((720, 1280, 3), 5, np.uint8), "very dark"),
        (np.full((720, 1280, 3), 250, np.uint8), "washed out"),
        (cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8), (0, 0), 25), "blurred"),
    ],
)
def test_a_poor_picture_is_a_warning(doctor, tmp_path, picture, said):
    save(tmp_path / "stills" / "card.png", picture)
    _, findings = doctor()
    assert findings["picture"]["level"] == WARN
    assert said in findings["picture"]["message"]


def test_a_name_nobody_knows_is_no_address(doctor):
    status, findings = doctor(mqtt={"host": "no-such-broker.invalid"})
    assert status == ExitCode.UNAVAILABLE
    assert "no-such-broker.invalid" in findings["broker"]["message"]


def test_a_password_file_that_is_missing_is_a_wrong_setting(doctor, tmp_path):
    status, findings = doctor(mqtt={"username": "someone", "password_file": str(tmp_path / "none")})
    assert status == ExitCode.CONFIG
    assert "mqtt.password_file" in findings["broker"]["message"]


def test_a_missing_folder_of_the_outbox_is_named(doctor, tmp_path):
    status, findings = doctor(outbox={"file": str(tmp_path / "none" / "outbox.sqlite")})
    assert status == ExitCode.UNAVAILABLE
    assert str(tmp_path / "none") in findings["outbox"]["message"]


def test_the_status_is_that_of_the_worst_fault():
    def fault(code):
        return check.CheckResult(check="x", level=FAIL, message="", exit_code=code)

    assert check.exit_code([]) == ExitCode.OK
    assert check.exit_code([fault(69), fault(78), fault(65)]) == ExitCode.CONFIG
    assert check.exit_code([fault(69), fault(65)]) == ExitCode.BAD_DATA


@pytest.mark.parametrize(("synchronised", "level"), [(True, OK), (False, WARN), (None, WARN)])
def test_the_clock_is_asked(doctor, monkeypatch, synchronised, level):
    monkeypatch.setattr(machine, "clock_is_synchronised", lambda: synchronised)
    _, findings = doctor()
    assert findings["clock"]["level"] == level


@pytest.mark.parametrize(("free_mb", "level"), [(50_000.0, OK), (500.0, WARN), (20.0, FAIL)])
def test_the_disk_is_measured(doctor, monkeypatch, free_mb, level):
    monkeypatch.setattr(machine, "free_mb", lambda _: free_mb)
    _, findings = doctor()
    assert findings["disk"]["level"] == level


def test_heat_and_a_weak_power_supply_are_warnings(doctor, monkeypatch):
    monkeypatch.setattr(machine, "temperatures_c", lambda: {"cpu-thermal": 84.0})
    monkeypatch.setattr(machine, "throttling", lambda: ("under-voltage now",))
    _, findings = doctor()
    assert findings["temperature"]["level"] == WARN
    assert "84" in findings["temperature"]["message"]
    assert "under-voltage now" in findings["power"]["message"]


def test_the_kernels_figures_are_read(tmp_path):
    for number, (kind, millidegrees) in enumerate([("cpu-thermal", "48312\n"), ("rp1_adc", "51000\n"), ("broken", "")]):
        zone = tmp_path / f"thermal_zone{number}"
        zone.mkdir()
        (zone / "type").write_text(kind + "\n")
        (zone / "temp").write_text(millidegrees)
    assert machine.temperatures_c(tmp_path) == {"cpu-thermal": 48.312, "rp1_adc": 51.0}
    assert machine.temperatures_c(tmp_path / "none") == {}
    (tmp_path / "get_throttled").write_text("50005\n")
    said = machine.throttling(tmp_path / "get_throttled")
    assert said == ("under-voltage now", "throttled now", "under-voltage since start", "throttled since start")
    assert machine.throttling(tmp_path / "none") is None
    (tmp_path / "model").write_bytes(b"Raspberry Pi 5 Model B Rev 1.0\0")
    assert machine.board_name(tmp_path / "model") == "Raspberry Pi 5 Model B Rev 1.0"
    assert machine.free_mb(Path("/no/such/folder/at/all")) > 0.0
    assert machine.clock_is_synchronised() in {True, False, None}


def test_a_person_reads_one_screen(small_world, tmp_path, capsys):
    config = tmp_path / "cardedge.toml"
    config.write_text(
        f'[device]\nid = "bench"\n[camera]\nkind = "v4l2"\nsource = "/dev/video97"\n[network]\nmodel = "{small_world.model}"\n'
    )
    main(["check", "--config", str(config)])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24
    assert lines[0].startswith("OK   versions")
    assert any(line.startswith("FAIL camera") for line in lines)


def test_at_rest_camera_and_broker_are_left_alone(doctor):
    status, findings = doctor("--at-rest", camera={"kind": "v4l2", "source": "/dev/no-camera"})
    assert status == ExitCode.OK
    assert {"settings", "model", "backend", "index", "outbox"} <= set(findings)
    assert not {"camera", "picture", "broker", "clock", "temperature"} & set(findings)


def test_at_rest_an_npu_without_its_network_is_found(doctor):
    status, findings = doctor("--at-rest", network={"backend": "hailo"})
    assert status == ExitCode.BAD_DATA
    assert "no `hef` artefact" in findings["network"]["message"]


def test_another_index_is_examined_in_the_place_of_the_settings(doctor, small_world, tmp_path):
    status, findings = doctor("--at-rest", "--index", small_world.index, index={"directory": str(tmp_path / "none")})
    assert (status, findings["index"]["level"]) == (ExitCode.OK, OK)
    status, findings = doctor("--at-rest", "--index", tmp_path / "none")
    assert (status, findings["index"]["level"]) == (ExitCode.BAD_DATA, FAIL)
