"""The network on a Hailo-8L: ``Embedder`` through HailoRT's asynchronous InferModel API (4.20 to 4.23).

One thread owns the device for as long as it is open: HailoRT makes no promise about threads, a failed submission shuts its model down, and
opening or configuring holds the interpreter lock. Callers hand over batches; the runtime's callback only posts a note; all results are
read by the owner, after success. Two batches are with the runtime at a time, so that the chip has its next work waiting.

A failure ends what is in flight with a named error, releases the device (configured model first, then the device) and opens it again after
a back-off; meanwhile submissions fail with ``NpuReopeningError``. When all attempts are used up, they fail with the last named error, and
whoever runs us ends the process. A call that never returns while it holds the lock stops everything: that is the supervisor's watchdog's.
"""

from __future__ import annotations

import importlib
import os
import queue
import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge.embedding import INPUT_SIZE, EmbeddingMatrix, InputBatch, ModelId, l2_normalize
from edge.errors import EmbedderError, EmbedderTimeoutError, ModelError, NpuError, NpuReopeningError
from edge.model import Model
from edge.npu import Doing, NpuFailure, NpuReadings, NpuState, ReopenPolicy, explain

_LOGGER_PATH: Final = "HAILORT_LOGGER_PATH"  # NONE: no log files; its messages on standard error reach the journal
_PCI: Final = Path("/sys/bus/pci/devices")
_GENERATIONS: Final = {"2.5 GT/s": "Gen1", "5.0 GT/s": "Gen2", "8.0 GT/s": "Gen3", "16.0 GT/s": "Gen4"}
_IN_FLIGHT: Final = 2
_WAITING: Final = 1
_READINGS_S: Final = 10.0
_JOIN_S: Final = 12.0  # releasing a configured model waits up to 10 s for its transfers


@dataclass(frozen=True, slots=True)
class HailoTimeouts:
    """How long things may take."""

    open_s: float = 20.0
    submit_s: float = 3.0
    run_s: float = 2.0
    """From handing a batch to the runtime to its result; a batch of eight takes a Hailo-8L about half a second."""


@dataclass(slots=True, eq=False)
class _Job:
    """A batch and what its caller waits for. ``outputs`` belong to the runtime until the job has ended well."""

    batch: InputBatch
    future: Future[EmbeddingMatrix]
    outputs: list[NDArray[np.float32]]
    deadline_s: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Ended:
    """The runtime's note that a job has ended; ``error`` is what it ended with."""

    job: _Job
    error: Exception | None


class HailoEmbedder:
    """Runs the ``hef`` artefact of a model. Opening happens here; raises a named ``NpuError`` when it fails."""

    def __init__(self, model: Model, *, timeouts: HailoTimeouts | None = None, reopen: ReopenPolicy | None = None) -> None:
        self._model_id = model.model_id
        self._artefact = model.artefact("hef")
        self._hef = os.fspath(model.artefact_path("hef"))
        self._dim = model.manifest.dim
        self._timeouts = timeouts or HailoTimeouts()
        self._back_off_s = (reopen or ReopenPolicy()).back_off_s
        self._mailbox: queue.SimpleQueue[_Job | _Ended | None] = queue.SimpleQueue()
        self._free = threading.BoundedSemaphore(_IN_FLIGHT + _WAITING)
        self._readings = NpuReadings(NpuState.ABSENT)
        self._failure: NpuError | None = None
        self._closed = False
        self._device: _OpenDevice | None = None
        self._waiting: deque[_Job] = deque()
        self._in_flight: deque[_Job] = deque()
        self._ending = False
        opened: Future[None] = Future()
        self._owner = threading.Thread(target=self._own, args=(opened,), name="hailo-owner", daemon=True)
        self._owner.start()
        try:
            opened.result(self._timeouts.open_s)
        except TimeoutError as error:
            raise explain(NpuFailure("open", 4, f"opening took longer than {self._timeouts.open_s:g} s")) from error
        # the future holds the error and the error holds this frame; nothing else breaks that circle
        del opened

    @property
    def model_id(self) -> ModelId:
        """Hash of the trained weights."""
        return self._model_id

    @property
    def artefact(self) -> str:
        """sha256 of the HEF in use."""
        return self._artefact.sha256

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self._dim

    @property
    def max_batch(self) -> int:
        """Most inputs of one submission."""
        return self._artefact.max_batch

    def readings(self) -> NpuReadings:
        """Return the newest readings, without waiting for the device."""
        return self._readings

    def submit(self, batch: InputBatch) -> Future[EmbeddingMatrix]:
        """Start embedding uint8 (1..max_batch, 224, 224, 3); see ``edge.pipeline.Embedder``.

        Everything is checked here: a batch that HailoRT refuses would shut the model down.
        """
        if self._closed:
            raise EmbedderError("the network was closed; open it again before embedding")
        if batch.dtype != np.uint8 or batch.shape[1:] != (INPUT_SIZE.height, INPUT_SIZE.width, 3):
            raise EmbedderError(f"input {batch.dtype}{batch.shape} is not uint8 (n, 224, 224, 3); prepare it with `to_input_batch`")
        if not 1 <= len(batch) <= self.max_batch:
            raise EmbedderError(f"a batch of {len(batch)} inputs; submit 1 to {self.max_batch} at a time")
        if self._failure is not None:
            raise self._failure
        if not self._free.acquire(timeout=self._timeouts.submit_s):
            raise EmbedderTimeoutError(f"the NPU did not finish earlier batches within {self._timeouts.submit_s:g} s")
        outputs = [np.empty(self._dim, dtype=np.float32) for _ in range(len(batch))]
        job = _Job(np.ascontiguousarray(batch), Future(), outputs)
        self._mailbox.put(job)
        return job.future

    def close(self) -> None:
        """Finish what is in flight, release the device, end the owner. May be called twice."""
        if not self._closed:
            self._closed = True
            self._mailbox.put(None)
            self._owner.join(_JOIN_S)

    # --- the owner's thread ---

    def _own(self, opened: Future[None]) -> None:
        """Hold the device from opening to close."""
        try:
            self._open()
        except Exception as error:  # noqa: BLE001 - whatever opening raises belongs to whoever opens
            self._turn(NpuState.FAILED, str(error))
            opened.set_exception(error)
            return
        opened.set_result(None)
        read_s = time.monotonic()
        while not (self._ending and not self._waiting and not self._in_flight):
            self._attend(self._next_note())
            self._hand_over()
            if time.monotonic() - read_s > _READINGS_S:
                self._read_gauges()
                read_s = time.monotonic()
        self._release()
        self._turn(NpuState.CLOSED)

    def _next_note(self) -> _Job | _Ended | None:
        """Wait for the next note; None when the oldest job is overdue, when nothing happened, or when the end was asked for."""
        patience_s = max(0.0, self._in_flight[0].deadline_s - time.monotonic()) if self._in_flight else _READINGS_S
        try:
            note = self._mailbox.get(timeout=patience_s)
        except queue.Empty:
            return None
        self._ending = self._ending or note is None
        return note

    def _attend(self, note: _Job | _Ended | None) -> None:
        if isinstance(note, _Job):
            self._waiting.append(note)
        elif isinstance(note, _Ended) and note.job in self._in_flight:  # a job given up on may still end
            if note.error is not None:
                self._recover(_failure("infer", note.error))
            else:
                self._in_flight.remove(note.job)
                self._finish(note.job)
        if self._in_flight and time.monotonic() >= self._in_flight[0].deadline_s:
            self._recover(NpuFailure("infer", 4, f"no answer within {self._timeouts.run_s:g} s"))

    def _hand_over(self) -> None:
        """Give the runtime as many batches as it shall have."""
        while self._waiting and len(self._in_flight) < _IN_FLIGHT:
            job = self._waiting.popleft()
            if self._device is None:
                self._give_up(job, self._failure)
                continue
            job.deadline_s = time.monotonic() + self._timeouts.run_s
            self._in_flight.append(job)
            try:
                self._device.start(job, self._timeouts.run_s, self._mailbox.put)
            except Exception as error:  # noqa: BLE001 - the binding raises classes without a common base
                self._recover(_failure("infer", error))

    def _finish(self, job: _Job) -> None:
        """Give the caller its embeddings. A compiled network ends before the normalisation: the division by the length is ours."""
        try:
            job.future.set_result(l2_normalize(np.stack(job.outputs)))
        except EmbedderError as error:
            job.future.set_exception(error)
        self._free.release()

    def _give_up(self, job: _Job, error: NpuError | None) -> None:
        job.future.set_exception(error or NpuError("the NPU is closed"))
        self._free.release()

    def _recover(self, failure: NpuFailure) -> None:
        """End everything under way with the failure's name, then open the device again, patiently."""
        error = explain(replace(failure, devices=_device_count()))
        self._failure = NpuReopeningError(f"{error}; it is being opened again")
        self._turn(NpuState.FAILED, str(error))
        for job in (*self._in_flight, *self._waiting):
            self._give_up(job, error)
        self._in_flight.clear()
        self._waiting.clear()
        self._release()
        for pause_s in self._back_off_s:
            if self._closing_within(pause_s):
                return
            try:
                self._open()
            except Exception as again:  # noqa: BLE001 - every class of failure is retried, and the last one told
                error = again if isinstance(again, NpuError) else explain(_failure("open", again))
                self._turn(NpuState.FAILED, str(error))
            else:
                self._readings = replace(self._readings, reopened=self._readings.reopened + 1)
                self._failure = None
                return
        self._failure = error

    def _closing_within(self, pause_s: float) -> bool:
        """Wait; say whether we are to end meanwhile. Jobs that slipped in end with the failure."""
        end_s = time.monotonic() + pause_s
        while (left_s := end_s - time.monotonic()) > 0.0:
            try:
                note = self._mailbox.get(timeout=left_s)
            except queue.Empty:
                return False
            if note is None:
                self._ending = True
                return True
            if isinstance(note, _Job):
                self._give_up(note, self._failure)
        return False

    def _open(self) -> None:
        self._turn(NpuState.OPENING, self._readings.last_error)
        self._device = _OpenDevice(self._hef, self._dim, self.max_batch)
        self._turn(NpuState.READY, self._readings.last_error)
        self._read_gauges()

    def _release(self) -> None:
        device, self._device = self._device, None
        if device is not None:
            device.release()

    def _turn(self, state: NpuState, error: str | None = None) -> None:
        self._readings = replace(self._readings, state=state, last_error=error)

    def _read_gauges(self) -> None:
        """Read temperature and clock; a device that does not tell keeps working."""
        if self._device is not None:
            self._readings = self._device.gauge(self._readings)


class _OpenDevice:
    """A device with the network on it. Raises named errors from opening on."""

    def __init__(self, hef: str, dim: int, batch: int) -> None:
        platform, bindings = _import_platform()
        ids = _scan(platform)
        if not ids:
            raise explain(NpuFailure("scan", None, "Device.scan() is empty"))
        self._id = ids[0]
        self._configured: Any = None
        self._vdevice: Any = None
        self._control: Any = None
        doing: Doing = "open"
        try:
            parameters = platform.VDevice.create_params()
            parameters.scheduling_algorithm = platform.HailoSchedulingAlgorithm.ROUND_ROBIN
            self._vdevice = platform.VDevice(parameters)
            doing = "load"
            infer_model = self._vdevice.create_infer_model(hef)
            _check_shapes(infer_model, hef, dim)
            infer_model.set_batch_size(batch)
            infer_model.input().set_format_type(platform.FormatType.UINT8)
            infer_model.output().set_format_type(platform.FormatType.FLOAT32)
            self._shape = tuple(infer_model.output().shape)
            doing = "configure"
            self._configured = infer_model.configure()
        except (NpuError, ModelError):
            self.release()
            raise
        except Exception as error:
            self.release()
            raise explain(replace(_failure(doing, error), devices=len(ids))) from error
        self._bindings = bindings
        with suppress(Exception):  # readings are a comfort; recognition does not depend on them
            self._control = platform.Device(self._id)

    def start(self, job: _Job, timeout_s: float, post: Any) -> None:
        """Hand a job to the runtime; ``post`` gets an ``_Ended`` from the runtime's thread."""
        requests = []
        for pixels, output in zip(job.batch, job.outputs, strict=True):
            request = self._configured.create_bindings()
            request.input().set_buffer(pixels)
            request.output().set_buffer(output.reshape(self._shape))
            requests.append(request)

        def ended(completion_info: Any) -> None:
            # on the runtime's own thread: an exception here would end the process
            with suppress(Exception):
                post(_Ended(job, completion_info.exception))

        self._configured.wait_for_async_ready(timeout_ms=round(1000 * timeout_s), frames_count=len(requests))
        self._configured.run_async(requests, ended)

    def gauge(self, before: NpuReadings) -> NpuReadings:
        """Return ``before`` with what the device tells now."""
        if self._control is None:
            return replace(before, pcie=_pcie(self._id))
        read: dict[str, Any] = {"pcie": _pcie(self._id)}
        control = self._control.control
        with suppress(Exception):
            temperature = control.get_chip_temperature()
            read["temperature_c"] = float(max(temperature.ts0_temperature, temperature.ts1_temperature))
        with suppress(Exception):
            read["clock_mhz"] = control.get_extended_device_information().neural_network_core_clock_rate / 1e6
        with suppress(Exception):
            read["throttling_level"] = int(control._get_health_information().current_temperature_throttling_level)  # noqa: SLF001 - no public way
        with suppress(Exception):
            board = control.identify()
            version = board.firmware_version
            read["architecture"] = str(board.device_architecture)
            read["firmware"] = f"{version.major}.{version.minor}.{version.revision}"
        return replace(before, **read)

    def release(self) -> None:
        """Give everything back: the configured model first, then the device; what fails to close is dropped."""
        configured, self._configured = self._configured, None
        if configured is not None:
            with suppress(Exception):
                configured.__exit__(None, None, None)
        del configured
        for holder in (self._control, self._vdevice):
            if holder is not None:
                with suppress(Exception):
                    holder.release()
        self._control = self._vdevice = None


def _import_platform() -> tuple[ModuleType, ModuleType]:
    """Load HailoRT's Python package, telling its logger beforehand where not to write."""
    os.environ.setdefault(_LOGGER_PATH, "NONE")
    try:
        return importlib.import_module("hailo_platform"), importlib.import_module("hailo_platform.pyhailort.pyhailort")
    except Exception as error:  # ImportError for versions, MissingPyHRTLib for the library
        raise explain(NpuFailure("import", None, f"{type(error).__name__}: {error}")) from error


def _scan(platform: ModuleType) -> list[str]:
    try:
        return list(platform.Device.scan())
    except Exception as error:  # the one call that is not wrapped by the binding
        raise explain(_failure("scan", error)) from error


def _device_count() -> int:
    with suppress(Exception):
        return len(_scan(importlib.import_module("hailo_platform")))
    return 0


def _check_shapes(infer_model: Any, hef: str, dim: int) -> None:
    """Refuse a HEF of another network; shapes carry no batch dimension, an embedding may be (768,) or (1, 1, 768)."""
    seen, answer = list(infer_model.input().shape), list(infer_model.output().shape)
    if seen != [INPUT_SIZE.height, INPUT_SIZE.width, 3] or int(np.prod(answer)) != dim:
        raise ModelError(f"{hef}: takes {seen} and gives {answer}, not [224, 224, 3] and {dim} numbers; compile the network again")


def _failure(doing: Doing, error: Exception) -> NpuFailure:
    """Read the status number out of what the binding raised: wrapped errors chain the raw one, some only have it in their text."""
    if isinstance(error, NpuError):
        return NpuFailure(doing, None, str(error))
    for source in (error, error.__cause__):
        if source is not None and source.args and str(source.args[0]).isdigit():
            return NpuFailure(doing, int(str(source.args[0])), str(error))
    _, found, rest = str(error).partition("failed with error: ")
    number = rest.split(" ", 1)[0]
    if found and number.isdigit():
        return NpuFailure(doing, int(number), str(error))
    return NpuFailure(doing, _STATUS_OF_CLASS.get(type(error).__name__), f"{type(error).__name__}: {error}")


_STATUS_OF_CLASS: Final = {
    "HailoRTTimeout": 4,
    "HailoRTInvalidOperationException": 6,
    "HailoRTInvalidArgumentException": 2,
    "HailoRTFirmwareControlFailedException": 18,
    "HailoRTInvalidFrameException": 25,
    "HailoRTInvalidHEFException": 26,
    "HailoRTDriverOperationFailedException": 36,
    "HailoRTPCIeDriverException": 36,
    "HailoRTNotFoundException": 61,
    "HailoCommunicationClosedException": 62,
    "HailoRTStreamAborted": 63,
    "HailoRTStreamAbortedByUser": 63,
    "HailoRTHEFNotCompatibleWithDevice": 93,
}
"""Classes the binding makes of a status (pyhailort.py, ``ExceptionWrapper``): a job's error has no cause to read the number from."""


def _pcie(device_id: str, devices: Path = _PCI) -> str | None:
    """Return generation and width of the link of a PCI address, like ``Gen3 x1``."""
    try:
        speed = (devices / device_id / "current_link_speed").read_text().strip()
        width = (devices / device_id / "current_link_width").read_text().strip()
    except OSError:
        return None
    generation = next((name for rate, name in _GENERATIONS.items() if speed.startswith(rate)), speed)
    return f"{generation} x{width}"
