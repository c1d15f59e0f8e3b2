"""Which file of a model the CPU runs: by its agreement, the processor and the settings."""

from dataclasses import replace

import pytest

from edge.app.model import choose_precision, load_model
from edge.errors import ModelError
from edge.recognition.model import ArtifactAgreement, open_model
from edge.settings.sections import NetworkSection
from edge.system.processor import Int8Kernel
from tests.support.small_model import write_model

CLOSE = ArtifactAgreement(count=160, mean_cosine=0.998, min_cosine=0.99, top1=1.0)


@pytest.fixture
def model(tmp_path):
    write_model(tmp_path / "small")
    return open_model(tmp_path / "small")


def with_int8(model, agreement):
    record = model.manifest.artefacts["onnx"].model_copy(update={"sha256": "1" * 64})
    changed = {"artefacts": {**model.manifest.artefacts, "int8": record}, "agreement": {} if agreement is None else {"int8": agreement}}
    return replace(model, manifest=model.manifest.model_copy(update=changed))


@pytest.mark.parametrize(
    ("agreement", "wanted", "kernel", "chosen", "reason"),
    [
        (CLOSE, "auto", Int8Kernel.AVX2, "int8", "AVX2"),
        (CLOSE, "auto", Int8Kernel.DOT_PRODUCT, "int8", "arm64"),
        (CLOSE, "auto", Int8Kernel.NONE, "onnx", "slower"),
        (CLOSE, "float", Int8Kernel.VNNI, "onnx", "network.precision is float"),
        (CLOSE, "int8", Int8Kernel.NONE, "int8", "network.precision is int8"),
        (None, "auto", Int8Kernel.VNNI, "onnx", "does not record"),
        (CLOSE.model_copy(update={"mean_cosine": 0.95}), "auto", Int8Kernel.VNNI, "onnx", "does not record"),
    ],
)
def test_8_bits_run_where_they_are_faster_and_agree(model, agreement, wanted, kernel, chosen, reason):
    kind, why = choose_precision(with_int8(model, agreement), wanted, kernel)
    assert kind == chosen
    assert reason in why


def test_a_model_without_an_8_bit_file_runs_as_it_is_and_says_so(model):
    assert choose_precision(model, "auto", Int8Kernel.VNNI) == ("onnx", "the model has no 8-bit file")
    with pytest.raises(ModelError, match="no `int8` artifact"):
        choose_precision(model, "int8", Int8Kernel.VNNI)


def test_the_log_says_which_file_runs_and_why(model, caplog):
    caplog.set_level("INFO")
    with load_model(NetworkSection(model=model.folder)) as loaded:
        assert loaded.precision == "the model has no 8-bit file"
        assert loaded.embedder.info.artifact_sha256 == model.artifact("onnx").sha256
    assert "model.onnx: the model has no 8-bit file" in caplog.text
