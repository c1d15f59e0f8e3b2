"""Which bundles fit an artifact, and embedding a bundle again on the device, with a stand-in for the NPU and the real command."""

import json
import shutil

import numpy as np
import pytest

from edge.app.index import graph_writer
from edge.cli.main import main
from edge.errors import BundleError, ExitCode, ModelMismatchError
from edge.index import releases
from edge.index.reembedding import EmbeddingBackend, reembed
from edge.recognition.model import ArtifactAgreement, open_model
from edge.recognition.pairing import check_pairing
from tests.support.hailo_double import Board, install, write_hef
from tests.support.small_model import record, write_manifest
from tests.support.stand_ins import ProjectionEmbedder

ONNX, HEF, OTHER = "a" * 64, "b" * 64, "c" * 64


def manifest_of(model, agreement=None):
    artefacts = {
        "onnx": model.manifest.artefacts["onnx"].model_copy(update={"sha256": ONNX}),
        "hef": model.manifest.artefacts["onnx"].model_copy(update={"sha256": HEF}),
    }
    agreements = {} if agreement is None else {"hef": agreement}
    return model.manifest.model_copy(update={"artefacts": artefacts, "agreement": agreements})


def agreement(cosine=0.995, top1=0.999):
    return ArtifactAgreement(count=500, mean_cosine=cosine, min_cosine=0.95, top1=top1)


@pytest.fixture
def model(small_scanner):
    return open_model(small_scanner.model)


# --- pairing ---


def test_the_same_file_is_always_accepted(model):
    check_pairing(manifest_of(model), ONNX, ONNX)
    check_pairing(manifest_of(model), OTHER, OTHER)


@pytest.mark.parametrize(("stored", "running"), [(ONNX, HEF), (HEF, ONNX)])
def test_another_artifact_is_accepted_if_their_agreement_was_measured(model, stored, running):
    check_pairing(manifest_of(model, agreement()), stored, running)


@pytest.mark.parametrize(("stored", "running"), [(ONNX, HEF), (HEF, ONNX), (OTHER, HEF), (None, HEF)])
def test_without_a_measured_agreement_it_is_refused(model, stored, running):
    with pytest.raises(ModelMismatchError, match="index reembed"):
        check_pairing(manifest_of(model), stored, running)


@pytest.mark.parametrize("weak", [agreement(cosine=0.98), agreement(top1=0.98)])
def test_a_low_agreement_is_refused_with_its_figures(model, weak):
    with pytest.raises(ModelMismatchError, match=r"do not agree enough .*0\.98|98\.0 %"):
        check_pairing(manifest_of(model, weak), ONNX, HEF)


def test_a_file_that_the_model_does_not_list_has_no_agreement(model):
    with pytest.raises(ModelMismatchError, match="does not record"):
        check_pairing(manifest_of(model, agreement()), OTHER, HEF)


# --- embedding again ---


def with_hef(folder):
    """Add a compiled artifact for the NPU stand-in to a model folder."""
    manifest = json.loads((folder / "model.json").read_text())
    onnx = folder / manifest["artefacts"]["onnx"]["file"]
    write_hef(folder / "model.hef", onnx)
    manifest["artefacts"]["hef"] = {**record(folder / "model.hef"), "precision": "int8", "max_batch": 4}
    manifest["golden"]["min_cosine"]["hef"] = 0.9
    write_manifest(folder, manifest)


@pytest.fixture
def device(small_scanner, tmp_path):
    """A device whose network is compiled too, with the small scanner's bundle active; returns (settings file, index root)."""
    model = tmp_path / "network"
    shutil.copytree(small_scanner.model, model)
    with_hef(model)
    root = tmp_path / "index"
    made = releases.install(root, small_scanner.index)
    releases.activate(root, made.bundle_id)
    config = tmp_path / "cardedge.toml"
    config.write_text(
        f'[device]\nid = "bench"\n[network]\nbackend = "hailo"\nmodel = "{model}"\n[index]\ndirectory = "{root}"\n', encoding="utf-8"
    )
    return config, root


def test_the_command_installs_a_reembedded_release(device, capsys, monkeypatch):
    config, root = device
    install(monkeypatch, Board())
    before = releases.current_id(root)
    assert main(["index", "reembed", "--config", str(config), "--activate", "--json"]) == ExitCode.OK
    said = json.loads(capsys.readouterr().out)
    assert said["bundle_id"] != before
    assert releases.current_id(root) == said["bundle_id"]
    old, new = releases.open_release(root, before), releases.open_release(root, said["bundle_id"])
    assert list(new.gallery.cards) == list(old.gallery.cards)
    assert new.manifest.artefact == json.loads((config.parent / "network" / "model.json").read_text())["artefacts"]["hef"]["sha256"]
    assert new.manifest.calibration is None
    assert list(root.glob("reembed-*")) == []


def stop_after(embed, batches):
    """Embed ``batches`` batches, then raise."""
    left = [batches]

    def dying(batch):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return embed(batch)

    return dying


def test_an_interrupted_run_resumes_and_gives_the_same_bundle(small_scanner, tmp_path):

    embedder = ProjectionEmbedder()
    seen = []

    def embed(batch):
        seen.append(len(batch))
        return embedder.submit(batch).result(5)

    bundle = releases.open_index(small_scanner.index)

    def here(embed):
        return EmbeddingBackend(bundle.manifest.model_id, "d" * 64, embedder.info.dim, 2, embed, graph_writer())

    for folder in ("cut", "whole"):
        (tmp_path / folder).mkdir()
    with pytest.raises(KeyboardInterrupt):
        reembed(tmp_path / "cut", bundle, here(stop_after(embed, 2)), lambda done, of: None)
    assert sum(seen) == 4
    (part,) = (tmp_path / "cut").glob("reembed-*.part")
    with part.open("ab") as file:
        file.write(b"\x00\x01\x02")  # a torn row
    first = reembed(tmp_path / "cut", bundle, here(embed), lambda done, of: None)
    assert sum(seen) == bundle.manifest.cards, "what was embedded before is not embedded again"
    whole = reembed(tmp_path / "whole", bundle, here(embed), lambda done, of: None)
    assert first.bundle_id == whole.bundle_id
    opened = releases.open_release(tmp_path / "cut", first.bundle_id)
    assert np.allclose(np.linalg.norm(opened.vectors.astype(np.float32), axis=1), 1.0, atol=1e-3)


def test_a_bundle_of_another_model_cannot_be_embedded_again(small_scanner, tmp_path):

    bundle = releases.open_index(small_scanner.index)
    here = EmbeddingBackend("ffffffffffffffff", "d" * 64, 4, 4, lambda batch: np.zeros((len(batch), 4), np.float32), graph_writer())
    with pytest.raises(BundleError, match="build a bundle for this model"):
        reembed(tmp_path, bundle, here, lambda done, of: None)
