import json
from concurrent.futures import Future

import numpy as np
import pytest

from edge.errors import EmbedderError, EmbedderTimeoutError, ExitCode, ModelError
from edge.recognition.model import open_model, self_test
from tests.support.small_model import DIM, expected, golden_pictures, record, write_manifest, write_model


@pytest.fixture
def folder(tmp_path):
    write_model(tmp_path / "small")
    return tmp_path / "small"


def answering(function):
    """An embedder's ``submit`` that answers with ``function`` of the batch."""

    def submit(batch):
        future = Future()
        future.set_result(function(batch))
        return future

    return submit


def test_an_intact_folder_opens_with_its_golden_images(folder):
    model = open_model(folder)
    assert model.model_id == "00112233445566aa"
    assert np.array_equal(model.golden_inputs, golden_pictures())
    assert model.golden_embeddings.shape == (3, DIM)
    assert model.artifact_path("onnx") == folder / "model.onnx"


@pytest.mark.parametrize("name", ["model.onnx", "golden-1.png", "golden.npy"])
def test_an_altered_file_is_named(folder, name):
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ModelError, match=rf"{name}.*copy the folder again"):
        open_model(folder)


@pytest.mark.parametrize("name", ["model.onnx", "golden-1.png", "golden.npy", "model.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ModelError, match=name):
        open_model(folder)


def test_evidence_is_read_if_the_folder_has_it_and_refused_if_it_is_malformed(folder):
    assert open_model(folder).evidence is None
    path = folder / "evidence.json"
    manifest = json.loads((folder / "model.json").read_text())
    content = {"places": [0.0] * 24, "slopes": [0.0] * 6, "thresholds": {"min_similarity": 0.2}, "source": "made up"}
    path.write_text(json.dumps(content))
    write_manifest(folder, {**manifest, "evidence": record(path)})
    assert open_model(folder).evidence.thresholds.min_similarity == 0.2
    path.write_text(json.dumps({**content, "slopes": [0.0]}))
    with pytest.raises(ModelError, match=r"evidence\.json.*copy the folder again"):
        open_model(folder)
    write_manifest(folder, {**manifest, "evidence": record(path)})
    with pytest.raises(ModelError, match="slopes"):
        open_model(folder)


def test_a_truncated_network_is_rejected(folder):
    data = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(data[:-1])
    with pytest.raises(ModelError, match=r"model\.onnx"):
        open_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "newer"),
        ({"dim": 0}, "dim"),
        ({"model_id": "short"}, "model_id"),
        ({"surprise": 1}, "surprise"),
        ({"training": None}, "training"),
        ({"input": {"width": 256, "height": 256, "preprocessing": "area-224-rgb-u8/1"}}, "256x256"),
        ({"input": {"width": 224, "height": 224, "preprocessing": "other/1"}}, "other/1"),
        ({"dim": DIM + 1}, r"golden\.npy"),
    ],
)
def test_an_invalid_manifest_is_rejected_with_the_reason(tmp_path, change, message):
    manifest = write_model(tmp_path)
    write_manifest(tmp_path, manifest | change)
    with pytest.raises(ModelError, match=message) as raised:
        open_model(tmp_path)
    assert raised.value.exit_code is ExitCode.BAD_DATA


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '"model"'])
def test_a_file_that_is_not_a_manifest_is_rejected(folder, text):
    (folder / "model.json").write_text(text)
    with pytest.raises(ModelError, match=r"model\.json"):
        open_model(folder)


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "a/b", ".hidden", ""])
def test_a_manifest_cannot_point_outside_its_folder(tmp_path, name):
    manifest = write_model(tmp_path)
    manifest["artefacts"]["onnx"]["file"] = name
    write_manifest(tmp_path, manifest)
    with pytest.raises(ModelError, match="file"):
        open_model(tmp_path)


@pytest.mark.parametrize("stored", [np.zeros((3, DIM), np.float32), np.eye(3, DIM), np.full((3, DIM), np.nan, np.float32)])
def test_golden_embeddings_must_be_unit_vectors(tmp_path, stored):
    manifest = write_model(tmp_path)
    np.save(tmp_path / "golden.npy", stored)
    manifest["golden"]["embeddings"] = record(tmp_path / "golden.npy")
    write_manifest(tmp_path, manifest)
    with pytest.raises(ModelError, match=r"golden\.npy"):
        open_model(tmp_path)


def test_a_missing_artifact_error_names_the_existing_ones(folder):
    with pytest.raises(ModelError, match=r"no `hef` artifact \(onnx listed\)"):
        open_model(folder).artifact("hef")


def test_a_backend_that_agrees_with_the_trained_network_passes(folder):
    assert self_test(answering(expected), open_model(folder), kind="onnx") == pytest.approx(1.0, abs=1e-5)


def test_a_backend_with_wrong_embeddings_is_detected(folder):
    with pytest.raises(ModelError, match="wrong embedding of a golden image"):
        self_test(answering(lambda batch: expected(batch[:, :, ::-1])), open_model(folder), kind="onnx")


def test_a_backend_that_swaps_the_colors_is_detected(folder):
    with pytest.raises(ModelError, match="wrong embedding of a golden image"):
        self_test(answering(lambda batch: expected(batch[..., ::-1])), open_model(folder), kind="onnx")


def test_a_backend_with_different_embeddings_each_time_is_detected(folder):
    random = np.random.default_rng(0)

    def jittering(batch):
        vectors = expected(batch) + 0.02 * random.standard_normal((len(batch), DIM)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    with pytest.raises(ModelError, match="two runs"):
        self_test(answering(jittering), open_model(folder), kind="onnx")


def test_a_backend_that_never_answers_times_out(folder):
    with pytest.raises(EmbedderTimeoutError, match="self-test"):
        self_test(lambda _: Future(), open_model(folder), kind="onnx", timeout_s=0.01)


def test_an_error_of_the_backend_is_raised(folder):
    def failing(_):
        future = Future()
        future.set_exception(EmbedderError("the device is gone"))
        return future

    with pytest.raises(EmbedderError, match="the device is gone"):
        self_test(failing, open_model(folder), kind="onnx")
