"""A Hailo-8L with its networks, through HailoRT's Python binding 4.20 and later 4.x: open, start a job, read sensor values, release.

The only module that uses ``hailo_platform``. Only the thread that owns the device (``edge.adapters.hailo_npu``) may call it. Errors of the
binding are converted to ``NpuFailure``, with their status number where it can be determined.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.errors import ModelError, NpuError
from edge.system.npu import NpuFailure, NpuStatus, Operation, require_supported, to_error

_LOGGER_PATH: Final = "HAILORT_LOGGER_PATH"  # NONE: no log files; messages on standard error go to the journal
_NO_IDLE_START: Final = "HAILO_DISABLE_IDLE_OPT"
_NEVER_MS: Final = 86_400_000
"""Time since the last run after which the scheduler starts with fewer images; that must not happen."""

_PCI: Final = Path("/sys/bus/pci/devices")
_GENERATIONS: Final = {"2.5 GT/s": "Gen1", "5.0 GT/s": "Gen2", "8.0 GT/s": "Gen3", "16.0 GT/s": "Gen4"}


@dataclass(frozen=True, slots=True)
class HailoNetwork:
    """A compiled network and how the chip runs it.

    ``input_shape`` is (height, width, 3). ``outputs`` are the names of its outputs, an empty one for the only output, each with the shape
    in which it is returned; the runtime's shape may differ in dimensions of 1. At most ``max_batch`` images are submitted at a time.

    ``together`` images run as one batch: a network that does not fit on the chip is streamed over PCIe once per batch. HailoRT's scheduler
    takes one image at a time and starts an idle chip with the first that has arrived; so it is told not to (``HAILO_DISABLE_IDLE_OPT``), to
    wait for as many as make a batch, and every submission is filled up to whole batches (libhailort/src/vdevice/scheduler, 4.23). Whenever
    the chip is idle, of the networks with a full batch the one with the highest ``priority`` (0 to 31) runs next.
    """

    hef: str
    input_shape: tuple[int, int, int]
    outputs: tuple[tuple[str, tuple[int, ...]], ...]
    max_batch: int
    together: int = 1
    priority: int = 16


Outputs: TypeAlias = tuple[NDArray[np.float32], ...]
"""float32 (n, ...) per output of a network, for the n images of a batch."""


@dataclass(slots=True, eq=False)
class Job:
    """A batch for a network and its future. ``outputs`` belong to the runtime until the job has ended successfully."""

    network: HailoNetwork
    batch: NDArray[np.uint8]
    outputs: Outputs
    future: Future[Outputs] = field(default_factory=Future)
    deadline_s: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Configured:
    """HailoRT's ``ConfiguredInferModel`` and the shapes of its outputs."""

    model: Any
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """Message of the runtime that a job has ended; ``error`` is None on success."""

    job: Job
    error: Exception | None


class OpenDevice:
    """A device with configured networks. All methods raise named errors."""

    def __init__(self, networks: Iterable[HailoNetwork]) -> None:
        self._platform = platform = _import_platform()
        self._runtime = str(platform.__version__)
        ids = _scan(platform)
        if not ids:
            raise to_error(NpuFailure("scan", None, "Device.scan() is empty"))
        self._id = ids[0]
        self._configured: dict[HailoNetwork, _Configured] = {}
        self._vdevice: Any = None
        self._control: Any = None
        try:
            parameters = platform.VDevice.create_params()
            parameters.scheduling_algorithm = platform.HailoSchedulingAlgorithm.ROUND_ROBIN
            self._vdevice = platform.VDevice(parameters)
        except Exception as error:
            raise to_error(replace(failure_of("open", error), devices=len(ids))) from error
        try:
            for network in networks:
                self.add(network)
        except (NpuError, ModelError):
            self.release()
            raise
        self._no_control: str | None = None
        try:  # the constructor accesses the device
            self._control = platform.Device(self._id)
        except Exception as error:  # noqa: BLE001 - reported in the status: recognition does not depend on sensor values
            self._no_control = str(to_error(failure_of("control", error)))

    def add(self, network: HailoNetwork) -> None:
        """Load and configure a network beside those that run."""
        operation: Operation = "load"
        try:
            infer_model = self._vdevice.create_infer_model(network.hef)
            _check_shapes(infer_model, network)
            infer_model.set_batch_size(network.together)
            infer_model.input().set_format_type(self._platform.FormatType.UINT8)
            shapes = []
            for name, _ in network.outputs:
                infer_model.output(name).set_format_type(self._platform.FormatType.FLOAT32)
                shapes.append(tuple(infer_model.output(name).shape))
            operation = "configure"
            model = infer_model.configure()
            self._configured[network] = _Configured(model, tuple(shapes))
            model.set_scheduler_threshold(network.together)
            model.set_scheduler_timeout(_NEVER_MS)
            model.set_scheduler_priority(network.priority)
            _check_queue_size(model.get_async_queue_size(), network)
        except (NpuError, ModelError):
            raise
        except Exception as error:
            raise to_error(replace(failure_of(operation, error), devices=1)) from error

    def start(self, job: Job, timeout_s: float, post: Callable[[Ended], None]) -> None:
        """Submit a job to the runtime, which calls ``post`` with an ``Ended`` in its own thread."""
        configured, network = self._configured[job.network], job.network
        requests = []
        missing = -len(job.batch) % network.together
        rows = [*zip(job.batch, *job.outputs, strict=True)]
        filling = [(job.batch[-1], *(np.empty_like(output[-1]) for output in job.outputs))] * missing
        for pixels, *outputs in (*rows, *filling):
            request = configured.model.create_bindings()
            request.input().set_buffer(pixels)
            for (name, _), shape, output in zip(network.outputs, configured.shapes, outputs, strict=True):
                request.output(name).set_buffer(output.reshape(shape))
            requests.append(request)

        def ended(completion_info: Any) -> None:
            # runs in the runtime's thread, where an exception would end the process
            with suppress(Exception):
                post(Ended(job, completion_info.exception))

        configured.model.wait_for_async_ready(timeout_ms=round(1000 * timeout_s), frames_count=len(requests))
        configured.model.run_async(requests, ended)

    def read_status(self, before: NpuStatus) -> NpuStatus:
        """Return ``before`` with the current sensor values; if they cannot be read, ``gauges_error`` is the reason."""
        read: dict[str, Any] = {
            "pcie": _pcie(self._id),
            "gauges_error": self._no_control,
            "throttling_level": None,
            "runtime": self._runtime,
        }
        if self._control is None:
            return replace(before, **read)
        try:
            control = self._control.control
            board = control.identify()
            version = board.firmware_version
            read["architecture"] = str(board.device_architecture)
            read["firmware"] = f"{version.major}.{version.minor}.{version.revision}"
        except Exception as error:  # noqa: BLE001 - reported in the status: recognition does not depend on it
            read["gauges_error"] = str(to_error(failure_of("control", error)))
            return replace(before, **read)
        # each by itself: not every board supports all of them
        read["temperature_c"] = None
        with suppress(Exception):
            temperature = control.get_chip_temperature()
            read["temperature_c"] = float(max(temperature.ts0_temperature, temperature.ts1_temperature))
        with suppress(Exception):
            read["clock_mhz"] = control.get_extended_device_information().neural_network_core_clock_rate / 1e6
        with suppress(Exception):
            level = int(control._get_health_information().current_temperature_throttling_level)  # noqa: SLF001 - there is no public function
            read["throttling_level"] = level if level >= 0 else None
        return replace(before, **read)

    def release(self) -> None:
        """Release the configured models, then the device. Errors are ignored."""
        while self._configured:
            _, configured = self._configured.popitem()
            with suppress(Exception):
                configured.model.__exit__(None, None, None)
            del configured
        for holder in (self._control, self._vdevice):
            if holder is not None:
                with suppress(Exception):
                    holder.release()
        self._control = self._vdevice = None


def _import_platform() -> ModuleType:
    """Import HailoRT's Python package with its log files disabled. Raises ``NpuError``."""
    os.environ.setdefault(_LOGGER_PATH, "NONE")
    os.environ[_NO_IDLE_START] = "1"
    try:
        platform = importlib.import_module("hailo_platform")
    except Exception as error:  # ImportError for versions, MissingPyHRTLib for the library
        raise to_error(NpuFailure("import", None, f"{type(error).__name__}: {error}")) from error
    require_supported(str(platform.__version__))
    return platform


def _scan(platform: ModuleType) -> list[str]:
    try:
        return list(platform.Device.scan())
    except Exception as error:  # the binding does not wrap errors of this call
        raise to_error(failure_of("scan", error)) from error


def device_count() -> int:
    """Return the number of devices that the driver lists, 0 if it cannot be queried."""
    with suppress(Exception):
        return len(_scan(importlib.import_module("hailo_platform")))
    return 0


def _check_shapes(infer_model: Any, network: HailoNetwork) -> None:
    """Raise ``ModelError`` for a HEF of another network. Shapes have no batch dimension; an embedding may be (768,) or (1, 1, 768)."""
    names = list(infer_model.output_names)
    absent = [name for name, _ in network.outputs if name and name not in names]
    if absent:
        raise ModelError(f"{network.hef}: has the outputs {', '.join(names)}, not {absent[0]}; compile the model again")
    taken = list(infer_model.input().shape)
    returned = [list(infer_model.output(name).shape) for name, _ in network.outputs]
    if taken != list(network.input_shape) or any(
        prod(shape) != prod(wanted) for shape, (_, wanted) in zip(returned, network.outputs, strict=True)
    ):
        wanted = " and ".join(f"{prod(shape)} numbers" for _, shape in network.outputs)
        raise ModelError(
            f"{network.hef}: takes {taken} and returns {returned}, not {list(network.input_shape)} and {wanted}; compile the model again"
        )


def _check_queue_size(queue_size: int, network: HailoNetwork) -> None:
    """Raise ``ModelError`` if batches exceed the runtime's queue: it would reject every batch and shut the model down."""
    batch = network.max_batch + -network.max_batch % network.together
    if queue_size < batch:
        raise ModelError(
            f"{network.hef}: the runtime accepts {queue_size} images at a time; set max_batch in model.json to {queue_size} or less, "
            f"not {batch}"
        )


def failure_of(operation: Operation, error: Exception) -> NpuFailure:
    """Return the failure for an error of the binding, with the status number from its cause, its text or its class."""
    if isinstance(error, NpuError):
        return NpuFailure(operation, None, str(error))
    for source in (error, error.__cause__):
        if source is not None and source.args and str(source.args[0]).isdigit():
            return NpuFailure(operation, int(str(source.args[0])), str(error))
    _, found, rest = str(error).partition("failed with error: ")
    number = rest.split(" ", 1)[0]
    if found and number.isdigit():
        return NpuFailure(operation, int(number), str(error))
    return NpuFailure(operation, _STATUS_OF_CLASS.get(type(error).__name__), f"{type(error).__name__}: {error}")


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
"""Exception classes of the binding and their status (pyhailort.py, ``ExceptionWrapper``), for job errors, which have no cause."""


def _pcie(device_id: str, devices: Path = _PCI) -> str | None:
    """Return generation and width of the link of a PCI device, such as ``Gen3 x1``, None if unknown."""
    try:
        speed = (devices / device_id / "current_link_speed").read_text().strip()
        width = (devices / device_id / "current_link_width").read_text().strip()
    except OSError:
        return None
    generation = next((name for rate, name in _GENERATIONS.items() if speed.startswith(rate)), speed)
    return f"{generation} x{width}"
