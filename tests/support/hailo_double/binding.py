"""The names of ``hailo_platform.pyhailort.pyhailort`` that a program may use, as the real binding defines them."""

import os
import queue
import threading
import time
from collections import deque
from datetime import timedelta
from enum import IntEnum
from pathlib import Path

import numpy as np
import onnxruntime

from tests.support.hailo_double.board import STATUS, read_hef

BOARD = None
"""The board used by all objects below; set by ``install``."""


# --- errors (pyhailort.py, ExceptionWrapper) ---


class HailoRTStatusException(Exception):
    """Raised by C++: not a HailoRTException."""


class HailoRTException(Exception):
    pass


class HailoRTTimeout(HailoRTException):
    pass


class HailoRTStreamAborted(HailoRTException):
    pass


class HailoRTInvalidOperationException(HailoRTException):
    pass


class HailoRTInvalidArgumentException(HailoRTException):
    pass


class HailoRTNotFoundException(HailoRTException):
    pass


class HailoRTInvalidHEFException(HailoRTException):
    pass


class HailoRTHEFNotCompatibleWithDevice(HailoRTException):
    pass


class HailoRTDriverOperationFailedException(HailoRTException):
    pass


class HailoRTFirmwareControlFailedException(HailoRTException):
    pass


class HailoCommunicationClosedException(HailoRTException):
    pass


_CLASSES = {
    2: HailoRTInvalidArgumentException,
    4: HailoRTTimeout,
    6: HailoRTInvalidOperationException,
    18: HailoRTFirmwareControlFailedException,
    26: HailoRTInvalidHEFException,
    36: HailoRTDriverOperationFailedException,
    61: HailoRTNotFoundException,
    62: HailoCommunicationClosedException,
    63: HailoRTStreamAborted,
    93: HailoRTHEFNotCompatibleWithDevice,
}


def exception_of(status):
    name = STATUS.get(status, "HAILO_INTERNAL_FAILURE")
    if status in _CLASSES:
        return _CLASSES[status](f"{name.removeprefix('HAILO_').lower().replace('_', ' ')}. See hailort.log for more information")
    return HailoRTException(f"libhailort failed with error: {status} ({name})")


def check(status):
    if status:
        raise exception_of(status) from HailoRTStatusException(str(status))


def strike(at):
    fault = BOARD.fault(at)
    if fault is not None and fault.status is not None:
        check(fault.status)
    return fault


# --- enumerations ---


class HailoSchedulingAlgorithm(IntEnum):
    NONE = 0
    ROUND_ROBIN = 1


class FormatType(IntEnum):
    AUTO = 0
    UINT8 = 1
    UINT16 = 2
    FLOAT32 = 3


class FormatOrder(IntEnum):
    NHWC = 1
    NC = 8


_NUMPY = {FormatType.UINT8: np.uint8, FormatType.UINT16: np.uint16, FormatType.FLOAT32: np.float32}


# --- device and control ---


class _Record:
    def __init__(self, **values):
        self.__dict__.update(values)


class _Architecture(IntEnum):
    HAILO8 = 1
    HAILO8L = 2

    def __str__(self):
        return self.name


class Control:
    def __init__(self, device):
        self._device = device
        self._identify_info = self.identify()

    def _alive(self):
        if self._device.released:
            raise HailoRTInvalidOperationException("device was released")
        strike("control")
        if not BOARD.present:
            check(36)

    def identify(self):
        self._alive()
        version = _Record(major=4, minor=23, revision=0)
        return _Record(firmware_version=version, device_architecture=_Architecture[BOARD.architecture], board_name="Hailo-8")

    def get_chip_temperature(self):
        self._alive()
        if BOARD.temperature_refused:
            check(18)
        return _Record(ts0_temperature=BOARD.temperature_c, ts1_temperature=BOARD.temperature_c - 1.0, sample_count=1)

    def get_extended_device_information(self):
        self._alive()
        return _Record(neural_network_core_clock_rate=400_000_000)

    def _get_health_information(self):
        self._alive()
        return _Record(current_temperature_throttling_level=BOARD.throttling_level)


class Device:
    def __init__(self, device_id=None):
        if device_id is None:
            ids = Device.scan()
            if not ids:
                raise HailoRTException("HailoRT device not found in the system")
            device_id = ids[0]
        self._device_id = device_id
        self.released = False
        self._control_object = Control(self)

    @staticmethod
    def scan():
        fault = BOARD.fault("scan")
        if fault is not None:
            raise HailoRTStatusException(str(fault.status))  # one of the calls the binding does not wrap
        return ["0001:01:00.0"] if BOARD.present else []

    @property
    def device_id(self):
        return self._device_id

    @property
    def control(self):
        return self._control_object

    def release(self):
        self.released = True

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.release()
        return False


class VDeviceParams:
    def __init__(self):
        self.device_ids = []
        self.device_count = 1
        self.scheduling_algorithm = HailoSchedulingAlgorithm.NONE
        self.group_id = "UNIQUE"
        self.multi_process_service = False


class VDevice:
    def __init__(self, params=None, *, device_ids=None):
        self._creation_pid = os.getpid()
        self._params = params or VDeviceParams()
        strike("vdevice")
        if not BOARD.present or BOARD.busy:
            check(74)
        if not BOARD.permission:
            check(36)
        if BOARD.driver != BOARD.library:
            check(76)
        BOARD.busy = True
        self._open = True
        BOARD.note("vdevice opened")

    @staticmethod
    def create_params():
        return VDeviceParams()

    def create_infer_model(self, hef_source, name=""):
        if self._creation_pid != os.getpid():
            raise HailoRTException("VDevice can only be used from the process it was created in.")
        if not isinstance(hef_source, str | bytes):
            raise TypeError("create_infer_model(): incompatible function arguments")  # a Path fails in pybind
        strike("create")
        status, content = read_hef(Path(hef_source))
        check(status)
        if tuple(content["compiler"]) > BOARD.newest_compiler:
            check(92)
        return InferModel(content, self._params)

    def release(self):
        if self._open:
            self._open = False
            BOARD.busy = False
            BOARD.note("vdevice released")

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.release()
        return False


# --- inference ---


class InferModel:
    class InferStream:
        def __init__(self, name, shape, format_type):
            self._name = name
            self._shape = shape
            self.type = format_type

        @property
        def name(self):
            return self._name

        @property
        def shape(self):
            return self._shape

        def set_format_type(self, type):
            self.type = FormatType(type)

        def set_format_order(self, order):
            FormatOrder(order)

    def __init__(self, content, params):
        self._content = content
        self._params = params
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(content["folder"] / content["onnx"]), options, providers=["CPUExecutionProvider"])
        height, width = self._session.get_inputs()[0].shape[1:3]
        self._input = InferModel.InferStream("net/input_layer1", [height, width, 3], FormatType.UINT8)
        probe = self._session.run(None, {self._session.get_inputs()[0].name: np.zeros((1, height, width, 3), np.uint8)})
        self._outputs = {
            name: InferModel.InferStream(name, shape_on_chip(answer[0]), FormatType.UINT16)
            for name, answer in zip(content.get("outputs") or ["net/conv_last"], probe, strict=True)
        }
        self._batch_size = 1

    def set_batch_size(self, batch_size):
        self._batch_size = int(batch_size)

    def input(self, name=""):
        if name not in ("", self._input.name):
            check(61)
        return self._input

    def output(self, name=""):
        if name == "" and len(self._outputs) == 1:
            return next(iter(self._outputs.values()))
        if name not in self._outputs:
            check(61)
        return self._outputs[name]

    @property
    def input_names(self):
        return [self._input.name]

    @property
    def output_names(self):
        return list(self._outputs)

    def configure(self):
        strike("configure")
        if self._content["architecture"] != BOARD.architecture:
            check(93)
        return ConfiguredInferModel(self)


class AsyncInferCompletionInfo:
    def __init__(self, exception):
        self._exception = exception

    @property
    def exception(self):
        return self._exception


class AsyncInferJob:
    def __init__(self):
        self._done = threading.Event()

    def wait(self, timeout_ms):
        if not self._done.wait(timedelta(milliseconds=timeout_ms).total_seconds()):
            check(4)


class ConfiguredInferModel:
    class Bindings:
        class InferStream:
            def __init__(self):
                self._buffer = None

            def set_buffer(self, buffer):
                if not buffer.flags.writeable:
                    raise ValueError("array is not writeable")  # the binding calls mutable_data()
                if not buffer.flags.c_contiguous:
                    raise HailoRTException("Buffer must be C_CONTIGUOUS")
                self._buffer = buffer

            def get_buffer(self, tf_format=False):
                return self._buffer

        def __init__(self, input_names, output_names):
            self._inputs = {name: self.InferStream() for name in input_names}
            self._outputs = {name: self.InferStream() for name in output_names}

        def input(self, name=""):
            return self._one(self._inputs, name)

        def output(self, name=""):
            return self._one(self._outputs, name)

        def _one(self, streams, name):
            if name == "" and len(streams) == 1:
                return next(iter(streams.values()))
            if name not in streams:
                check(61)
            return streams[name]

    def __init__(self, infer_model):
        self._infer_model = infer_model
        self._jobs = queue.Queue()
        self._pending = 0
        self._submissions = 0
        self._free_at_s = 0.0
        self._room = threading.Condition()
        self._down = False
        self._threshold, self._timeout_ms = 0, 0
        self._waiting = 0
        self._buffer_guards = deque()
        # libhailort calls back from one thread per configured model
        self._worker = threading.Thread(target=self._work, name="hailort-callbacks", daemon=True)
        self._worker.start()
        BOARD.note("model configured")

    def __enter__(self):
        return self

    def __exit__(self, exc_type, exc_value, traceback):
        if not self._down or self._worker.is_alive():
            self._down = True
            self._jobs.put(None)
            self._worker.join(10.0)
        BOARD.note("model released")

    def activate(self):
        check(6 if self._infer_model._params.scheduling_algorithm else 0)

    def create_bindings(self, input_buffers=None, output_buffers=None):
        bindings = self.Bindings(self._infer_model.input_names, self._infer_model.output_names)
        for name, buffer in (input_buffers or {}).items():
            bindings.input(name).set_buffer(buffer)
        for name, buffer in (output_buffers or {}).items():
            bindings.output(name).set_buffer(buffer)
        return bindings

    def set_scheduler_threshold(self, threshold):
        check(2 if threshold > self._infer_model._batch_size else 0)
        self._threshold = threshold

    def set_scheduler_timeout(self, timeout_ms):
        self._timeout_ms = timeout_ms

    def set_scheduler_priority(self, priority):
        check(2 if not 0 <= priority <= 31 else 0)
        BOARD.priorities.append(priority)

    def get_async_queue_size(self):
        return BOARD.queue_size

    def wait_for_async_ready(self, timeout_ms=1000, frames_count=1):
        if frames_count > BOARD.queue_size:
            check(2)
        strike("ready")
        with self._room:
            ready = self._room.wait_for(lambda: self._pending + frames_count <= BOARD.queue_size, timeout_ms / 1000.0)
        check(0 if ready else 4)

    def run(self, bindings, timeout):
        self.run_async(bindings).wait(timeout)

    def run_async(self, bindings, callback=None):
        if self._infer_model._params.scheduling_algorithm == HailoSchedulingAlgorithm.NONE:
            check(69)  # not activated
        if self._down:
            check(6)
        status = 0
        fault = BOARD.fault("submit")
        if fault is not None:
            status = fault.status
        for request in bindings:
            for stream, buffer in (
                (self._infer_model.input(), request.input().get_buffer()),
                *((self._infer_model.output(name), request.output(name).get_buffer(None)) for name in self._infer_model.output_names),
            ):
                wanted = int(np.prod(stream.shape)) * np.dtype(_NUMPY[stream.type]).itemsize
                if buffer is None or buffer.nbytes != wanted:
                    status = 6
        if self._pending + len(bindings) > BOARD.queue_size:
            status = 82
        if status:
            self._down = True  # any failing submission shuts the model down
            check(status)
        self._schedule(len(bindings))
        self._buffer_guards.append(bindings)
        with self._room:
            self._pending += len(bindings)
            self._submissions += 1
            BOARD.submissions += 1
            BOARD.deepest = max(BOARD.deepest, self._submissions)
            self._free_at_s = max(self._free_at_s, time.monotonic()) + BOARD.latency_s * len(bindings)
        job = AsyncInferJob()
        self._jobs.put((bindings, callback, job, self._free_at_s))
        return job

    def _schedule(self, arriving):
        """Note the runs as the scheduler makes them while the chip is idle: images arrive one by one."""
        patient = os.environ.get("HAILO_DISABLE_IDLE_OPT") == "1" and self._timeout_ms > 0
        least = max(1, self._threshold) if patient else 1
        for _ in range(arriving):
            self._waiting += 1
            if self._waiting >= least:
                BOARD.runs.append(min(self._waiting, self._infer_model._batch_size))
                self._waiting = 0

    def _work(self):
        while (entry := self._jobs.get()) is not None:
            bindings, callback, job, done_s = entry
            status = self._compute(bindings, done_s)
            with self._room:
                self._pending -= len(bindings)
                self._submissions -= 1
                self._room.notify_all()
            if status is None:
                continue  # no response: neither callback nor completion
            if callback:
                error = exception_of(status) if status else None
                if error is not None and status not in _CLASSES:
                    error = HailoRTException(f"libhailort failed with error: {status} ({STATUS.get(status)})")
                callback(completion_info=AsyncInferCompletionInfo(error))
            self._buffer_guards.popleft()
            job._done.set()

    def _compute(self, bindings, done_s):
        fault = BOARD.fault("job")
        time.sleep(max(0.0, done_s - time.monotonic()))  # the chip continues with its next job independently of this process
        if not BOARD.present:
            return 36
        if fault is not None:
            if fault.status is not None:
                # the binding copies its own buffer back even when the job failed
                for request in bindings:
                    for name in self._infer_model.output_names:
                        request.output(name).get_buffer(None)[...] = 7.0
                self._down = True
            return fault.status
        pixels = np.stack([request.input().get_buffer() for request in bindings])
        session = self._infer_model._session
        for name, exact in zip(self._infer_model.output_names, session.run(None, {session.get_inputs()[0].name: pixels}), strict=True):
            noise = np.random.default_rng().normal(0.0, 0.05, exact.shape) if BOARD.noise else 0.0
            answers = (exact + noise).astype(np.float32)
            is_embedding = answers.ndim == 2 and len(self._infer_model.output_names) == 1
            read = dequantised(answers, BOARD.output_bits) if is_embedding else dequantised_maps(answers, BOARD.output_bits)
            for request, answer in zip(bindings, read, strict=True):
                request.output(name).get_buffer(None)[...] = answer.reshape(request.output(name).get_buffer(None).shape)
        BOARD.pictures += len(bindings)
        return 0


def dequantised(values, bits):
    """Return values as a chip returns them: (q - zero point) * scale, with ``bits`` bits over their range."""
    lowest, highest = -1.7, 2.1
    scale = (highest - lowest) / (2**bits - 1)
    zero_point = round(-lowest / scale)
    q = np.clip(np.round(values * 1.5 / scale + zero_point), 0, 2**bits - 1)
    return ((q - zero_point) * scale).astype(np.float32)


def shape_on_chip(answer):
    """The shape of an output without its batch: maps have their channels last, a vector is one pixel."""
    return [1, 1, *answer.shape] if answer.ndim == 1 else [*answer.shape[1:], answer.shape[0]]


def dequantised_maps(values, bits):
    """Return maps (n, channels, height, width) with their channels last, or vectors, quantized over the range of their values."""
    lowest, highest = float(values.min()), float(values.max())
    scale = max(highest - lowest, 1e-6) / (2**bits - 1)
    read = (np.round((values - lowest) / scale) * scale + lowest).astype(np.float32)
    return read.transpose(0, 2, 3, 1) if read.ndim == 4 else read
