"""The receiver is killed before each change it makes to the disk; the active release is then the complete old or new one.

The list of places is not written down: a first push that is not killed notes every file that is opened for writing, every rename, link
and removal, and the test then walks through all of them.
"""

import contextlib
import shutil
import subprocess
import sys

import pytest

from edge.app.index import load_gallery
from edge.bundles.bundle import open_bundle
from edge.bundles.manifest import read_manifest
from edge.errors import ConnectionLostError
from edge.index import releases
from edge.recognition.model import read_model_manifest
from edge.settings.sections import Settings
from tests.receiving.scanner import change_manifest, day, push
from tests.support.paths import ROOT
from tests.support.small_scanner import write_index
from tools.push.connection import Connection


class Cut:
    """A scanner in its state before a push, restored for each cut."""

    def __init__(self, folder, world):
        self.folder = folder
        self.root = folder / "index"
        self.model_id = read_model_manifest(world.model).model_id
        old = write_index(folder / "old", world.model, dict(list(world.images.items())[:4]))
        change_manifest(old, created=day(1))
        self.new = write_index(folder / "new", world.model, dict(list(world.images.items())[2:]))
        change_manifest(self.new, created=day(2))
        self.new_id = read_manifest(self.new).bundle_id
        before = folder / "before"
        before.mkdir()
        self.old_id = releases.install(before, old).bundle_id
        releases.activate(before, self.old_id)
        (folder / "cardedge.toml").write_text(
            f'[device]\nid = "bench"\n[network]\nmodel = "{world.model}"\n[index]\ndirectory = "{self.root}"\n'
            "[push]\nallow_unsigned = true\nkeep_free_mb = 0\n"
        )

    def as_before(self):
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.folder / "before", self.root, symlinks=True)

    def push(self, number=0):
        """Push to a receiver that is killed before its change ``number`` (0: never); return the changes up to then."""
        log = self.folder / "changes"
        command = [sys.executable, "-m", "tests.receiving.killed", str(number), str(self.root), str(log)]
        command += ["index", "receive", "--config", str(self.folder / "cardedge.toml")]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        with contextlib.suppress(ConnectionLostError):
            push(Connection(process.stdout.fileno(), process.stdin.fileno(), idle_s=60, session_s=120), self.new, confirm_within_s=60)
        process.stdin.close()
        status = process.wait(60)
        process.stdout.close()
        assert status == (-9 if number else 0)
        return log.read_text().splitlines()

    def serving(self):
        """Open the active release as a starting daemon does, with all hashes verified; return its id."""
        open_bundle(self.root / "current")
        bundle = releases.open_index(self.root, expected_model_id=self.model_id)
        load_gallery(bundle, Settings())
        assert bundle.manifest.bundle_id in {self.old_id, self.new_id}
        return bundle.manifest.bundle_id


@pytest.fixture(scope="module")
def cut(small_scanner, tmp_path_factory):
    return Cut(tmp_path_factory.mktemp("cut"), small_scanner)


def walk(cut, chosen):
    """Push once to list the possible cuts, then once per cut that ``chosen`` selects from their number."""
    cut.as_before()
    changes = cut.push()
    assert cut.serving() == cut.new_id
    assert any("rename" in change for change in changes)
    seen = []
    for number in chosen(len(changes)):
        cut.as_before()
        cut.push(number)
        seen.append(cut.serving())
        if seen[-1] == cut.new_id:
            assert releases.awaiting_confirmation(cut.root), f"serves unconfirmed and not on trial after {changes[number - 1]}"
    assert seen == sorted(seen, key=lambda serving: serving == cut.new_id), "once the new one serves, it stays"
    assert {cut.old_id, cut.new_id} == set(seen)
    # whatever was left behind, the next push goes through and leaves nothing else
    cut.push()
    assert cut.serving() == cut.new_id
    assert [path.name for path in (cut.root / "incoming").iterdir()] == [".lock"]
    return changes


def test_a_receiver_killed_at_some_of_its_steps_leaves_a_complete_bundle(cut):
    walk(cut, lambda count: [*range(1, count, count // 4), count])


@pytest.mark.slow
@pytest.mark.long
def test_a_receiver_killed_at_any_of_its_steps_leaves_a_complete_bundle(cut):
    changes = walk(cut, lambda count: range(1, count + 1))
    assert len(changes) > 20
