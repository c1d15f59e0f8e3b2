"""The contract of text embedders, tested on every implementation."""

import numpy as np
import pytest

from edge.adapters.onnx import OnnxTextEmbedder
from edge.errors import ModelError
from edge.recognition.description import TextEmbedderInfo, to_text_input
from edge.recognition.embedding import l2_normalize
from edge.recognition.text_model import find_text_model, open_text_model, self_test_text
from tests.support.small_text_model import GOLDEN, random_weights, write_text_model
from tools.network.text_onnx import embed_texts

PICTURES = "a" * 16
DIM = 16


class ProjectionTextEmbedder:
    """A text embedder without a model: a random projection of the input."""

    info = TextEmbedderInfo("f" * 16, PICTURES, DIM, frozenset())

    def embed(self, texts):
        projection = np.random.default_rng(0).standard_normal((64, DIM)).astype(np.float32)
        return l2_normalize(to_text_input(texts, 64) @ projection) if texts else np.empty((0, DIM), np.float32)


@pytest.fixture
def folder(tmp_path):
    write_text_model(tmp_path / "hef" / "text-small", PICTURES, DIM)
    return tmp_path / "hef" / "text-small"


@pytest.fixture(params=["projection", "onnx"])
def embedder(request, folder):
    return ProjectionTextEmbedder() if request.param == "projection" else OnnxTextEmbedder(open_text_model(folder))


def test_rows_are_unit_vectors_in_the_order_of_the_texts(embedder):
    texts = ["red dragon", "blue fish", "tower at night"]
    rows = embedder.embed(texts)
    assert rows.dtype == np.float32
    assert rows.shape == (3, embedder.info.dim)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
    for row, text in zip(rows, texts, strict=True):
        assert np.allclose(embedder.embed([text])[0], row, atol=1e-5)


def test_equal_texts_have_equal_embeddings_and_others_do_not(embedder):
    first, again, other = embedder.embed(["red dragon", "RED  dragon!", "blue fish"])
    assert np.allclose(first, again, atol=1e-5)
    assert first @ other < 0.99


def test_no_text_gives_no_row(embedder):
    assert embedder.embed([]).shape == (0, embedder.info.dim)


def test_info_names_both_models(embedder):
    assert len(embedder.info.model_id) == 16
    assert embedder.info.picture_model_id == PICTURES


# --- ONNX Runtime only ---


def test_onnx_runtime_computes_the_network(folder):
    model = open_text_model(folder)
    embedder = OnnxTextEmbedder(model)
    assert np.allclose(embedder.embed(GOLDEN), embed_texts(GOLDEN, random_weights(DIM)), atol=1e-5)
    assert self_test_text(embedder, model) == pytest.approx(1.0, abs=1e-4)


def test_a_file_that_is_not_a_network_is_rejected_with_what_to_do(folder):
    model = open_text_model(folder)
    (folder / "model.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError, match=r"model\.onnx.*copy"):
        OnnxTextEmbedder(model)


def test_another_network_fails_the_self_test(folder, tmp_path):
    other = tmp_path / "other"
    write_text_model(other, PICTURES, DIM, weights=random_weights(DIM, seed=9))
    with pytest.raises(ModelError, match="wrong embedding of a golden text"):
        self_test_text(OnnxTextEmbedder(open_text_model(other)), open_text_model(folder))


def test_a_network_of_another_size_is_rejected(folder, tmp_path):
    write_text_model(tmp_path / "other", PICTURES, DIM, buckets=77)
    with pytest.raises(ModelError, match="train the text model again"):
        OnnxTextEmbedder(open_text_model(tmp_path / "other"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model.onnx").write_bytes(b"x"), r"model\.onnx: not the file"),
        (lambda folder: (folder / "golden.npy").unlink(), r"golden\.npy: cannot be read"),
        (lambda folder: (folder / "model.json").write_text("{"), r"model\.json: not JSON"),
        (lambda folder: (folder / "model.json").write_text('{"schema": "cardedge.text/2"}'), r"model\.json: schema"),
        (lambda folder: write_text_model(folder, PICTURES, DIM, tokenizer="words/9"), r"tokenizer `words/9`.*matching versions"),
    ],
)
def test_a_damaged_folder_is_refused_by_name(folder, damage, message):
    damage(folder)
    with pytest.raises(ModelError, match=message):
        open_text_model(folder)


def test_the_only_text_model_is_found_beside_picture_models(folder):
    places = (folder.parent / "nowhere", folder.parent)
    (folder.parent / "pictures").mkdir()
    (folder.parent / "pictures" / "model.json").write_text("{}")
    assert find_text_model(None, places) == folder
    assert find_text_model(folder.parent / "named", places) == folder.parent / "named"
    write_text_model(folder.parent / "text-other", PICTURES, DIM)
    with pytest.raises(ModelError, match="several text models"):
        find_text_model(None, places)
    with pytest.raises(ModelError, match="--text-model"):
        find_text_model(None, places[:1])
