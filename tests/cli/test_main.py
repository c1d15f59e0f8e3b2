"""The command line: usage, exit statuses, output streams."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from edge import __version__
from edge.app import recognizer
from edge.cli.main import main
from edge.errors import ExitCode
from tests.support.paths import ROOT
from tests.support.small_scanner import on_table, save

COMMANDS = ["run", "demo", "check", "identify", "replay", "index"]


def cardedge(*arguments):
    command = [sys.executable, "-m", "edge", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_help_lists_every_command_and_the_exit_statuses(capsys):
    assert main(["--help"]) == ExitCode.OK
    output = capsys.readouterr()
    assert all(f"\n    {command} " in output.out for command in COMMANDS)
    assert "78 bad settings" in output.out
    assert output.err == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_text(command, capsys):
    assert main([command, "--help"]) == ExitCode.OK
    assert f"usage: cardedge {command}" in capsys.readouterr().out


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == ExitCode.OK
    assert capsys.readouterr().out == f"cardedge {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["dance"], "dance"),
        (["identify", "--index", "i"], "IMAGE"),
        (["identify", "a.png"], "--index"),
        (["identify", "a.png", "--index", "i", "--top-k", "0"], "'0' is not a whole number of at least 1"),
        (["identify", "a.png", "--index", "i", "--rectifide"], "--rectifide"),
        (["replay", "--index", "i"], "SOURCE"),
        (["demo", "--seconds", "-3"], "'-3' is not a number above 0"),
        (["demo", "--seconds", "nan"], "'nan' is not a number above 0"),
        (["check", "--config"], "--config"),
        (["index"], "SUBCOMMAND"),
    ],
)
def test_a_usage_error_is_printed_on_standard_error(arguments, message, capsys):
    assert main(arguments) == ExitCode.USAGE
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err
    assert "--help" in output.err


def test_a_bug_is_reported_in_one_line_and_with_a_traceback_if_verbose(small_scanner, tmp_path, monkeypatch, capsys):
    def broken(*_):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(recognizer, "open_recognizer_with_images", broken)
    arguments = ["identify", str(tmp_path), "--index", str(small_scanner.index)]
    assert main(arguments) == ExitCode.SOFTWARE
    short = capsys.readouterr().err
    assert "ZeroDivisionError: planted" in short
    assert "Traceback" not in short
    assert main([*arguments, "--verbose"]) == ExitCode.SOFTWARE
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_ends_with_the_status_of_a_shell(small_scanner, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(recognizer, "open_recognizer_with_images", interrupted)
    assert main(["identify", "a.png", "--index", str(small_scanner.index)]) == ExitCode.INTERRUPTED


def test_the_demo_without_tools_names_what_is_missing(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tools", None)
    assert main(["demo"]) == ExitCode.USAGE
    assert "install.sh --demo" in capsys.readouterr().err


@pytest.mark.parametrize("clone", [True, False])
def test_the_demo_finds_tools_beside_the_package_from_any_directory(clone, tmp_path):
    """An editable installation makes only `edge` importable, here by a link; a plain one is a copy."""
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    site.mkdir()
    elsewhere.mkdir()
    if clone:
        (site / "edge").symlink_to(ROOT / "edge")
    else:
        shutil.copytree(ROOT / "edge", site / "edge", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-m", "edge", "demo", "--seconds", "5"], cwd=elsewhere, env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if clone:
        assert (done.returncode, "at least 24" in done.stderr) == (ExitCode.BAD_DATA, True), done.stderr
    else:
        assert done.returncode == ExitCode.USAGE
        assert done.stderr.count("\n") == 1
        assert "run ./install.sh --demo there" in done.stderr


def test_standard_output_contains_only_json(small_scanner, tmp_path):
    image = save(tmp_path / "card.png", on_table(*list(small_scanner.images.values())[:2]))
    (tmp_path / "broken.png").write_text("not an image")
    done = cardedge(
        "identify", image, tmp_path / "broken.png", "--json", "--verbose", "--index", small_scanner.index, "--model", small_scanner.model
    )
    assert done.returncode == ExitCode.BAD_DATA
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["image"] for answer in answers] == [str(image), str(tmp_path / "broken.png")]


def test_a_reader_that_closes_the_pipe_early_is_not_an_error(small_scanner, tmp_path):
    image = save(tmp_path / "card.png", small_scanner.unknown_card)
    command = [sys.executable, "-m", "edge", "identify", *[str(image)] * 30, "--rectified", "--json"]
    with subprocess.Popen(
        [*command, "--index", str(small_scanner.index), "--model", str(small_scanner.model)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert json.loads(running.stdout.readline())["image"] == str(image)
        running.stdout.close()
        assert running.stderr.read() == ""
        assert running.wait(30) == ExitCode.OK


def test_help_loads_no_driver():
    """Drivers are imported only by the commands that use them."""
    code = (
        "import sys; from edge.cli.main import main; main(['--version']); "
        "print(sorted({'onnxruntime', 'paho', 'hnswlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


BUSY_THREAD = """
import threading, time
from datetime import UTC, datetime
from edge.cli import main as cli
from edge.publishing.event import Instant, Payload

class Times(Payload):
    times: tuple[Instant, ...]

def encode_forever(payload):
    while True:
        payload.to_json()  # a Rust library that calls a Python function

def command(arguments=None):
    threading.Thread(target=encode_forever, args=[Times(times=[datetime.now(UTC)] * 20_000)], daemon=True).start()
    time.sleep(0.2)
    print("last words")
    return 78

cli.main = command
cli.entry()
"""


def test_a_thread_that_still_runs_does_not_turn_the_end_into_an_abort():
    done = subprocess.run([sys.executable, "-c", BUSY_THREAD], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (78, "last words\n", "")
