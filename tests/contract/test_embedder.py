"""The contract of embedders, tested on every implementation."""

from concurrent.futures import wait

import numpy as np
import pytest

from edge.adapters.hailo import HailoEmbedder
from edge.adapters.onnx import OnnxEmbedder
from edge.errors import EmbedderError, ModelError
from edge.recognition.embedding import l2_normalize
from edge.recognition.model import open_model, self_test
from tests.support.hailo_double import Board, install
from tests.support.hailo_double.model import write_hailo_model
from tests.support.hardware import board_model
from tests.support.small_model import MAX_BATCH, expected, write_model
from tests.support.stand_ins import ProjectionEmbedder


def images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 224, 224, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "small"
    write_hailo_model(folder)
    return open_model(folder)


@pytest.fixture(params=["projection", "onnx", "hailo", pytest.param("hailo board", marks=pytest.mark.hardware)])
def embedder(request, model, monkeypatch):
    match request.param:
        case "projection":
            made = ProjectionEmbedder()
        case "onnx":
            made = OnnxEmbedder(model, threads=1)
        case "hailo":
            install(monkeypatch, Board())
            made = HailoEmbedder(model)
        case "hailo board":
            made = HailoEmbedder(board_model())
    yield made
    made.close()


def test_rows_are_unit_vectors_in_the_order_of_the_batch(embedder):
    batch = images(3)
    vectors = embedder.submit(batch).result(timeout=30)
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, embedder.info.dim)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    for row, image in zip(vectors, batch, strict=True):
        alone = embedder.submit(image[None]).result(timeout=30)[0]
        assert float(row @ alone) == pytest.approx(1.0, abs=1e-4)


def test_every_batch_size_up_to_the_maximum_is_accepted(embedder):
    for count in (1, embedder.info.max_batch):
        assert embedder.submit(images(count)).result(timeout=30).shape == (count, embedder.info.dim)


@pytest.mark.parametrize("excess", [None, 1])
def test_an_empty_or_too_large_batch_is_rejected(embedder, excess):
    count = 0 if excess is None else embedder.info.max_batch + excess
    with pytest.raises((EmbedderError, ValueError), match="batch"):
        embedder.submit(images(count))


def test_two_batches_may_be_in_flight(embedder):
    futures = [embedder.submit(images(2, seed)) for seed in range(2)]
    wait(futures, timeout=30)
    again = [embedder.submit(images(2, seed)).result(timeout=30) for seed in range(2)]
    for future, vectors in zip(futures, again, strict=True):
        assert np.allclose(future.result(timeout=0), vectors, atol=1e-5)


def test_info_describes_the_model(embedder):
    assert embedder.info.model_id
    assert len(embedder.info.artifact_sha256) == 64


def test_close_may_be_called_twice(embedder):
    embedder.close()
    embedder.close()


# --- ONNX Runtime only ---


def test_onnx_runtime_computes_the_network(model):
    embedder = OnnxEmbedder(model, threads=1)
    batch = images(MAX_BATCH)
    assert np.allclose(embedder.submit(batch).result(timeout=30), expected(batch), atol=1e-4)
    assert self_test(embedder.submit, model, kind="onnx") == pytest.approx(1.0, abs=1e-4)
    embedder.close()


@pytest.mark.parametrize("options", [{"arena": True}, {"spin": True}, {"graph_optimization": "none"}, {"threads": 2}])
def test_no_option_changes_the_embeddings(model, options):
    embedder = OnnxEmbedder(model, **{"threads": 1} | options)
    assert np.allclose(embedder.submit(images(2)).result(timeout=30), expected(images(2)), atol=1e-4)
    embedder.close()


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((1, 224, 224, 3), np.float32),
        np.zeros((1, 3, 224, 224), np.uint8),
        np.zeros((224, 224, 3), np.uint8),
        np.zeros((1, 256, 224, 3), np.uint8),
    ],
)
def test_an_input_of_another_shape_or_type_is_rejected(model, batch):
    embedder = OnnxEmbedder(model, threads=1)
    with pytest.raises(EmbedderError, match="to_input_batch"):
        embedder.submit(batch)
    assert embedder.submit(images(1)).result(timeout=30).shape[0] == 1
    embedder.close()


def test_a_batch_that_is_not_contiguous_is_accepted(model):
    embedder = OnnxEmbedder(model, threads=1)
    turned = images(2)[:, ::-1, ::-1]
    assert np.allclose(embedder.submit(turned).result(timeout=30), expected(np.ascontiguousarray(turned)), atol=1e-4)
    embedder.close()


def test_a_network_that_does_not_normalize_is_detected(tmp_path):
    write_model(tmp_path, unit=False)
    embedder = OnnxEmbedder(open_model(tmp_path), threads=1)
    with pytest.raises(EmbedderError, match="length"):
        embedder.submit(images(1)).result(timeout=30)
    embedder.close()


def test_submit_after_close_is_rejected(model):
    embedder = OnnxEmbedder(model, threads=1)
    embedder.close()
    with pytest.raises(EmbedderError, match="closed"):
        embedder.submit(images(1))


def test_close_finishes_pending_batches(model):
    embedder = OnnxEmbedder(model, threads=1)
    future = embedder.submit(images(2))
    embedder.close()
    assert future.done()
    assert l2_normalize(future.result(timeout=0)).shape[0] == 2


def test_a_file_that_is_not_a_network_is_rejected_with_what_to_do(model):
    class Damaged:
        model_id, manifest = model.model_id, model.manifest

        def artifact(self, kind):
            return model.artifact(kind)

        def artifact_path(self, kind):
            return model.folder / "golden.npy"

    with pytest.raises(ModelError, match=r"golden\.npy.*copy"):
        OnnxEmbedder(Damaged(), threads=1)
