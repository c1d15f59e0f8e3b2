"""Kill a change of a device's index at each of its steps, like a power cut, and open the daemon's store afterwards.

    python -m tests.support.cut_changes ACTION FOLDER

FOLDER contains ``before/`` (the original index), ``ids.json`` (old, new and third release), ``card.npy``, and ``renewed/``, the old bundle
signed again. A first, complete run lists
the steps: every file opened for writing, every rename, link and removal. Then one forked process per step is killed just before it. One
JSON object per step is printed.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np

from edge.app.index import load_gallery, overlay_index
from edge.bundles.bundle import open_bundle
from edge.bundles.manifest import MANIFEST_FILE, read_manifest
from edge.bundles.signature import SIGNATURE_FILE
from edge.index import overlay, releases
from edge.index.device_index import DeviceIndex
from edge.index.loading import BundleLoader
from edge.index.renewal import renew
from edge.recognition.embedding import ModelId
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId
from edge.settings.sections import IndexSection, Settings
from edge.vision.locate import locate_cards
from tests.receiving.killed import change


class Device:
    def __init__(self, folder: Path) -> None:
        self.folder, self.root = folder, folder / "index"
        self.ids = json.loads((folder / "ids.json").read_text())
        manifest = read_manifest(folder / "before" / "releases" / self.ids["old"])
        self.loading = BundleLoader(ModelId(manifest.model_id), manifest.artefact, load_gallery, overlay_index)

    def store(self) -> DeviceIndex:
        return DeviceIndex(Settings(index=IndexSection(directory=self.root)), self.loading, locate_cards)

    def as_before(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.folder / "before", self.root, symlinks=True)

    def activate(self) -> None:
        """Activate the new release as a daemon does."""
        store = self.store()
        store.open_active()
        store.open(self.ids["new"])
        store.activate(self.ids["new"], 60.0)

    def prove(self) -> None:
        """Activate the new release, complete its trial and confirm it."""
        store = self.store()
        releases.activate(self.root, self.ids["new"], confirm_within_s=60.0)
        store.open_active()
        releases.mark_healthy(self.root)
        releases.confirm(self.root, self.ids["new"])

    def revert(self) -> None:
        """Start a daemon after one that died on the new release."""
        releases.activate(self.root, self.ids["third"])
        releases.mark_healthy(self.root)
        releases.activate(self.root, self.ids["new"])
        releases.record_attempt(self.root)
        self.store().open_active()

    def renew(self) -> None:
        """Renew the old release, as a push of the same bundle with a larger counter does."""
        manifest, signature = ((self.folder / "renewed" / name).read_bytes() for name in (MANIFEST_FILE, SIGNATURE_FILE))
        assert renew(self.root, self.ids["old"], manifest, signature)

    def rollback(self) -> None:
        releases.activate(self.root, self.ids["new"])
        releases.rollback(self.root)

    def add(self) -> None:
        """Add two images one after the other and remove one card again."""
        for card_id in ("promo-1", "promo-2"):
            self.add_card(card_id)
        overlay.remove_card(self.root, "promo-1")

    def convert(self) -> None:
        """Add an image to an overlay in the former format."""
        self.add_card("promo-2")

    def add_card(self, card_id: str) -> None:
        writer = self.loading.overlay_writer(lambda batch: np.eye(64, dtype=np.float32)[: len(batch)])
        image = overlay.AddedImage(Card(CardId(card_id), "A card", card_id), np.load(self.folder / "card.npy"))
        overlay.add_images(self.root, [image], writer)

    def start(self) -> dict:
        """Open the active release as a daemon does, with all hashes verified; return what is in use."""
        opened = self.store().open_active()
        open_bundle(self.root / "current")
        trial = releases.trial(self.root)
        signature = self.root / "current" / SIGNATURE_FILE
        return {
            "serving": opened.manifest.bundle_id, "cards": sorted(opened.loaded.gallery.cards), "problem": opened.added_problem,
            "previous": releases.previous_id(self.root), "on_trial": trial and trial.bundle_id,
            "counter": opened.manifest.counter, "signature": signature.read_text() if signature.exists() else None,
        }  # fmt: skip


def in_a_fork(work) -> tuple[int, bytes]:
    """Call ``work`` in a forked process; return the wait(2) status and the bytes of its JSON result."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.close(reading)
            os.write(writing, json.dumps(work()).encode())
        except BaseException as error:  # noqa: BLE001 - reported to the test
            os.write(writing, json.dumps({"error": repr(error)}).encode())
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    return os.waitpid(child, 0)[1], said


def cut_at(number: int, device: Device, action: str) -> list[str]:
    """Run an action and kill this process at change ``number`` (0: never); return the changes."""
    changes: list[str] = []

    def hook(event, arguments) -> None:
        if (what := change(event, arguments, str(device.root))) is not None:
            changes.append(what)
            if len(changes) == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    getattr(device, action)()
    return changes


def main(action: str, folder: str) -> None:
    device = Device(Path(folder))
    device.as_before()
    steps = json.loads(in_a_fork(lambda: cut_at(0, device, action))[1])
    if isinstance(steps, dict):
        raise SystemExit(f"{action}: {steps['error']}")
    for number, step in enumerate(steps, start=1):
        device.as_before()
        status, _ = in_a_fork(lambda number=number: cut_at(number, device, action))
        started = json.loads(in_a_fork(device.start)[1])
        again = json.loads(in_a_fork(device.start)[1])
        line = json.dumps({"step": step, "killed": status == signal.SIGKILL, "started": started, "again": again})
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
