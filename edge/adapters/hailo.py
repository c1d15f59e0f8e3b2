"""The network on a Hailo-8L: ``Embedder`` through HailoRT's asynchronous InferModel API (4.20 to 4.23).

One thread owns the device for as long as it is open: HailoRT makes no promise about threads, a failed submission shuts its model down, and
opening or configuring holds the interpreter lock. Callers hand over batches; the runtime's callback only posts a note; all results are
read by the owner, after success. Two batches are with the runtime at a time, so that the chip has its next work waiting.

A failure ends what is in flight with a named error, releases the device (configured model first, then the device) and opens it again after
a back-off; meanwhile submissions fail with ``NpuReopeningError``. When all attempts are used up, they fail with the last named error, and
whoever runs us ends the process. A call that never returns while it holds the lock stops everything: that is the supervisor's watchdog's.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from edge.adapters.hailo_device import Ended, Job, OpenDevice, device_count, failure_of
from edge.errors import EmbedderError, EmbedderTimeoutError, NpuError, NpuReopeningError
from edge.recognition.embedding import EmbedderInfo, EmbeddingMatrix, InputBatch, check_input_batch, l2_normalize
from edge.recognition.model import Model
from edge.system.npu import NpuFailure, NpuState, NpuStatus, ReopenPolicy, to_error

_log = logging.getLogger(__name__)

_IN_FLIGHT: Final = 2
_WAITING: Final = 2
"""Two frames of eight cards, both ways up, are four batches of eight: whoever submits them is not held up."""
_READINGS_S: Final = 10.0
_JOIN_S: Final = 12.0  # releasing a configured model waits up to 10 s for its transfers


@dataclass(frozen=True, slots=True)
class HailoTimeouts:
    """How long things may take."""

    open_s: float = 20.0
    submit_s: float = 3.0
    run_s: float = 2.0
    """From handing a batch to the runtime to its result; a batch of eight takes a Hailo-8L about half a second."""


class HailoEmbedder:
    """Runs the ``hef`` artefact of a model. Opening happens here; raises a named ``NpuError`` when it fails."""

    def __init__(self, model: Model, *, timeouts: HailoTimeouts | None = None, reopen: ReopenPolicy | None = None) -> None:
        artifact = model.artifact("hef")
        self._info = EmbedderInfo(model.model_id, artifact.sha256, model.manifest.dim, artifact.max_batch)
        self._hef = os.fspath(model.artifact_path("hef"))
        self._timeouts = timeouts or HailoTimeouts()
        self._back_off_s = (reopen or ReopenPolicy()).back_off_s
        self._mailbox: queue.SimpleQueue[Job | Ended | None] = queue.SimpleQueue()
        self._free = threading.BoundedSemaphore(_IN_FLIGHT + _WAITING)
        self._status = NpuStatus(NpuState.ABSENT)
        self._failure: NpuError | None = None
        self._closed = False
        self._device: OpenDevice | None = None
        self._waiting: deque[Job] = deque()
        self._in_flight: deque[Job] = deque()
        self._ending = False
        opened: Future[None] = Future()
        self._owner = threading.Thread(target=self._own, args=(opened,), name="hailo-owner", daemon=True)
        self._owner.start()
        try:
            opened.result(self._timeouts.open_s)
        except TimeoutError as error:
            raise to_error(NpuFailure("open", 4, f"opening took longer than {self._timeouts.open_s:g} s")) from error

    @property
    def info(self) -> EmbedderInfo:
        """The model, its artifact and its sizes."""
        return self._info

    def status(self) -> NpuStatus:
        """Return the newest status, without waiting for the device."""
        return self._status

    def submit(self, batch: InputBatch) -> Future[EmbeddingMatrix]:
        """Start embedding uint8 (1..info.max_batch, 224, 224, 3); see ``edge.recognition.recognizer.Embedder``.

        Everything is checked here: a batch that HailoRT refuses would shut the model down.
        """
        if self._closed:
            raise EmbedderError("the network was closed; open it again before embedding")
        check_input_batch(batch, most=self._info.max_batch)
        if self._failure is not None:
            raise self._failure
        if not self._free.acquire(timeout=self._timeouts.submit_s):
            raise EmbedderTimeoutError(f"the NPU did not finish earlier batches within {self._timeouts.submit_s:g} s")
        outputs = [np.empty(self._info.dim, dtype=np.float32) for _ in range(len(batch))]
        job = Job(np.ascontiguousarray(batch), Future(), outputs)
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

    def _next_note(self) -> Job | Ended | None:
        """Wait for the next note; None when the oldest job is overdue, when nothing happened, or when the end was asked for."""
        patience_s = max(0.0, self._in_flight[0].deadline_s - time.monotonic()) if self._in_flight else _READINGS_S
        try:
            note = self._mailbox.get(timeout=patience_s)
        except queue.Empty:
            return None
        self._ending = self._ending or note is None
        return note

    def _attend(self, note: Job | Ended | None) -> None:
        if isinstance(note, Job):
            self._waiting.append(note)
        elif isinstance(note, Ended) and note.job in self._in_flight:  # a job given up on may still end
            if note.error is not None:
                self._recover(failure_of("infer", note.error))
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
                self._recover(failure_of("infer", error))

    def _finish(self, job: Job) -> None:
        """Give the caller its embeddings. A compiled network ends before the normalisation: the division by the length is ours."""
        try:
            job.future.set_result(l2_normalize(np.stack(job.outputs)))
        except EmbedderError as error:
            job.future.set_exception(error)
        self._free.release()

    def _give_up(self, job: Job, error: NpuError | None) -> None:
        job.future.set_exception(error or NpuError("the NPU is closed"))
        self._free.release()

    def _recover(self, failure: NpuFailure) -> None:
        """End everything under way with the failure's name, then open the device again, patiently."""
        error = to_error(replace(failure, devices=device_count()))
        self._failure = NpuReopeningError(f"{error}; it is being opened again")
        self._turn(NpuState.FAILED, str(error))
        _log.error("the NPU failed and is opened again: %s", error)
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
                error = again if isinstance(again, NpuError) else to_error(failure_of("open", again))
                self._turn(NpuState.FAILED, str(error))
            else:
                self._status = replace(self._status, reopened=self._status.reopened + 1)
                self._failure = None
                _log.info("the NPU works again")
                return
        _log.error("the NPU stays away: %s", error)
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
            if isinstance(note, Job):
                self._give_up(note, self._failure)
        return False

    def _open(self) -> None:
        self._turn(NpuState.OPENING, self._status.last_error)
        self._device = OpenDevice(self._hef, self._info.dim, self._info.max_batch)
        self._turn(NpuState.READY, self._status.last_error)
        self._read_gauges()

    def _release(self) -> None:
        device, self._device = self._device, None
        if device is not None:
            device.release()

    def _turn(self, state: NpuState, error: str | None = None) -> None:
        self._status = replace(self._status, state=state, last_error=error)

    def _read_gauges(self) -> None:
        """Read temperature and clock; a device that does not tell keeps working."""
        if self._device is not None:
            self._status = self._device.gauge(self._status)
