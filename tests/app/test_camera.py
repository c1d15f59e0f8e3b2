"""The camera that the settings name: no text about it contains the login or a parameter of its address."""

import json
import logging

import numpy as np
import pytest

from edge.app.camera import open_camera, source_label
from edge.cli.main import main
from edge.errors import CameraError, ExitCode, SettingsError
from edge.settings.file import load_settings
from edge.settings.sections import CameraSection
from tests.support.mjpeg_server import mjpeg_server

PASSWORD = "heim42"  # noqa: S105 - for these tests only
SCENES = [np.random.default_rng(seed).integers(60, 190, (480, 640, 3), dtype=np.uint8) for seed in range(3)]

ADDRESSES = (
    f"http://viewer:{PASSWORD}@127.0.0.1:9/mjpg",
    f"http://viewer:ge@{PASSWORD}@127.0.0.1:9/mjpg",
    f"http://viewer:ge/{PASSWORD}@127.0.0.1:9/mjpg",
    f"http://127.0.0.1:9/cgi?usr=viewer&pwd={PASSWORD}",
    f"http://127.0.0.1:9/user=viewer_password={PASSWORD}_channel=1.sdp",
    f"viewer:{PASSWORD}@127.0.0.1:9/mjpg",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_password_is_in_no_text_about_a_camera(address, caplog):
    settings = CameraSection(kind="stream", source=address, open_timeout_s=1.0)
    caplog.set_level(logging.DEBUG)
    with pytest.raises(CameraError) as raised, open_camera(settings, recover=False) as camera:
        camera.get_frame(5.0)
    texts = [source_label(settings), str(raised.value), camera.status().last_error or "", caplog.text]
    assert PASSWORD not in "".join(texts)
    assert "viewer" not in "".join(texts)


def test_check_leaves_out_the_password_of_a_camera_that_works(tmp_path, capsys):
    with mjpeg_server(SCENES) as server:
        address = server.url.replace("//", f"//viewer:{PASSWORD}@") + f"?pwd={PASSWORD}"
        (tmp_path / "cardedge.toml").write_text(f'[device]\nid = "x"\n[camera]\nkind = "stream"\nsource = "{address}"\n')
        main(["check", "--config", str(tmp_path / "cardedge.toml"), "--json"])
    output = capsys.readouterr().out
    result = next(result for result in map(json.loads, output.splitlines()) if result["check"] == "camera")
    assert result["level"] == "ok"
    assert f"…@127.0.0.1:{server.server_address[1]}/stream.mjpg?…" in result["message"]
    assert PASSWORD not in output


@pytest.mark.parametrize("credential", [False, True])
def test_user_and_password_of_the_settings_open_the_stream(credential, tmp_path, monkeypatch):
    password = "p@s/s?#%: ü"  # noqa: S105 - for this test only
    (tmp_path / "camera-password").write_text(password + "\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path if credential else tmp_path / "none"))
    with mjpeg_server(SCENES, login=f"viewer:{password}") as server:
        settings = CameraSection(
            kind="stream", source=server.url, username="viewer", password_file=None if credential else tmp_path / "camera-password"
        )
        with open_camera(settings, recover=False) as camera:
            assert camera.get_frame(10.0) is not None


def test_a_password_that_cannot_be_read_is_a_wrong_setting(tmp_path):
    settings = CameraSection(kind="stream", source="rtsp://camera/1", username="viewer", password_file=tmp_path / "none")
    with pytest.raises(SettingsError, match=r"camera\.password_file"):
        open_camera(settings)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (f'source = "rtsp://viewer:{PASSWORD}@camera/1"', 'set kind = "stream"'),
        (f'kind = "film"\nsource = "rtsp://camera/1?pwd={PASSWORD}"', 'set kind = "stream"'),
        (f'kind = "stream"\nusername = "x"\nsource = "rtsp://viewer:{PASSWORD}@camera/1"', "remove it from source"),
        ('kind = "stream"\nsource = "rtsp://camera/1"\npassword_file = "p"', "set username too"),
        ('kind = "v4l2"\nsource = "/dev/video0"\nusername = "x"', "remove username"),
        (f'kind = "rtsp://viewer:{PASSWORD}@camera/1"', "allowed is"),
        (f'kind = "stream"\nsource = ["rtsp://viewer:{PASSWORD}@camera/1"]', "a string"),
    ],
)
def test_wrong_settings_are_named_without_the_password(keys, problem, tmp_path, capsys):
    config = tmp_path / "cardedge.toml"
    config.write_text(f"[camera]\n{keys}\n")
    with pytest.raises(SettingsError) as raised:
        load_settings(config)
    assert problem in str(raised.value)
    assert PASSWORD not in str(raised.value)
    assert raised.value.exit_code == ExitCode.CONFIG
