"""The operations after the heads of the locator's network, against the ONNX file that contains them too."""

import numpy as np
import onnxruntime
import pytest

from edge.recognition.locator_model import find_locator_model, open_locator_model
from edge.vision.detector_heads import Heads, maps_of_heads
from tools.hailo.locator_part import write_locator_part


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The heads of the shipped network for two images, and the outputs of its ONNX file for them."""
    model = open_locator_model(find_locator_model(None))
    source = model.artifact_path("onnx")
    part = write_locator_part(source, tmp_path_factory.mktemp("part") / "part.onnx", model.info("onnx", max_batch=1).input_size)
    pixels = np.random.default_rng(1).integers(0, 256, (2, part.size.height, part.size.width, 3)).astype(np.uint8)
    pixels[1] //= 3
    whole = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"])
    compiled = onnxruntime.InferenceSession(str(part.onnx), providers=["CPUExecutionProvider"])
    planes = pixels.transpose(0, 3, 1, 2).astype(np.float32)
    rows = [compiled.run(None, {compiled.get_inputs()[0].name: row[None]}) for row in planes]
    heads = Heads(*(np.concatenate(outputs) for outputs in zip(*rows, strict=True)))
    return heads, Heads(*whole.run(list(Heads._fields), {"pixels": pixels}))


def test_the_maps_are_those_of_the_onnx_file(both):
    heads, expected = both
    maps = maps_of_heads(heads)
    assert np.allclose(maps.heat, expected.heat, atol=1e-4)
    assert np.allclose(maps.visible, expected.visible, atol=1e-4)
    # where there is no card, rounding decides which end of a diagonal comes first
    turned = np.roll(expected.corners.reshape(*expected.corners.shape[:1], 4, 2, -1), 2, axis=1).reshape(expected.corners.shape)
    same, other = (np.abs(maps.corners - corners).max(axis=1) for corners in (expected.corners, turned))
    assert np.minimum(same, other).max() < 2e-3
    order = np.where(same <= other, maps.order[:, 0], 1.0 - maps.order[:, 0])
    assert np.abs(order - expected.order[:, 0]).max() < 2e-3
    assert (same <= other).mean() > 0.99


def test_a_card_that_lies_the_other_way_up_has_the_same_corners_and_the_opposite_order(both):
    heads, _ = both
    maps, turned = maps_of_heads(heads), maps_of_heads(heads._replace(order=-heads.order))
    assert np.array_equal(maps.corners, turned.corners)
    assert np.allclose(maps.order, 1.0 - turned.order, atol=1e-6)
