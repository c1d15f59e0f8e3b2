"""The checks of ``cardedge check``: a result per part, what to do about every failure, the exit status of the most severe one."""

import json
import tempfile

import cv2
import numpy as np
import pytest

from edge.adapters import ocr
from edge.app.storage import memory_storage
from edge.bundles.calibration import Calibration
from edge.bundles.writer import set_calibration
from edge.cli.main import main
from edge.errors import ExitCode
from edge.recognition.decision import AcceptanceThresholds
from edge.settings.sections import Settings
from edge.system import machine
from tests.support.mosquitto import Mosquitto, free_port, needs_mosquitto
from tests.support.small_scanner import NOTE, on_table, save, write_index, write_projection_model

OK, WARN, FAIL = "ok", "warn", "fail"


@pytest.fixture
def check(small_scanner, tmp_path, capsys, monkeypatch):
    """Return a function that runs the command on working settings, with ``changes``, and returns exit status and results by name."""
    monkeypatch.setattr(machine, "memory_file_system", lambda _: None)  # the temporary folder of tests may be in memory
    (tmp_path / "stills").mkdir()
    save(tmp_path / "stills" / "card.png", on_table(next(iter(small_scanner.images.values()))))

    def run(*options, **changes):
        values = {
            "device": {"id": "bench"},
            "camera": {"kind": "stills", "source": str(tmp_path / "stills")},
            "network": {"model": str(small_scanner.model)},
            "index": {"directory": str(small_scanner.index)},
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
        results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert all(list(result) == ["check", "level", "message", "exit_code"] for result in results)
        assert all((result["exit_code"] != 0) == (result["level"] == FAIL) for result in results)
        return status, {result["check"]: result for result in results}

    return run


@needs_mosquitto
def test_a_working_scanner_passes_every_check(check, small_scanner, tmp_path):
    broker = Mosquitto(tmp_path).start()
    try:
        status, results = check(mqtt={"port": broker.port})
    finally:
        broker.stop()
    assert status == ExitCode.OK
    assert not [result for result in results.values() if result["level"] == FAIL]
    passed = {"versions", "settings", "model", "training", "backend", "index", "camera", "broker", "outbox", "disk"}
    assert passed <= {name for name, result in results.items() if result["level"] == OK}
    assert "bench" in results["settings"]["message"]
    assert "1280x720" in results["camera"]["message"]
    assert "acknowledged" in results["broker"]["message"]


def test_the_note_about_the_training_is_reported(check):
    _, results = check()
    assert NOTE in results["training"]["message"]


def test_wrong_settings_end_the_run(tmp_path, capsys):
    config = tmp_path / "cardedge.toml"
    config.write_text("[camera]\nfsp = 3\n")
    assert main(["check", "--config", str(config)]) == ExitCode.CONFIG
    output = capsys.readouterr().out
    assert f"{config}:2: unknown key camera.fsp; did you mean camera.fps?" in output


def test_a_damaged_model_is_reported(check, tmp_path):
    model = write_projection_model(tmp_path / "broken")
    with (model / "network.onnx").open("ab") as file:
        file.write(b"x")
    status, results = check(network={"model": str(model)})
    assert status == ExitCode.BAD_DATA
    assert "network.onnx" in results["network"]["message"]
    assert results["index"]["level"] == OK, "the bundle is checked all the same"


def test_a_backend_without_an_artifact_is_not_replaced_by_another(check):
    status, results = check(network={"backend": "hailo"})
    assert status == ExitCode.BAD_DATA
    assert "no `hef` artifact (onnx listed)" in results["network"]["message"]


def test_a_bundle_of_another_model_is_refused(check, tmp_path):
    status, results = check(network={"model": str(write_projection_model(tmp_path / "other", seed=1))})
    assert status == ExitCode.BAD_DATA
    assert "embedded by model" in results["index"]["message"]


def test_the_source_of_the_thresholds_is_reported(check, small_scanner, tmp_path):
    index = write_index(tmp_path / "calibrated", small_scanner.model, small_scanner.images)
    _, results = check(index={"directory": str(index)})
    assert "not calibrated for this bundle" in results["thresholds"]["message"]
    set_calibration(index, Calibration(thresholds=AcceptanceThresholds(), source="measured on the test bench"))
    _, results = check(index={"directory": str(index)})
    assert results["thresholds"] == {
        "check": "thresholds",
        "level": OK,
        "message": "calibrated: measured on the test bench",
        "exit_code": 0,
    }


def test_an_empty_index_is_a_warning(check, small_scanner, tmp_path):
    _, results = check(index={"directory": str(write_index(tmp_path / "empty", small_scanner.model, {}))})
    assert results["index"]["level"] == WARN
    assert "every card will be unknown" in results["index"]["message"]


def test_a_missing_camera_is_reported_with_its_name(check):
    status, results = check(camera={"kind": "v4l2", "source": "/dev/video97"})
    assert status == ExitCode.UNAVAILABLE
    assert "/dev/video97" in results["camera"]["message"]


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (np.full((720, 1280, 3), 5, np.uint8), "very dark"),
        (np.full((720, 1280, 3), 250, np.uint8), "washed out"),
        (cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8), (0, 0), 25), "blurred"),
    ],
)
def test_a_poor_image_is_a_warning(check, tmp_path, image, problem):
    save(tmp_path / "stills" / "card.png", image)
    _, results = check()
    assert results["picture"]["level"] == WARN
    assert problem in results["picture"]["message"]


def test_an_unknown_host_name_is_reported(check):
    status, results = check(mqtt={"host": "no-such-broker.invalid"})
    assert status == ExitCode.UNAVAILABLE
    assert "no-such-broker.invalid" in results["broker"]["message"]


def test_a_missing_password_file_is_a_wrong_setting(check, tmp_path):
    status, results = check(mqtt={"username": "someone", "password_file": str(tmp_path / "none")})
    assert status == ExitCode.CONFIG
    assert "mqtt.password_file" in results["broker"]["message"]


def test_a_missing_outbox_folder_is_reported(check, tmp_path):
    status, results = check(outbox={"file": str(tmp_path / "none" / "outbox.sqlite")})
    assert status == ExitCode.UNAVAILABLE
    assert str(tmp_path / "none") in results["outbox"]["message"]


@pytest.mark.parametrize(("synchronised", "level"), [(True, OK), (False, WARN), (None, WARN)])
def test_clock_synchronization_is_reported(check, monkeypatch, synchronised, level):
    monkeypatch.setattr(machine, "clock_is_synchronized", lambda: synchronised)
    _, results = check()
    assert results["clock"]["level"] == level


@pytest.mark.parametrize(("free_mb", "level"), [(50_000.0, OK), (500.0, WARN), (20.0, FAIL)])
def test_free_disk_space_is_reported(check, monkeypatch, free_mb, level):
    monkeypatch.setattr(machine, "free_mb", lambda _: free_mb)
    _, results = check()
    assert results["disk"]["level"] == level


def test_state_in_memory_is_a_warning(check, monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "memory_file_system", lambda folder: "tmpfs" if folder == tmp_path else None)
    status, results = check("--at-rest")
    assert (status, results["disk"]["level"]) == (ExitCode.OK, WARN)
    assert f"outbox {tmp_path} (tmpfs): stored in memory" in results["disk"]["message"]
    monkeypatch.setattr(machine, "memory_file_system", lambda _: None)
    assert check("--at-rest")[1]["disk"]["level"] == OK


def test_health_does_not_report_temporary_state(monkeypatch):
    monkeypatch.setattr(machine, "memory_file_system", lambda _: "tmpfs")
    kept = Settings.model_validate({"outbox": {"file": "/var/lib/cardedge/o.sqlite"}, "index": {"directory": "/var/lib/cardedge/index"}})
    assert "index /var/lib/cardedge/index (tmpfs)" in memory_storage(kept, temporary=False)
    folder = tempfile.gettempdir()
    demo = Settings.model_validate({"outbox": {"file": f"{folder}/o.sqlite"}, "index": {"directory": f"{folder}/index"}})
    assert memory_storage(demo, temporary=False) is None
    assert memory_storage(demo) is not None


def test_heat_and_a_weak_power_supply_are_warnings(check, monkeypatch):
    monkeypatch.setattr(machine, "temperatures_c", lambda: {"cpu-thermal": 84.0})
    monkeypatch.setattr(machine, "throttling", lambda: ("under-voltage now",))
    _, results = check()
    assert results["temperature"]["level"] == WARN
    assert "84" in results["temperature"]["message"]
    assert "under-voltage now" in results["power"]["message"]


def test_at_rest_skips_camera_and_broker(check):
    status, results = check("--at-rest", camera={"kind": "v4l2", "source": "/dev/no-camera"})
    assert status == ExitCode.OK
    assert {"settings", "model", "backend", "index", "outbox"} <= set(results)
    assert not {"camera", "picture", "broker", "clock", "temperature"} & set(results)


def test_at_rest_a_missing_npu_artifact_is_reported(check):
    status, results = check("--at-rest", network={"backend": "hailo"})
    assert status == ExitCode.BAD_DATA
    assert "no `hef` artifact" in results["network"]["message"]


def test_another_index_is_checked_instead_of_the_one_in_the_settings(check, small_scanner, tmp_path):
    status, results = check("--at-rest", "--index", small_scanner.index, index={"directory": str(tmp_path / "none")})
    assert (status, results["index"]["level"]) == (ExitCode.OK, OK)
    status, results = check("--at-rest", "--index", tmp_path / "none")
    assert (status, results["index"]["level"]) == (ExitCode.BAD_DATA, FAIL)


def test_the_reader_of_collector_numbers_is_started(check):
    pytest.importorskip("rapidocr", reason="the extra ocr is not installed")
    _, results = check()
    assert results["numbers"]["level"] == OK
    assert "collector numbers are read: RapidOCR" in results["numbers"]["message"]


@pytest.mark.parametrize(
    ("wanted", "level", "said"),
    [
        ("auto", OK, "the extra is not installed; sudo ./install.sh --with ocr adds it"),
        ("never", OK, 'recognition.read_numbers is "never"'),
        ("always", FAIL, "sudo ./install.sh --with ocr"),
    ],
)
def test_without_the_extra_the_check_says_how_to_add_it(check, monkeypatch, wanted, level, said):
    monkeypatch.setattr(ocr, "find_spec", lambda _: None)
    _, results = check(recognition={"read_numbers": wanted})
    assert results["numbers"]["level"] == level
    assert said in results["numbers"]["message"]
