"""The folder of a locator's model: found beside the embedding model's, verified, and refused with what to do."""

import pytest

from edge.app.locator import open_locate
from edge.errors import ModelError
from edge.recognition.locator_model import find_locator_model, open_locator_model
from edge.recognition.model import find_model
from edge.settings.sections import LocateSection
from tests.support.small_locator import FACE, OUTPUTS, drawn_input, write_locator_model, write_manifest
from tests.support.small_model import write_model


@pytest.fixture
def places(tmp_path):
    write_model(tmp_path / "hef" / "embedding")
    write_locator_model(tmp_path / "hef" / "card-locator")
    return (tmp_path / "hef",)


def test_each_kind_of_model_is_found_beside_the_other(places):
    assert find_model(None, places).name == "embedding"
    assert find_locator_model(None, places).name == "card-locator"


def test_without_a_model_the_message_names_the_next_step(tmp_path):
    with pytest.raises(ModelError, match=r"hef/card-locator.*locate\.method = \"classical\""):
        find_locator_model(None, (tmp_path,))


def test_of_several_one_must_be_named(places):
    write_locator_model(places[0] / "other")
    with pytest.raises(ModelError, match=r"card-locator, other.*locate\.model"):
        find_locator_model(None, places)


def test_the_settings_open_it(places):
    pixels = drawn_input((FACE, 6, 6), size=(1280, 960), scale=10.0)
    with open_locate(LocateSection(method="network", model=places[0] / "card-locator")) as locate:
        assert len(locate(pixels)) == 1
    with (
        pytest.raises(ModelError, match="not a model of the locator"),
        open_locate(LocateSection(method="network", model=places[0] / "embedding")),
    ):
        pass


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "cardedge.locator/2"}, "update cardedge"),
        ({"stride": 7}, "stride 7 does not divide"),
        ({"input": {"width": 128, "height": 96, "color_order": "BGR", "dtype": "uint8"}}, "input.color_order"),
        ({"classes": ["back", "face"]}, "classes.0"),
        ({"thresholds": {"score": 0.0}}, "thresholds.score"),
        ({"artifacts": {"onnx": {"file": "../model.onnx", "sha256": "0" * 64, "size": 1}}}, "artifacts.onnx.file"),
        ({"artifacts": {"onnx": {"file": "model.onnx", "sha256": "0" * 64, "size": 1}}}, "not the file"),
        ({"artifacts": {}}, "no `onnx` artifact"),
    ],
)
def test_a_wrong_description_is_refused_by_field(tmp_path, change, message):
    write_manifest(tmp_path, write_locator_model(tmp_path) | change)
    with pytest.raises(ModelError, match=message):
        open_locator_model(tmp_path).artifact_path("onnx")


def test_keys_of_later_exports_are_ignored(tmp_path):
    write_manifest(tmp_path, write_locator_model(tmp_path) | {"figures": {"recall": 1}, "npu": {"plan": "later"}})
    assert open_locator_model(tmp_path).info("onnx", max_batch=4).thresholds.score == 0.5


@pytest.mark.parametrize(("outputs", "width"), [(("a", "b", "c", "d"), 128), (OUTPUTS, 64)])
def test_a_network_of_another_form_is_refused(tmp_path, outputs, width):
    manifest = write_locator_model(tmp_path, outputs=outputs)
    manifest["input"] |= {"width": width}
    write_manifest(tmp_path, manifest)
    with pytest.raises(ModelError, match="export the model again"), open_locate(LocateSection(method="network", model=tmp_path)):
        pass
