"""The owner of a Hailo-8L: runs the networks of several ports on it, through HailoRT's asynchronous InferModel API (4.20 and later 4.x).

One thread owns the device while it is open: HailoRT does not guarantee thread safety, a failed submission shuts its model down, and opening
or configuring holds the interpreter lock. Callers queue batches; the runtime's callback only posts a message; the owner reads all results
after success. Two batches per network are submitted to the runtime at a time, so that the chip does not wait for work.

A failure ends all submissions with a named error, releases the device (configured model first, then the device) and reopens it after a
back-off; meanwhile new submissions fail with ``NpuReopeningError``. After the last attempt they fail with the last error, and
the daemon ends. A driver call that never returns while it holds the interpreter lock stops the whole process; the watchdog restarts it.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.adapters.hailo_device import Ended, HailoNetwork, Job, OpenDevice, Outputs, device_count, failure_of
from edge.errors import EmbedderError, EmbedderTimeoutError, NpuError, NpuReopeningError
from edge.system.npu import NpuFailure, NpuState, NpuStatus, ReopenPolicy, to_error, untested_runtime

_log = logging.getLogger(__name__)

_IN_FLIGHT: Final = 2
_WAITING: Final = 2
"""Two frames of eight cards, in two orientations, are four batches of eight: their submission does not block."""
_STATUS_INTERVAL_S: Final = 10.0
_JOIN_S: Final = 12.0  # releasing a configured model waits up to 10 s for its transfers


@dataclass(frozen=True, slots=True)
class HailoTimeouts:
    """Timeouts of opening, submitting and running."""

    open_s: float = 20.0
    submit_s: float = 3.0
    run_s: float = 2.0
    """From the submission of a batch to the runtime until its result; a Hailo-8L takes about half a second for a batch of eight."""


@dataclass(frozen=True, slots=True, eq=False)
class _Add:
    """Message to the owner to configure a further network."""

    network: HailoNetwork
    added: Future[None]


class HailoNpu:
    """Opens the device and runs networks on it. Raises an ``NpuError`` that names the cause if that fails, ``ModelError`` for a wrong HEF.

    ``submit`` and ``add`` may be called by any thread.
    """

    def __init__(self, *networks: HailoNetwork, timeouts: HailoTimeouts | None = None, reopen: ReopenPolicy | None = None) -> None:
        self.timeouts: Final = timeouts or HailoTimeouts()
        self._back_off_s = (reopen or ReopenPolicy()).back_off_s
        self._networks = list(networks)
        self._free = {network: threading.BoundedSemaphore(_IN_FLIGHT + _WAITING) for network in networks}
        self._mailbox: queue.SimpleQueue[Job | Ended | _Add | None] = queue.SimpleQueue()
        self._status = NpuStatus(NpuState.ABSENT)
        self._failure: NpuError | None = None
        self._closed = False
        self._device: OpenDevice | None = None
        self._waiting: deque[Job] = deque()
        self._in_flight: list[Job] = []
        self._ending = False
        opened: Future[None] = Future()
        self._owner = threading.Thread(target=self._own, args=(opened,), name="hailo-owner", daemon=True)
        self._owner.start()
        self._wait_until_open(opened)

    def add(self, network: HailoNetwork) -> None:
        """Run a further network beside the others. Raises as the constructor does; the others run on."""
        added: Future[None] = Future()
        self._mailbox.put(_Add(network, added))
        self._wait_until_open(added)

    def status(self) -> NpuStatus:
        """Return the newest status without accessing the device. May be called by any thread."""
        return self._status

    def submit(self, network: HailoNetwork, batch: NDArray[np.uint8]) -> Future[Outputs]:
        """Start running a network and return at once. A batch that HailoRT rejects shuts the network down, so it must be checked before.

        The future ends with the outputs or with ``NpuError``. Raises ``NpuReopeningError`` while the device is being reopened, and
        ``EmbedderTimeoutError`` if earlier batches of the network do not end in time.
        """
        if self._closed:
            raise EmbedderError("the NPU is closed; open it again")
        if self._failure is not None:
            raise self._failure
        if not self._free[network].acquire(timeout=self.timeouts.submit_s):
            raise EmbedderTimeoutError(f"the NPU did not finish earlier batches within {self.timeouts.submit_s:g} s")
        outputs = tuple(np.empty((len(batch), *shape), dtype=np.float32) for _, shape in network.outputs)
        # HailoRT takes no array that is read-only
        job = Job(network, np.require(batch, requirements=("C", "W")), outputs)
        self._mailbox.put(job)
        return job.future

    def close(self) -> None:
        """Finish pending jobs and release the device. May be called twice."""
        if not self._closed:
            self._closed = True
            self._mailbox.put(None)
            self._owner.join(_JOIN_S)

    def _wait_until_open(self, opened: Future[None]) -> None:
        try:
            opened.result(self.timeouts.open_s)
        except TimeoutError as error:
            raise to_error(NpuFailure("open", 4, f"opening took longer than {self.timeouts.open_s:g} s")) from error

    # --- owner thread ---

    def _own(self, opened: Future[None]) -> None:
        """Open the device, process messages until closed, release the device."""
        try:
            self._open()
        except Exception as error:  # noqa: BLE001 - every error of opening is raised by the constructor
            self._set_state(NpuState.FAILED, str(error))
            opened.set_exception(error)
            return
        opened.set_result(None)
        updated_s = time.monotonic()
        while not (self._ending and not self._waiting and not self._in_flight):
            self._handle(self._next_message())
            self._start_waiting()
            if time.monotonic() - updated_s > _STATUS_INTERVAL_S:
                self._update_status()
                updated_s = time.monotonic()
        self._release()
        self._set_state(NpuState.CLOSED)

    def _next_message(self) -> Job | Ended | _Add | None:
        """Return the next message, None if the oldest job is overdue, if no message arrives or if the NPU is being closed."""
        timeout_s = max(0.0, self._in_flight[0].deadline_s - time.monotonic()) if self._in_flight else _STATUS_INTERVAL_S
        try:
            message = self._mailbox.get(timeout=timeout_s)
        except queue.Empty:
            return None
        self._ending = self._ending or message is None
        return message

    def _handle(self, message: Job | Ended | _Add | None) -> None:
        if isinstance(message, Job):
            self._waiting.append(message)
        elif isinstance(message, _Add):
            self._add(message)
        elif isinstance(message, Ended) and message.job in self._in_flight:  # a job that was given up may still end
            if message.error is not None:
                self._recover(failure_of("infer", message.error))
            else:
                self._in_flight.remove(message.job)
                self._finish(message.job)
        if self._in_flight and time.monotonic() >= self._in_flight[0].deadline_s:
            self._recover(NpuFailure("infer", 4, f"no answer within {self.timeouts.run_s:g} s"))

    def _start_waiting(self) -> None:
        """Submit waiting batches to the runtime, up to ``_IN_FLIGHT`` of a network at a time."""
        for job in list(self._waiting):
            if sum(running.network == job.network for running in self._in_flight) >= _IN_FLIGHT:
                continue
            if job not in self._waiting:
                return  # a failed submission has failed them all
            self._waiting.remove(job)
            if self._device is None:
                self._give_up(job, self._failure)
                continue
            job.deadline_s = time.monotonic() + self.timeouts.run_s
            self._in_flight.append(job)
            try:
                self._device.start(job, self.timeouts.run_s, self._mailbox.put)
            except Exception as error:  # noqa: BLE001 - the binding raises classes without a common base
                self._recover(failure_of("infer", error))

    def _add(self, message: _Add) -> None:
        if self._device is None:
            message.added.set_exception(self._failure or NpuError("the NPU is closed"))
            return
        try:
            self._device.add(message.network)
        except Exception as error:  # noqa: BLE001 - every error is raised by the caller of ``add``
            message.added.set_exception(error)
            return
        self._networks.append(message.network)
        self._free[message.network] = threading.BoundedSemaphore(_IN_FLIGHT + _WAITING)
        message.added.set_result(None)

    def _finish(self, job: Job) -> None:
        job.future.set_result(job.outputs)
        self._free[job.network].release()

    def _give_up(self, job: Job, error: NpuError | None) -> None:
        job.future.set_exception(error or NpuError("the NPU is closed"))
        self._free[job.network].release()

    def _recover(self, failure: NpuFailure) -> None:
        """Fail all jobs with the named error, then reopen the device, with one attempt after each back-off."""
        error = to_error(replace(failure, devices=device_count()))
        self._failure = NpuReopeningError(f"{error}; the device is being reopened")
        self._set_state(NpuState.FAILED, str(error))
        _log.error("the NPU failed and is being reopened: %s", error)
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
            except Exception as again:  # noqa: BLE001 - every class of failure is retried, and the last one is reported
                error = again if isinstance(again, NpuError) else to_error(failure_of("open", again))
                self._set_state(NpuState.FAILED, str(error))
            else:
                self._status = replace(self._status, reopened=self._status.reopened + 1)
                self._failure = None
                _log.info("the NPU has recovered")
                return
        _log.error("the NPU did not recover: %s", error)
        self._failure = error

    def _closing_within(self, pause_s: float) -> bool:
        """Wait for ``pause_s``; return True if the NPU is closed meanwhile. Jobs that arrive fail with the current error."""
        end_s = time.monotonic() + pause_s
        while (left_s := end_s - time.monotonic()) > 0.0:
            try:
                message = self._mailbox.get(timeout=left_s)
            except queue.Empty:
                return False
            if message is None:
                self._ending = True
                return True
            if isinstance(message, Job):
                self._give_up(message, self._failure)
            elif isinstance(message, _Add):
                self._add(message)
        return False

    def _open(self) -> None:
        self._set_state(NpuState.OPENING, self._status.last_error)
        self._device = OpenDevice(self._networks)
        self._set_state(NpuState.READY, self._status.last_error)
        self._update_status()
        if (warning := untested_runtime(self._status)) is not None:
            _log.warning("%s", warning)

    def _release(self) -> None:
        device, self._device = self._device, None
        if device is not None:
            device.release()

    def _set_state(self, state: NpuState, error: str | None = None) -> None:
        self._status = replace(self._status, state=state, last_error=error)

    def _update_status(self) -> None:
        """Read temperature, clock and throttling; a device that does not report them stays in use."""
        if self._device is not None:
            self._status = self._device.read_status(self._status)
