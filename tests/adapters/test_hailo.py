"""The Hailo adapter on the contract double: named failures, recovery, order of release."""

import logging
import os
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from edge.adapters.hailo import HailoDetector, HailoEmbedder
from edge.adapters.hailo_npu import HailoNpu, HailoTimeouts
from edge.errors import (
    EmbedderError,
    ModelError,
    NpuAbsentError,
    NpuError,
    NpuHefError,
    NpuOverheatedError,
    NpuRemovedError,
    NpuReopeningError,
    NpuVersionError,
)
from edge.recognition.locator_model import open_locator_model
from edge.recognition.model import open_model, self_test
from edge.system.npu import NpuState, ReopenPolicy, warnings
from tests.support.hailo_double import Board, Fault, install, write_hef
from tests.support.hailo_double.model import write_hailo_locator, write_hailo_model
from tests.support.hailo_failures import OPENING, WORKING, promised
from tests.support.small_locator import FACE, drawn_input
from tests.support.small_model import MAX_BATCH, expected, write_network

QUICK = ReopenPolicy((0.02, 0.04, 0.08))
SHORT = HailoTimeouts(open_s=10.0, submit_s=1.0, run_s=0.3)


def images(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 224, 224, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    write_hailo_model(tmp_path / "small")
    return tmp_path / "small"


@pytest.fixture
def model(folder):
    return open_model(folder)


@pytest.fixture
def start(monkeypatch, model):
    started = []

    def starter(board, *, of=model, **options):
        install(monkeypatch, board)
        started.append(HailoEmbedder(of, **({"timeouts": SHORT, "reopen": QUICK} | options)))
        return started[-1]

    yield starter
    for embedder in started:
        embedder.close()


def until(condition, timeout_s=5.0):
    end_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end_s, "did not happen in time"
        time.sleep(0.005)


# --- embeddings ---


def test_the_output_of_the_chip_becomes_the_embedding(start):
    embedder = start(Board(output_bits=16))
    batch = images(MAX_BATCH)
    answer = embedder.submit(batch).result(5)
    assert np.min(np.sum(answer * expected(batch), axis=1)) > 0.999


def test_eight_bits_are_dequantized_before_normalization(start):
    # raw bytes carry a zero point, which would rotate every vector towards the diagonal
    batch = images(4)
    answer = start(Board(output_bits=8)).submit(batch).result(5)
    assert np.min(np.sum(answer * expected(batch), axis=1)) > 0.99


def test_the_same_image_gives_the_same_bytes_and_passes_the_self_test(start, model):
    embedder = start(Board())
    assert self_test(embedder.submit, model, kind="hef") > 0.99


def test_a_chip_with_different_embeddings_each_time_is_rejected(start, model):
    embedder = start(Board(noise=True))
    with pytest.raises(ModelError, match="two runs of one image differ"):
        self_test(embedder.submit, model, kind="hef")


def test_two_batches_run_at_a_time_and_a_fifth_submission_times_out(start):
    board = Board(latency_s=0.1)
    embedder = start(board, timeouts=HailoTimeouts(submit_s=0.02, run_s=5.0))
    futures = [embedder.submit(images(2, seed)) for seed in range(4)]
    with pytest.raises(EmbedderError, match="earlier batches"):
        embedder.submit(images(1))
    for seed, future in enumerate(futures):
        assert np.min(np.sum(future.result(5) * expected(images(2, seed)), axis=1)) > 0.99
    assert board.deepest == 2


@pytest.mark.parametrize(
    "batch", [np.zeros((1, 224, 224, 3), np.float32), np.zeros((1, 3, 224, 224), np.uint8), np.zeros((9, 224, 224, 3), np.uint8)]
)
def test_a_batch_that_would_shut_the_model_down_is_rejected(start, batch):
    embedder = start(Board())
    with pytest.raises(EmbedderError):
        embedder.submit(batch)
    assert embedder.submit(images(1)).result(5).shape == (1, embedder.info.dim)


@pytest.mark.parametrize(("count", "runs"), [(1, [2]), (2, [2]), (4, [2, 2]), (MAX_BATCH, [2, 2, 2])])
def test_images_run_in_pairs_so_that_the_model_is_streamed_once_for_two(start, count, runs):
    board = Board()
    embedder = start(board)
    batch = images(count)
    answer = embedder.submit(batch).result(5)
    assert answer.shape == (count, embedder.info.dim)
    assert np.min(np.sum(answer * expected(batch), axis=1)) > 0.99
    assert board.runs == runs


def test_a_batch_that_may_not_be_written_is_embedded(start):
    batch = images(2)
    batch.setflags(write=False)
    assert start(Board()).submit(batch).result(5).shape[0] == 2


# --- failures of opening ---


@pytest.mark.parametrize("situation", OPENING)
def test_every_failure_of_opening_has_a_name_and_advice(start, situation):
    failure = OPENING[situation]
    board = failure.make_board()
    with pytest.raises(failure.error, match=failure.advice) as raised:
        start(board)
    name, words = promised(situation)
    assert name == type(raised.value).__name__
    assert words in str(raised.value)
    held = [what for what in board.journal if what == "vdevice opened"]
    given_back = [what for what in board.journal if what == "vdevice released"]
    assert len(held) == len(given_back), "a failed start must not keep the device"


def test_a_missing_library_is_named_and_the_logger_is_configured_before(start, tmp_path, monkeypatch):
    package = tmp_path / "packages" / "hailo_platform"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "import os\nclass MissingPyHRTLib(Exception): pass\n"
        "assert os.environ['HAILORT_LOGGER_PATH'] == 'NONE'\nraise MissingPyHRTLib('libhailort.so')\n"
    )
    monkeypatch.delenv("HAILORT_LOGGER_PATH", raising=False)
    monkeypatch.syspath_prepend(package.parent)
    with pytest.raises(NpuVersionError, match=r"hailo-all.*MissingPyHRTLib: libhailort.so"):
        HailoEmbedder(open_model(tmp_path / "small"))


def test_a_damaged_hef_is_named(start, folder, model):
    (folder / "model.hef").write_bytes(b"not a hef")
    with pytest.raises(NpuHefError, match="damaged"):
        start(Board(), of=model)


def test_batches_larger_than_the_runtimes_queue_are_rejected_at_once(start):
    board = Board(queue_size=MAX_BATCH - 1)
    with pytest.raises(ModelError, match=f"{MAX_BATCH - 1} images at a time"):
        start(board)
    assert board.journal[-1] == "vdevice released"


def test_a_hef_of_another_network_is_rejected(start, folder, model, tmp_path):
    write_network(tmp_path / "small" / "other.onnx", dim=16)
    write_hef(folder / "model.hef", folder / "other.onnx")
    embedder = start(Board(), of=model)
    embedder.close()

    class Wider:
        model_id, manifest = model.model_id, model.manifest.model_copy(update={"dim": 32})
        artifact, artifact_path = model.artifact, model.artifact_path

    with pytest.raises(ModelError, match="32 numbers"):
        start(Board(), of=Wider())


# --- failures in operation ---


@pytest.mark.parametrize("situation", WORKING)
def test_a_failing_job_has_a_named_error_and_the_device_is_reopened(start, situation, caplog):
    failure = WORKING[situation]
    board = Board()
    embedder = start(board)
    board.faults.append(replace(failure.fault))
    caplog.set_level(logging.INFO)
    with pytest.raises(failure.error, match=failure.advice) as raised:
        embedder.submit(images(1)).result(5)
    name, words = promised(situation)
    assert name == type(raised.value).__name__
    assert words in str(raised.value)
    until(lambda: embedder.status().reopened == 1 and embedder.status().state is NpuState.READY)
    assert [record.levelname for record in caplog.records if failure.advice in record.message] == ["ERROR"]
    until(lambda: "the NPU has recovered" in caplog.text)
    batch = images(2)
    assert np.min(np.sum(embedder.submit(batch).result(5) * expected(batch), axis=1)) > 0.99


def test_all_pending_jobs_fail_with_the_error(start):
    board = Board(latency_s=0.05)
    embedder = start(board)
    board.faults.append(Fault("job", 63))
    futures = [embedder.submit(images(1, seed)) for seed in range(3)]
    for future in futures:
        with pytest.raises(NpuError):
            future.result(5)


def test_submissions_during_reopening_fail_with_that_reason(start):
    board = Board()
    embedder = start(board, reopen=ReopenPolicy((0.5,)))
    board.faults.append(Fault("job", 63))
    with pytest.raises(NpuOverheatedError):
        embedder.submit(images(1)).result(5)
    with pytest.raises(NpuReopeningError, match="being reopened"):
        embedder.submit(images(1))
    assert embedder.status().state is NpuState.FAILED


def test_a_removed_board_stays_failed_with_the_last_error(start):
    board = Board()
    embedder = start(board)
    board.present = False
    with pytest.raises(NpuRemovedError):
        embedder.submit(images(1)).result(5)

    def final():
        try:
            embedder.submit(images(1)).result(5)
        except NpuReopeningError:
            return False
        except NpuAbsentError:
            return True

    until(final)
    assert embedder.status().state is NpuState.FAILED


def test_a_board_reconnected_in_time_recovers(start):
    board = Board()
    embedder = start(board, reopen=ReopenPolicy((0.05, 0.1, 0.2)))
    board.present = False
    with pytest.raises(NpuRemovedError):
        embedder.submit(images(1)).result(5)
    threading.Timer(0.1, lambda: setattr(board, "present", True)).start()
    until(lambda: embedder.status().state is NpuState.READY)
    assert embedder.submit(images(1)).result(5).shape == (1, embedder.info.dim)


# --- closing ---


def test_the_model_is_released_before_the_device(start):
    board = Board()
    embedder = start(board)
    embedder.submit(images(1)).result(5)
    embedder.close()
    assert board.journal == ["vdevice opened", "model configured", "model released", "vdevice released"]
    assert embedder.status().state is NpuState.CLOSED


def test_close_finishes_pending_jobs(start):
    embedder = start(Board(latency_s=0.05))
    futures = [embedder.submit(images(1, seed)) for seed in range(3)]
    embedder.close()
    assert all(future.done() for future in futures)
    assert futures[0].result(0).shape == (1, embedder.info.dim)


def test_a_board_that_is_not_throttled_reports_minus_one(start):
    status = start(Board()).status()
    assert status.throttling_level is None
    assert warnings(status) == ()
    assert "level 0" in warnings(start(Board(throttling_level=0)).status())[0]


def test_the_sensor_values_of_the_board(start):
    status = start(Board(temperature_c=61.0, throttling_level=2)).status()
    assert (status.state, status.temperature_c, status.throttling_level) == (NpuState.READY, 61.0, 2)
    assert (status.clock_mhz, status.architecture, status.firmware) == (400.0, "HAILO8L", "4.23.0")


def test_a_board_that_refuses_its_temperature_reports_the_rest(start):
    status = start(Board(temperature_refused=True)).status()
    assert (status.temperature_c, status.gauges_error, status.clock_mhz, status.architecture) == (None, None, 400.0, "HAILO8L")


@pytest.mark.parametrize(("runtime", "warns"), [("4.20.1", False), ("4.23.0", False), ("4.24.0", True), ("4.30.0", True)])
def test_later_runtimes_are_accepted_with_a_warning(start, caplog, runtime, warns):
    embedder = start(Board(library=runtime, driver=runtime))
    assert embedder.submit(images(1)).result(5).shape == (1, embedder.info.dim)
    assert (f"HailoRT {runtime} is newer than 4.23" in caplog.text) is warns


@pytest.mark.parametrize("times", [1, 99])
@pytest.mark.parametrize(("status", "said"), [(16, "firmware"), (36, "disappeared from the bus")])
def test_unreadable_sensor_values_are_reported_and_embedding_continues(start, status, said, times):
    embedder = start(Board(faults=[Fault("control", status, times)]))
    assert said in embedder.status().gauges_error
    assert embedder.submit(images(1)).result(5).shape == (1, embedder.info.dim)


def test_log_files_are_disabled_before_the_runtime_is_imported(start, monkeypatch):
    monkeypatch.delenv("HAILORT_LOGGER_PATH", raising=False)
    start(Board())
    assert os.environ["HAILORT_LOGGER_PATH"] == "NONE"


# --- two networks on one chip ---


@pytest.fixture
def locator_model(tmp_path):
    write_hailo_locator(tmp_path / "locator")
    return open_locator_model(tmp_path / "locator")


@pytest.fixture
def shared(monkeypatch, model, locator_model):
    """A board, its NPU, and an embedder and a detector on it."""
    board = Board()
    install(monkeypatch, board)
    npu = HailoNpu(timeouts=SHORT, reopen=QUICK)
    yield board, npu, HailoEmbedder(model, npu=npu), HailoDetector(locator_model, npu=npu)
    npu.close()


def test_embedder_and_detector_share_one_device(shared):
    board, npu, embedder, detector = shared
    futures = [embedder.submit(images(2, seed)) for seed in range(4)]
    assert detector.detect(drawn_input((FACE, 3, 5))[None]).heat.max() > 0.9
    for seed, future in enumerate(futures):
        assert np.min(np.sum(future.result(5) * expected(images(2, seed)), axis=1)) > 0.99
    assert board.journal.count("vdevice opened") == 1
    low, high = board.priorities
    assert high > low, "a frame does not wait for queued batches of the embedder"
    for port in (embedder, detector):
        port.close()
    npu.close()
    assert board.journal[-3:] == ["model released", "model released", "vdevice released"]


def test_both_networks_are_configured_again_after_a_failure(shared):
    board, npu, embedder, detector = shared
    board.faults.append(Fault("job", 63))
    with pytest.raises(NpuOverheatedError):
        detector.detect(drawn_input()[None])
    until(lambda: npu.status().reopened == 1 and npu.status().state is NpuState.READY)
    until(lambda: _runs(lambda: detector.detect(drawn_input()[None])))
    assert embedder.submit(images(1)).result(5).shape == (1, embedder.info.dim)


def _runs(call):
    try:
        call()
    except NpuReopeningError:
        return False
    return True


def test_a_network_that_cannot_be_added_leaves_the_others_running(shared, locator_model):
    _, npu, embedder, detector = shared
    locator_model.artifact_path("hef").write_bytes(b"not a hef")
    with pytest.raises(NpuHefError, match="damaged"):
        HailoDetector(locator_model, npu=npu)
    assert embedder.submit(images(1)).result(5).shape == (1, embedder.info.dim)
    assert detector.detect(drawn_input()[None]).heat.shape[0] == 1


def test_outputs_of_other_names_are_rejected(monkeypatch, tmp_path):
    write_hailo_locator(tmp_path / "locator", listed=("a", "b", "c", "d"))
    board = Board()
    install(monkeypatch, board)
    with pytest.raises(ModelError, match="has the outputs locator/conv1"):
        HailoDetector(open_locator_model(tmp_path / "locator"))
    assert board.journal[-1] == "vdevice released"
    write_hailo_locator(tmp_path / "locator", listed=None)
    with pytest.raises(ModelError, match=r"artifacts\.hef\.outputs"):
        HailoDetector(open_locator_model(tmp_path / "locator"))
