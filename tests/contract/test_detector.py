"""The contract of detectors, tested on every implementation."""

import threading

import numpy as np
import pytest

from edge.adapters.hailo import HailoDetector
from edge.adapters.onnx import OnnxDetector
from edge.errors import DetectorError, ModelError
from edge.recognition.locator_model import open_locator_model
from edge.vision.corner_crops import CROP_SIZE, INNER, crop_of, look
from edge.vision.detector import CloserInfo, decode
from edge.vision.windows import Window, letterbox
from tests.support.hailo_double import Board, install
from tests.support.hailo_double.model import add_hailo_closer, write_hailo_locator
from tests.support.hardware import board_locator_model
from tests.support.scripted_detector import FormulaDetector
from tests.support.small_locator import BACK, CARD, FACE, FACE_TURNED, STRIDE, add_closer, drawn_input, write_locator_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "small-locator"
    write_hailo_locator(folder)
    add_hailo_closer(folder)
    return open_locator_model(folder)


@pytest.fixture(params=["formula", "onnx", "hailo", pytest.param("hailo board", marks=pytest.mark.hardware)])
def detector(request, model, monkeypatch):
    match request.param:
        case "formula":
            made = FormulaDetector(closer=CloserInfo(max_batch=8, card=0.5))
        case "onnx":
            made = OnnxDetector(model)
        case "hailo":
            install(monkeypatch, Board())
            made = HailoDetector(model)
        case "hailo board":
            made = HailoDetector(board_locator_model())
    yield made
    made.close()


def found_in(detector, maps, row=0):
    return decode(maps, row, detector.info, min_score=0.5, most=10)


def test_the_outputs_have_the_sizes_of_the_info(detector):
    maps = detector.detect(np.stack([drawn_input()] * 2))
    width, height = detector.info.input_size
    for output, channels in ((maps.heat, 2), (maps.corners, 8), (maps.order, 1), (maps.visible, 1)):
        assert output.dtype == np.float32
        assert output.shape == (2, channels, height // STRIDE, width // STRIDE)


def test_every_batch_size_up_to_the_maximum_gives_the_rows_of_single_runs(detector):
    for count in (1, detector.info.max_batch):
        batch = np.stack([drawn_input((FACE, 2 + number, 4)) for number in range(count)])
        maps = detector.detect(batch)
        for row in range(count):
            alone = detector.detect(batch[row : row + 1])
            assert np.allclose(maps.heat[row], alone.heat[0], atol=1e-4)
            assert found_in(detector, maps, row).quads.mean(axis=(0, 1)) == pytest.approx([(2.5 + row) * STRIDE, 4.5 * STRIDE], abs=0.1)


def test_cards_have_a_place_an_order_and_a_face(detector):
    found = found_in(detector, detector.detect(drawn_input((FACE, 3, 5), (FACE_TURNED, 8, 5), (BACK, 13, 5))[None]))
    by_x = found.select(np.argsort(found.quads[:, :, 0].mean(axis=1)))
    half = np.array(CARD) / 2
    assert by_x.is_back.tolist() == [False, False, True]
    assert np.allclose(by_x.quads[0][0], np.array([3.5, 5.5]) * STRIDE - half, atol=0.1)
    assert np.allclose(by_x.quads[1][0], np.array([8.5, 5.5]) * STRIDE + half, atol=0.1), "it starts at the opposite corner"
    assert (by_x.order > 0.95).all()
    assert (by_x.visible > 0.9).all()


def crops_of(detector, *marks):
    """Crops of one card with each mark, as the detector proposes it."""
    made = []
    for mark in marks:
        pixels = drawn_input((mark, 5, 5)) if mark else drawn_input()
        quad = (np.array([5.5, 5.5]) * STRIDE - 0.5 + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * np.array(CARD) / 2).astype(
            np.float32
        )
        made.append(crop_of(pixels, quad))
    return np.stack(made)


def test_a_closer_look_tells_faces_backs_and_nothing_and_where_the_corners_are(detector):
    crops = crops_of(detector, FACE, BACK, None)
    seen = look(detector.look_closer(crops))
    assert seen.face[0] > 0.9
    assert seen.back[1] > 0.9
    assert seen.face[2] + seen.back[2] < 0.5
    assert np.allclose(seen.corners, INNER, atol=0.2)
    assert (seen.upright > 0.9).all()


def test_every_number_of_crops_up_to_the_maximum_gives_the_rows_of_single_looks(detector):
    crops = crops_of(detector, *([FACE, BACK] * detector.info.closer.max_batch)[: detector.info.closer.max_batch])
    together = detector.look_closer(crops)
    for row, crop in enumerate(crops):
        assert np.allclose(detector.look_closer(crop[None]).kinds[0], together.kinds[row], atol=0.2), "within 8 bits"


@pytest.mark.parametrize(
    ("shape", "dtype"), [((0, 128, 96, 3), np.uint8), ((99, 128, 96, 3), np.uint8), ((1, 96, 128, 3), np.uint8), ((1, 128, 96, 3), float)]
)
def test_other_crops_are_rejected(detector, shape, dtype):
    with pytest.raises(DetectorError, match="crops"):
        detector.look_closer(np.zeros(shape, dtype))


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((0, 96, 128, 3), np.uint8),
        np.zeros((9, 96, 128, 3), np.uint8),
        np.zeros((1, 128, 96, 3), np.uint8),
        np.zeros((1, 96, 128, 3), np.float32),
    ],
)
def test_another_input_is_rejected_and_the_next_one_runs(detector, batch):
    with pytest.raises(DetectorError, match=r"batch|letterbox"):
        detector.detect(batch)
    assert detector.detect(drawn_input()[None]).heat.shape[0] == 1


def test_it_may_be_called_from_several_threads(detector):
    batch = drawn_input((FACE, 3, 5))[None]
    expected, results = detector.detect(batch).heat, []
    threads = [threading.Thread(target=lambda: results.append(detector.detect(batch).heat)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(results) == 4
    assert all(np.allclose(result, expected, atol=1e-4) for result in results)


def test_it_cannot_be_used_after_close_which_may_be_called_twice(detector):
    detector.close()
    detector.close()
    with pytest.raises(DetectorError, match="closed"):
        detector.detect(drawn_input()[None])
    with pytest.raises(DetectorError, match="closed"):
        detector.look_closer(np.zeros((1, CROP_SIZE.height, CROP_SIZE.width, 3), np.uint8))


# --- ONNX Runtime only ---


def test_a_network_exported_for_one_input_takes_batches(tmp_path):
    write_locator_model(tmp_path, batch=1)
    detector = OnnxDetector(open_locator_model(tmp_path))
    maps = detector.detect(np.stack([drawn_input((FACE, 3, 5)), drawn_input()]))
    assert [len(found_in(detector, maps, row)) for row in range(2)] == [1, 0]


def test_a_network_of_free_size_runs_only_what_the_frame_fills(tmp_path):
    write_locator_model(tmp_path, batch="n", sides=("h", "w"))
    detector = OnnxDetector(open_locator_model(tmp_path))
    wide = letterbox(drawn_input((FACE, 4, 2), size=(1280, 320), scale=10.0), [Window(0, 0, 1280, 320)], detector.info.input_size,
                     detector.info.granule)  # fmt: skip
    assert wide.shape == (1, 32, 128, 3)
    found = found_in(detector, detector.detect(wide))
    assert found.quads.mean(axis=(0, 1)) == pytest.approx([4.5 * STRIDE, 2.5 * STRIDE], abs=0.1)
    with pytest.raises(DetectorError, match="letterbox"):
        detector.detect(np.zeros((1, 40, 128, 3), np.uint8))


def test_a_model_without_a_second_network_says_so(tmp_path):
    write_locator_model(tmp_path)
    detector = OnnxDetector(open_locator_model(tmp_path))
    assert detector.info.closer is None
    with pytest.raises(DetectorError, match="no network that looks closer"):
        detector.look_closer(np.zeros((1, 128, 96, 3), np.uint8))


def test_a_second_network_of_another_shape_is_named(tmp_path):
    write_locator_model(tmp_path)
    add_closer(tmp_path, batch=1)
    with pytest.raises(ModelError, match=r"corners\.onnx: takes"):
        OnnxDetector(open_locator_model(tmp_path))
