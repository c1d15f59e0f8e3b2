"""The settings file: allowed values, and the messages about errors in it."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from edge.errors import ExitCode, SettingsError
from edge.recognition.decision import AcceptanceThresholds
from edge.settings.file import load_settings
from edge.settings.secret import read_secret
from edge.settings.sections import LocateSection, Settings, ThresholdsSection, TrackSection
from edge.system.device_id import derive_device_id
from edge.tracking.tracker import TrackPolicy
from edge.vision.locate import LocateSettings
from tests.support.paths import ROOT
from tools.make_settings_doc import PAGE, plain_keys, sections, settings_page


@pytest.fixture
def settings_file(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "cardedge.toml"
        path.write_text(text)
        return path

    return write


def message_for(path: Path) -> str:
    with pytest.raises(SettingsError) as error:
        load_settings(path)
    assert error.value.exit_code == ExitCode.CONFIG
    return str(error.value)


def test_an_empty_file_gives_the_defaults(settings_file):
    assert load_settings(settings_file("")) == Settings()


def test_values_of_every_kind_are_read(settings_file):
    settings = load_settings(
        settings_file(
            '[camera]\nkind = "film"\nsource = "a.mp4"\nfps = 5\n[network]\nmodel = "/m"\narena = true\n[mqtt.tls]\nenabled = true\n'
        )
    )
    assert settings.camera.kind == "film"
    assert settings.camera.fps == 5.0
    assert settings.network.model == Path("/m")
    assert settings.network.arena
    assert settings.mqtt.tls.enabled


@pytest.mark.parametrize(
    ("text", "line", "parts"),
    [
        ('[camera]\nfps = "fast"\n', 2, ["camera.fps = 'fast'", "a number", "0.1", "240"]),
        ("[camera]\n\n# why\nfps = 0\n", 4, ["camera.fps = 0", "at least 0.1"]),
        ('[camera]\nkind = "webcam"\n', 2, ["camera.kind = 'webcam'", '"film"', '"v4l2"']),
        ('[device]\nid = "kitchen scanner"\n', 2, ["device.id = 'kitchen scanner'", "[a-zA-Z0-9_-]"]),
        ("[camera]\nwidht = 3\n", 2, ["unknown key camera.widht", "did you mean camera.width?"]),
        ("[camra]\nwidth = 3\n", 1, ["unknown key camra", "did you mean camera?"]),
        ("[log]\ncolour = 1\n", 2, ["unknown key log.colour", "known here: level"]),
        ("camera = 5\n", 1, ["camera = 5", "a section"]),
        ("[mqtt.tls]\nenabled = 7\n", 2, ["mqtt.tls.enabled = 7", "true or false"]),
        ('[mqtt]\ntls.key_file = "k"\n', 2, ["mqtt.tls", "certificate_file and key_file belong together"]),
        ('[mqtt]\nhost = "h"\npassword_file = "p"\n', 1, ["mqtt", "username"]),
        ("[track]\nremoved_after_s = -1\n", 2, ["track.removed_after_s = -1", "at least 0.1"]),
    ],
)
def test_an_error_names_file_line_key_value_and_allowed_values(settings_file, text, line, parts):
    path = settings_file(text)
    message = message_for(path)
    assert message.startswith(f"{path}:{line}: ")
    for part in parts:
        assert part in message


def test_all_errors_are_reported_in_the_order_of_the_file(settings_file):
    message = message_for(settings_file("[log]\nlevel = 3\n[camera]\nfps = 0\nkind = 1\n"))
    assert [int(line) for line in re.findall(r"toml:(\d+):", message)] == [2, 4, 5]


def test_broken_toml_names_the_line(settings_file):
    path = settings_file("[camera]\nkind = film\n")
    message = message_for(path)
    assert str(path) in message
    assert "line 2" in message


def test_the_message_about_a_missing_file_names_a_template(tmp_path):
    message = message_for(tmp_path / "none.toml")
    assert "no such settings file" in message
    assert "systemd/cardedge.toml" in message


def test_a_file_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "cardedge.toml"
    path.write_bytes('[device]\nname = "Küche"\n'.encode("latin-1"))
    assert "UTF-8" in message_for(path)


def test_a_byte_order_mark_is_ignored(tmp_path):
    path = tmp_path / "cardedge.toml"
    path.write_bytes('[device]\r\nname = "Küche"\r\n[camera]\r\nfps = 5\r\n'.encode("utf-8-sig"))
    assert load_settings(path).device.name == "Küche"
    path.write_bytes(b"\xef\xbb\xbf[camera]\r\nfps = 0\r\n")
    assert message_for(path).startswith(f"{path}:2: camera.fps = 0")


@pytest.mark.parametrize("content", [b"p\xc3\xa4ss", b"p\xc3\xa4ss\r\n", b"\xef\xbb\xbfp\xc3\xa4ss\r\n"])
def test_a_secret_is_read_without_byte_order_mark_and_line_end(content, tmp_path, monkeypatch):
    (tmp_path / "secret").write_bytes(content)
    assert read_secret(tmp_path / "secret", credential="none", key="mqtt.password_file") == "päss"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_secret(None, credential="secret", key="mqtt.password_file") == "päss"
    assert read_secret(None, credential="none", key="mqtt.password_file") is None


def test_a_directory_is_refused(tmp_path):
    assert str(tmp_path) in message_for(tmp_path)


def test_sections_take_their_defaults_from_the_packages():
    assert LocateSection().settings() == LocateSettings()
    assert TrackSection().policy() == TrackPolicy()


def test_track_settings_reach_the_tracker():
    policy = TrackSection(removed_after_s=9, confirm_votes=4).policy()
    assert policy.removed_after_s == 9
    assert policy.evidence.confirm_votes == 4


def test_thresholds_override_only_what_is_set():
    calibrated = AcceptanceThresholds(min_similarity=0.4, min_verification=0.7, uncertain_verification=0.55, min_margin=0.1)
    changed = ThresholdsSection(min_verification=0.8).over(calibrated)
    assert changed.min_verification == 0.8
    assert changed.min_similarity == 0.4
    assert ThresholdsSection().over(calibrated) == calibrated
    bounds = {field.name for field in fields(AcceptanceThresholds)} - {"weights"}  # calibrated with the bundle, never set by hand
    assert set(ThresholdsSection.model_fields) == bounds


def test_the_settings_document_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == settings_page(), "run python -m tools.make_settings_doc"


def test_every_key_has_a_description():
    missing = [f"{name}.{key}" for name, model in sections(Settings) for key, field in plain_keys(model).items() if not field.description]
    assert missing == []


def test_the_shipped_settings_file_is_valid_with_and_without_its_comments(settings_file):
    shipped = (ROOT / "systemd" / "cardedge.toml").read_text()
    assert load_settings(settings_file(shipped)) == Settings()
    everything = re.sub(r"(?m)^#(?=\w+ = )", "", shipped).replace("enabled = false", "enabled = true")
    assert sum(len(section) for section in tomllib.loads(everything).values()) > 20
    load_settings(settings_file(everything))


def test_the_shipped_settings_file_shows_the_defaults(settings_file):
    """A line whose key has a default value shows it."""
    shipped = re.sub(r"(?m)^#(?=\w+ = )", "", (ROOT / "systemd" / "cardedge.toml").read_text())
    defaults = Settings().model_dump(mode="json")
    for section, values in tomllib.loads(shipped).items():
        for key, value in values.items():
            if not isinstance(value, dict) and defaults[section][key] is not None:
                assert value == defaults[section][key], f"{section}.{key}"


def test_the_device_id_is_the_serial_number_of_a_pi(tmp_path):
    (tmp_path / "serial").write_bytes(b"100000004b3c2d1e\0")
    assert derive_device_id(tmp_path / "serial", tmp_path / "none") == "100000004b3c2d1e"


def test_without_one_it_is_derived_from_the_machine_id_and_does_not_reveal_it(tmp_path):
    machine_id = "0123456789abcdef0123456789abcdef"
    (tmp_path / "machine-id").write_text(machine_id + "\n")
    first = derive_device_id(tmp_path / "none", tmp_path / "machine-id")
    assert first == derive_device_id(tmp_path / "none", tmp_path / "machine-id")
    assert re.fullmatch(r"[a-zA-Z0-9_-]{8,}", first)
    assert first not in machine_id
    (tmp_path / "machine-id").write_text("f" * 32)
    assert derive_device_id(tmp_path / "none", tmp_path / "machine-id") != first


def test_a_machine_without_any_id_needs_one_in_the_settings(tmp_path):
    (tmp_path / "machine-id").write_text("")
    with pytest.raises(SettingsError, match=r"device\.id"):
        derive_device_id(tmp_path / "none", tmp_path / "machine-id")
