"""Each change of the index is killed at each of its steps; the daemon then starts with the complete old or new release."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from edge.bundles.manifest import MANIFEST_FILE, read_manifest
from edge.bundles.signature import SIGNATURE_FILE
from edge.index import releases
from edge.index.overlay import AddedImage, OverlayWriter
from edge.recognition.gallery import Card
from edge.recognition.neighbors import CardId
from tests.support.former_overlay import write_former_overlay
from tests.support.paths import ROOT
from tests.support.small_scanner import write_index
from tests.support.ssh_server import make_key
from tools import sign_bundle

pytestmark = pytest.mark.slow


@pytest.fixture
def device(small_scanner, tmp_path):
    before = tmp_path / "before"
    before.mkdir()
    cards = list(small_scanner.images.items())
    ids = {}
    for name, count in (("old", 8), ("new", 5), ("third", 3)):
        source = write_index(tmp_path / name, small_scanner.model, dict(cards[:count]))
        ids[name] = releases.install(before, source).bundle_id
    releases.activate(before, ids["old"])
    (tmp_path / "ids.json").write_text(json.dumps(ids))
    np.save(tmp_path / "card.npy", small_scanner.unknown_card)
    return tmp_path, ids


def cut(device, action):
    """Return what each cut left, after checking that the process was killed."""
    folder, _ = device
    command = [sys.executable, "-m", "tests.support.cut_changes", action, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    cuts = [json.loads(line) for line in done.stdout.splitlines()]
    for made in cuts:
        assert made["killed"], made
        assert "error" not in made["started"], made
        assert "error" not in made["again"], made
        assert made["started"]["problem"] is None, made
    return cuts


@pytest.mark.parametrize("action", ["activate", "prove", "rollback"])
def test_after_a_cut_the_old_or_the_new_bundle_is_active(device, action):
    _, ids = device
    cuts = cut(device, action)
    steps = " ".join(made["step"] for made in cuts)
    for named in ("trial.json", "current", "previous", ".verified"):
        assert named in steps, "the walk went through it"
    assert {made["started"]["serving"] for made in cuts} <= {ids["old"], ids["new"]}
    assert {made["again"]["serving"] for made in cuts} <= {ids["old"], ids["new"]}
    assert cuts[0]["started"]["serving"] == ids["old"]


def test_an_interrupted_revert_is_completed_by_the_next_start(device):
    _, ids = device
    cuts = cut(device, "revert")
    begun = next(place for place, made in enumerate(cuts) if "reverted.json" in made["step"])
    assert {made["started"]["serving"] for made in cuts} <= set(ids.values())
    assert all(made["started"]["serving"] == ids["third"] for made in cuts[begun:])
    assert all(made["started"]["on_trial"] is None for made in cuts[begun:])


def test_an_interrupted_change_of_the_overlay_leaves_the_old_or_the_new_one(device):
    _, ids = device
    cuts = cut(device, "add")
    steps = " ".join(made["step"] for made in cuts)
    assert "rows.journal" in steps
    assert "overlay/pictures/" in steps
    assert {made["started"]["serving"] for made in cuts} == {ids["old"]}
    found = [tuple(card for card in made["started"]["cards"] if card.startswith("promo")) for made in cuts]
    assert set(found) == {(), ("promo-1",), ("promo-1", "promo-2"), ("promo-2",)}
    assert found == sorted(found, key=[(), ("promo-1",), ("promo-1", "promo-2"), ("promo-2",)].index), "never backwards"


def test_an_interrupted_conversion_of_the_overlay_loses_no_card(device, small_scanner):
    folder, _ = device
    writer = OverlayWriter(read_manifest(small_scanner.index).model_id, "a" * 64, lambda batch: np.eye(64, dtype=np.float32)[: len(batch)])
    card = Card(CardId("promo-1"), "A card", "promo-1")
    write_former_overlay(folder / "before", [AddedImage(card, small_scanner.unknown_card)], writer)
    cuts = cut(device, "convert")
    assert any("overlay/current" in made["step"] for made in cuts), "the walk went through the conversion"
    found = [tuple(card for card in made["started"]["cards"] if card.startswith("promo")) for made in cuts]
    assert set(found) == {("promo-1",)}, "the walk ends before the record of the new card is written"


def test_after_a_cut_the_signature_of_a_renewed_release_fits_its_manifest(device):
    folder, ids = device
    key = make_key(folder / "alice")
    installed = folder / "before" / "releases" / ids["old"]
    assert sign_bundle.main([str(installed), "--key", str(key), "--counter", "1"]) == 0
    renewed = shutil.copytree(installed, folder / "renewed")
    assert sign_bundle.main([str(renewed), "--key", str(key), "--counter", "2"]) == 0
    signatures = {1: (installed / SIGNATURE_FILE).read_text(), 2: (renewed / SIGNATURE_FILE).read_text()}
    cuts = cut(device, "renew")
    steps = [made["step"] for made in cuts]
    between = next(place for place, step in enumerate(steps) if "rename" in step and step.endswith(f".{MANIFEST_FILE}.new"))
    assert any("rename" in step and SIGNATURE_FILE in step for step in steps[:between]), "the walk went through the gap between the files"
    for made in cuts:
        assert made["started"]["signature"] == signatures[made["started"]["counter"]], made["step"]
    counters = [made["started"]["counter"] for made in cuts]
    assert counters == sorted(counters), "never backwards"
    assert (counters[0], counters[between]) == (1, 2), "a start completes what was begun"
