"""Starting the model's backend beside other work."""

import threading

import pytest

from edge.app import model as app_model
from edge.app.model import load_model, start_model
from edge.errors import EmbedderError, ModelError
from edge.recognition.model import open_model
from edge.settings.sections import NetworkSection
from tests.support.small_model import write_model


@pytest.fixture
def settings(small_scanner):
    return NetworkSection(model=small_scanner.model, threads=1)


def test_the_caller_continues_while_the_backend_starts(settings, monkeypatch):
    index_open, original = threading.Event(), app_model.self_test

    def self_test(*args, **kwargs):
        assert index_open.wait(60)
        return original(*args, **kwargs)

    monkeypatch.setattr(app_model, "self_test", self_test)
    with start_model(settings) as starting:
        assert starting.artifact_sha256 == starting.model.artifact("onnx").sha256
        index_open.set()
        loaded = starting.result()
        assert loaded.artifact_sha256 == starting.artifact_sha256
        assert loaded.embed(loaded.model.golden_inputs[:1]).shape == (1, loaded.model.manifest.dim)
    with pytest.raises(EmbedderError, match="closed"):
        loaded.embedder.submit(loaded.model.golden_inputs[:1])


def test_a_backend_that_cannot_start_is_an_error_of_the_one_who_waits(settings, monkeypatch):
    def self_test(submit, *args, **kwargs):
        raise ModelError("wrong embedding of a golden image")

    monkeypatch.setattr(app_model, "self_test", self_test)
    with start_model(settings) as starting, pytest.raises(ModelError, match="wrong embedding"):
        starting.result()
    with pytest.raises(ModelError, match="wrong embedding"), load_model(settings):
        pass


def test_a_damaged_file_is_refused_before_it_runs(tmp_path):
    write_model(tmp_path / "small")
    path = open_model(tmp_path / "small").artifact_path("onnx")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with start_model(NetworkSection(model=tmp_path / "small")) as starting:
        assert starting.model.artifact("onnx").sha256 == starting.artifact_sha256
        with pytest.raises(ModelError, match=r"onnx: not the file model\.json describes"):
            starting.result()


def test_an_error_meanwhile_closes_the_backend(settings):
    with pytest.raises(ModelError, match="of the index"), start_model(settings) as starting:
        raise ModelError("of the index")
    with pytest.raises(EmbedderError, match="closed"):
        starting.result().embedder.submit(starting.model.golden_inputs[:1])
