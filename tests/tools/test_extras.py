"""What only an extra installs is hidden: every command explains itself, and names the extra that its run lacks."""

import json
import subprocess
import sys

import pytest

from tests.support.paths import ROOT
from tools.__main__ import commands
from tools.extras import EXTRAS, MissingExtraError, extra_required

WITH_DEMO = {"demo", "workstation"}
HIDDEN = sorted(module for module, extra in EXTRAS.items() if extra not in WITH_DEMO)

DATA = ["--data", "x", "--out", "x"]
CARDS = ["--images", ".", "--cards", "cards.csv"]
RUNS = {
    "training warm": (DATA, "train"),
    "training locator": (DATA, "train"),
    "export_model": (["--checkpoint", "x", *DATA], "train"),
    "export_locator": (["--checkpoint", "x", *DATA], "train"),
    "compare_networks": ([*DATA, "--hold-out", "A"], "train"),
    "quantize": (CARDS, "train"),
    "compile_hef": (["--images", "x", "--hold-out", "A"], "train"),
    "compile_hef --plan": ([], "train"),
    "evaluate": (["--acceptance", "--index", "x", *CARDS], "train"),
    "build_index": (["--engine", "daft", *CARDS, "--out", "x"], "daft"),
    "measure_numbers": ([], "ocr"),
    "export_vectors": (["bundle", "--out", "new.parquet"], "vectors"),
    "import_vectors": (["x.parquet", "--model-id", "m", "--out", "x"], "vectors"),
    "update_lock": ([], "lock"),
    "benchmark": (["--rows", "throughput", "--cards", "8"], "train"),
    "benchmark --rows libraries": (["--cards", "8"], "benchmark"),
}

PROGRAM = """
import contextlib, importlib, io, json, sys, traceback
from importlib.machinery import PathFinder

hidden, calls = json.loads(sys.argv[1])

class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in hidden else super().find_spec(name, path, target)

sys.meta_path[:] = [Hiding if finder is PathFinder else finder for finder in sys.meta_path]
answers = []
for name, arguments in calls:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            module = importlib.import_module("tools.training.cli" if name == "training" else f"tools.{name}")
            status = int(module.main(arguments))
        except SystemExit as ended:
            status = ended.code or 0
        except Exception:
            status = None
            traceback.print_exc()
    answers.append((status, out.getvalue(), err.getvalue()))
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Run all commands in one process without the extras; (exit status, output, errors) of each by its name."""
    calls = {f"{name} --help": (name, ["--help"]) for name in dict(commands()) if name != "demo"}
    for run, (arguments, _) in RUNS.items():
        name, *words = run.split()
        calls[run] = (name, [*words, *arguments])
    folder = tmp_path_factory.mktemp("run")
    (folder / "x.parquet").write_bytes(b"PAR1")
    (folder / "cards.csv").write_text("card_id,name,image\na,a,a.png\n")
    (folder / "bundle").symlink_to(ROOT / "index" / "sample")
    command = [sys.executable, "-c", PROGRAM, json.dumps([HIDDEN, list(calls.values())])]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip(calls, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("name", [name for name in dict(commands()) if name != "demo"])
def test_help_needs_no_extra(answers, name):
    status, out, _ = answers[f"{name} --help"]
    assert status == 0
    assert "usage:" in out


@pytest.mark.parametrize("run", RUNS)
def test_a_run_names_the_extra_it_lacks_in_one_line(answers, run):
    status, out, errors = answers[run]
    lines = [line for line in errors.splitlines() if "making a bundle" not in line]
    assert (status, out) == (69, ""), errors
    assert len(lines) == 1
    assert lines[0].endswith(f".venv/bin/pip install -e '.[{RUNS[run][1]}]'")


def test_only_the_modules_of_extras_are_explained():
    with pytest.raises(ImportError, match="no_such_module"), extra_required("this"):
        import no_such_module  # noqa: F401, PLC0415


def test_the_message_says_what_needs_the_module(monkeypatch):
    monkeypatch.setitem(sys.modules, "daft", None)
    with pytest.raises(MissingExtraError, match=r"^--engine daft needs daft; install it with: "), extra_required("--engine daft"):
        import daft  # noqa: F401, PLC0415
