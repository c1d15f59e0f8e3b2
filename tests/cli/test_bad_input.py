"""Wrong input of every kind: a clear message, the documented exit status, no partial output."""

import json
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from edge.bundles.manifest import read_manifest
from edge.bundles.writer import digest_files
from edge.cli.main import main
from edge.errors import ExitCode
from tests.support.mosquitto import Mosquitto, free_port, needs_mosquitto
from tests.support.paths import ROOT
from tests.support.small_scanner import save, write_index, write_projection_model
from tools import build_index


@pytest.fixture
def cardedge(capsys):
    """Return a function that runs a command and returns exit status, standard output and standard error."""

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return run


@pytest.fixture
def image(small_scanner, tmp_path):
    return save(tmp_path / "card.png", small_scanner.unknown_card)


@pytest.fixture
def index(small_scanner, tmp_path):
    """A copy of the bundle that a test may damage."""
    return Path(shutil.copytree(small_scanner.index, tmp_path / "bundle"))


@pytest.fixture
def identify(cardedge, small_scanner, image, index):
    def run(*arguments):
        return cardedge("identify", *(arguments or [image]), "--rectified", "--json", "--index", index, "--model", small_scanner.model)

    return run


def reseal(index):
    """Write the hashes of modified files to the manifest, as a faulty builder of bundles would."""
    manifest = read_manifest(index).model_copy(update={"files": digest_files(index, read_manifest(index).files)}).sealed()
    (index / "manifest.json").write_text(manifest.to_json())


def test_a_wrong_hash(identify, index):
    content = bytearray((index / "cards.sqlite").read_bytes())
    content[-1] ^= 1
    (index / "cards.sqlite").write_bytes(content)
    status, answers, errors = identify()
    assert (status, answers) == (ExitCode.BAD_DATA, "")
    assert str(index / "cards.sqlite") in errors
    assert "copy or build the bundle again" in errors


def test_a_truncated_file(identify, index):
    with (index / "vectors.npy").open("rb+") as file:
        file.truncate(300)
    status, answers, errors = identify()
    assert (status, answers) == (ExitCode.BAD_DATA, "")
    assert f"{index / 'vectors.npy'}: 300 bytes" in errors


def test_a_vector_that_is_not_a_number(identify, index):
    vectors = np.load(index / "vectors.npy")
    vectors[3, 5] = np.nan
    np.save(index / "vectors.npy", vectors)
    reseal(index)
    status, answers, errors = identify()
    assert (status, answers) == (ExitCode.BAD_DATA, "")
    assert "vectors.npy: entry 3 holds NaN or infinity" in errors


def test_another_model(cardedge, image, index, tmp_path):
    other = write_projection_model(tmp_path / "other", seed=1)
    status, answers, errors = cardedge("identify", image, "--index", index, "--model", other)
    assert (status, answers) == (ExitCode.BAD_DATA, "")
    assert "embedded by model" in errors
    assert "build the bundle again" in errors


def test_a_newer_format(identify, index):
    manifest = json.loads((index / "manifest.json").read_text())
    (index / "manifest.json").write_text(json.dumps(manifest | {"format_version": 4}))
    status, answers, errors = identify()
    assert (status, answers) == (ExitCode.BAD_DATA, "")
    assert "format 4 is newer" in errors
    assert "update cardedge" in errors


def test_an_empty_index(cardedge, small_scanner, image, tmp_path):
    empty = write_index(tmp_path / "empty", small_scanner.model, {})
    status, answers, _ = cardedge("identify", image, "--rectified", "--json", "--index", empty, "--model", small_scanner.model)
    (card,) = json.loads(answers)["cards"]
    assert status == ExitCode.OK
    assert (card["status"], card["card_id"], card["reason"]) == ("unknown", None, "empty_index")


def test_an_unreadable_image(identify, image, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(image.read_bytes()[:100])
    status, answers, _ = identify(broken, image)
    failed, answered = map(json.loads, answers.splitlines())
    assert status == ExitCode.BAD_DATA
    assert failed["image"] == str(broken)
    assert str(broken) in failed["error"]
    assert len(answered["cards"]) == 1


def test_an_image_of_20000_by_20000_pixels_is_refused_by_its_header(identify, tmp_path):
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    huge = tmp_path / "huge.png"
    huge.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b""))
    status, answers, _ = identify(huge)
    assert status == ExitCode.BAD_DATA
    assert "too large (400 megapixels; the limit is 100)" in json.loads(answers)["error"]


def test_an_empty_video_file(cardedge, small_scanner, tmp_path):
    video = tmp_path / "video.mp4"
    video.touch()
    status, events, errors = cardedge("replay", video, "--json", "--index", small_scanner.index, "--model", small_scanner.model)
    assert (status, events) == (ExitCode.BAD_DATA, "")
    assert str(video) in errors


def test_a_missing_camera(cardedge, small_scanner):
    status, events, errors = cardedge("replay", "/dev/video97", "--json", "--index", small_scanner.index, "--model", small_scanner.model)
    assert (status, events) == (ExitCode.UNAVAILABLE, "")
    assert "/dev/video97" in errors


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"card_id,image\nA-1,a.png\n", "name"),
        ("card_id,name,image\nA-1,Pokémon,a.png\n".encode("latin-1"), "UTF-8"),
    ],
    ids=["a column is missing", "another encoding"],
)
def test_nothing_is_built_from_a_card_list_that_cannot_be_read(small_scanner, tmp_path, capsys, content, message):
    (tmp_path / "cards.csv").write_bytes(content)
    save(tmp_path / "a.png", small_scanner.unknown_card)
    out = tmp_path / "out"
    arguments = ["--images", tmp_path, "--cards", tmp_path / "cards.csv", "--out", out, "--model", small_scanner.model]
    assert build_index.main([str(argument) for argument in arguments]) == ExitCode.BAD_DATA
    printed = capsys.readouterr()
    assert printed.out == ""
    assert str(tmp_path / "cards.csv") in printed.err
    assert message in printed.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "cards.csv"]


def run_daemon(config):
    """Start the daemon, which is expected to fail at once; return its exit status and standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "edge", "run", "--config", config], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_an_unknown_settings_key(tmp_path):
    config = tmp_path / "cardedge.toml"
    config.write_text("[camera]\nkind = 'film'\nsurce = 'a.mp4'\n")
    status, errors = run_daemon(config)
    assert status == ExitCode.CONFIG
    assert errors == f"cardedge: {config}:3: unknown key camera.surce; did you mean camera.source?\n"


def test_a_backend_without_an_artifact(small_scanner, tmp_path):
    config = tmp_path / "cardedge.toml"
    config.write_text(f'[device]\nid = "bench"\n[network]\nbackend = "hailo"\nmodel = "{small_scanner.model}"\n')
    status, errors = run_daemon(config)
    assert status == ExitCode.BAD_DATA
    assert "no `hef` artifact (onnx listed)" in errors


def check_broker(tmp_path, capsys, mqtt):
    """Return the exit status of ``cardedge check`` and its result for the broker."""
    config = tmp_path / "cardedge.toml"
    config.write_text(f'[device]\nid = "bench"\n[camera]\nkind = "film"\nsource = "none.mp4"\n[mqtt]\nhost = "127.0.0.1"\n{mqtt}\n')
    status = main(["check", "--config", str(config), "--json"])
    results = map(json.loads, capsys.readouterr().out.splitlines())
    return status, next(result for result in results if result["check"] == "broker")


@needs_mosquitto
def test_a_refused_login(tmp_path, capsys):
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    (tmp_path / "secret").write_text("wrong\n")
    broker = Mosquitto(tmp_path, f"password_file {passwords}", anonymous=False).start()
    try:
        mqtt = f'port = {broker.port}\nusername = "someone"\npassword_file = "{tmp_path / "secret"}"'
        _, result = check_broker(tmp_path, capsys, mqtt)
    finally:
        broker.stop()
    assert result["exit_code"] == ExitCode.UNAVAILABLE
    assert "refuses the login" in result["message"]
    assert "mqtt.password_file" in result["message"]


def test_an_unreachable_broker(tmp_path, capsys):
    port = free_port()
    _, result = check_broker(tmp_path, capsys, f"port = {port}")
    assert result["exit_code"] == ExitCode.UNAVAILABLE
    assert f"127.0.0.1:{port} refuses the connection" in result["message"]
