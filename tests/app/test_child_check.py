"""A bundle that ends, exhausts or blocks the process that opens it is refused with a reason, and nothing changes.

The child process imports an ``hnswlib`` that does the harm; the bundles are sound.
"""

import json

import pytest

from edge.app import child_check
from edge.app.child_check import check_in_child
from edge.app.index import load_gallery, overlay_index
from edge.bundles.bundle import OpeningLimits
from edge.bundles.manifest import read_manifest
from edge.cli.main import main
from edge.errors import BundleError, ExitCode
from edge.index import releases
from edge.index.device_index import DeviceIndex
from edge.index.loading import BundleLoader
from edge.recognition.embedding import ModelId
from edge.settings.sections import IndexSection, Settings
from edge.vision.locate import locate_cards
from tests.support.small_scanner import write_index

CRASH = "os.kill(os.getpid(), signal.SIGSEGV)"
EXHAUST = "bytearray(1 << 44)"
BLOCK = "time.sleep(600)"


@pytest.fixture
def device(small_scanner, tmp_path):
    """Return the index folder, the id of its active release, and that of another one that is installed."""
    images = list(small_scanner.images.items())
    root = tmp_path / "index"
    first, second = (
        releases.install(root, write_index(tmp_path / f"of-{count}", small_scanner.model, dict(images[:count]))).bundle_id
        for count in (8, 5)
    )
    releases.activate(root, first)
    (tmp_path / "cardedge.toml").write_text(
        f'[network]\nmodel = "{small_scanner.model}"\n[index]\ndirectory = "{root}"\n[outbox]\nfile = "{tmp_path}/outbox.sqlite"\n'
    )
    return root, first, second


@pytest.fixture
def harmful(tmp_path, monkeypatch):
    """Return a function that makes hnswlib, in child processes alone, run a statement when it is given a graph."""

    def plant(statement):
        folder = tmp_path / "planted"
        folder.mkdir()
        lines = ["import os, signal, time", "class Index:", "    def __init__(self, **_values):", f"        {statement}"]
        (folder / "hnswlib.py").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(folder)

    return plant


def activated(root, bundle_id):
    return main(["index", "activate", bundle_id, "--index", str(root)])


def test_a_sound_release_is_activated(device):
    root, first, second = device
    assert activated(root, second) == ExitCode.OK
    assert (releases.current_id(root), releases.previous_id(root)) == (second, first)


@pytest.mark.parametrize(
    ("statement", "reason"), [(CRASH, "with SIGSEGV"), (EXHAUST, "of memory failed (MemoryError"), ("os._exit(3)", "no message")]
)
def test_a_release_that_ends_the_process_is_not_activated(device, harmful, capsys, statement, reason):
    root, first, second = device
    harmful(statement)
    assert activated(root, second) == ExitCode.BAD_DATA
    message = capsys.readouterr().err
    assert reason in message
    assert second in message
    assert (releases.current_id(root), releases.previous_id(root), releases.trial(root)) == (first, None, None)


def test_a_release_that_blocks_the_process_is_not_activated(device, harmful, capsys, monkeypatch):
    root, first, second = device
    harmful(BLOCK)
    monkeypatch.setattr(child_check, "opening_limits", lambda _path: OpeningLimits(1 << 32, 5.0))
    assert activated(root, second) == ExitCode.BAD_DATA
    assert "longer than 5 s" in capsys.readouterr().err
    assert releases.current_id(root) == first


def test_the_memory_of_the_process_is_bounded(device, harmful, capsys, monkeypatch):
    root, _, second = device
    harmful("bytearray(1 << 29)")
    usual = child_check.opening_limits
    with monkeypatch.context() as less:
        less.setattr(child_check, "opening_limits", lambda path: OpeningLimits(usual(path).memory_bytes - (3 << 28), 60.0))
        assert activated(root, second) == ExitCode.BAD_DATA
    assert "MemoryError" in capsys.readouterr().err
    assert activated(root, second) == ExitCode.OK


def test_the_check_at_rest_reports_it(device, harmful, tmp_path, capsys):
    harmful(CRASH)
    assert main(["check", "--config", str(tmp_path / "cardedge.toml"), "--at-rest", "--json"]) == ExitCode.BAD_DATA
    results = {result["check"]: result for result in map(json.loads, capsys.readouterr().out.splitlines())}
    assert (results["index"]["level"], results["index"]["exit_code"]) == ("fail", ExitCode.BAD_DATA)
    assert "SIGSEGV" in results["index"]["message"]


def test_a_running_daemon_checks_it_before_it_opens_it(device, harmful, small_scanner):
    root, first, second = device
    manifest = read_manifest(root / "releases" / second)
    loader = BundleLoader(ModelId(manifest.model_id), manifest.artefact, load_gallery, overlay_index, check_in_child)
    store = DeviceIndex(Settings(index=IndexSection(directory=root)), loader, locate_cards)
    store.open_active()
    harmful(CRASH)
    with pytest.raises(BundleError, match="SIGSEGV"):
        store.open(second)
    assert releases.current_id(root) == first


def test_a_bundle_elsewhere_and_a_rollback_are_checked_in_the_same_way(device, harmful, tmp_path):
    root, first, second = device
    releases.activate(root, second)
    harmful(CRASH)
    assert main(["index", "rollback", "--index", str(root)]) == ExitCode.BAD_DATA
    assert main(["index", "activate", str(tmp_path / "of-5"), "--index", str(tmp_path / "other")]) == ExitCode.BAD_DATA
    assert main(["index", "verify", str(tmp_path / "of-5")]) == ExitCode.BAD_DATA
    assert (releases.current_id(root), releases.previous_id(root)) == (second, first)
    assert not list((tmp_path / "other" / "releases").iterdir())
