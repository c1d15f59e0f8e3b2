"""Run Hailo's Dataflow Compiler: ONNX → parsed → optimized (quantized) → HEF; fail where it would silently lose accuracy.

The compiler (package ``hailo_sdk_client``) is proprietary, x86-64 only, and comes from the Hailo Developer Zone; it is imported when it is
used. Calls as in the model zoo (hailo-ai/hailo_model_zoo v2.18) and luxonis/modelconverter: ``ClientRunner.translate_onnx_model``,
``load_model_script``, ``optimize``, ``compile``, ``infer_context``/``infer``.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.errors import DataError, DeviceError
from tools.hailo.compiled_part import CompiledPart
from tools.hailo.views import CALIBRATION_IMAGES

RUNTIME_OF_COMPILER: Final = {"3.30": "4.20", "3.31": "4.21", "3.32": "4.22", "3.33": "4.23", "3.34": "4.24"}
"""Dataflow Compiler -> HailoRT that reads its files (hailo_model_zoo, docs/CHANGELOG.rst)."""


LOST_ACCURACY: Final = (
    "reducing optimization level",
    "the accuracy won't be optimized",
    "compression won't be used",
    "random calibration set",
    "no gpu",
    "running without calibration",
)
"""Parts of log messages, in lower case, that announce a loss of accuracy."""

OUTPUT_LAYERS: Final = "{output_layers}"
"""Placeholder in a model script for the compiler's names of the last layers, separated by commas."""

Emulation: TypeAlias = Literal["SDK_NATIVE", "SDK_FP_OPTIMIZED", "SDK_QUANTIZED"]


class Compilation:
    """Compiles one network; call ``translate``, ``optimize`` and ``compile`` in this order.

    Each raises ``DataError`` with the compiler's message if it fails or loses accuracy. The constructor raises ``DeviceError`` if the
    compiler is not installed.
    """

    def __init__(self, part: CompiledPart, name: str, *, chip: str = "hailo8l") -> None:
        self._sdk = load_compiler()
        self._part = part
        self._name = name
        self._runner: Any = self._sdk.ClientRunner(hw_arch=chip)

    def translate(self) -> None:
        """Parse the ONNX file with batch size 1."""
        part = self._part
        with failing_on_lost_accuracy("translating"):
            self._runner.translate_onnx_model(
                str(part.onnx),
                self._name,
                start_node_names=[part.start],
                end_node_names=list(part.ends),
                net_input_shapes={part.start: [1, 3, part.size.height, part.size.width]},
            )

    def optimize(self, script: str, calibration: NDArray[np.uint8]) -> None:
        """Quantize with ``script``; ``calibration`` is RGB uint8 (n, height, width, 3) with n at least ``CALIBRATION_IMAGES``."""
        if len(calibration) < CALIBRATION_IMAGES:
            raise DataError(
                f"{len(calibration)} images for calibration; the compiler optimizes only with at least {CALIBRATION_IMAGES}; add images"
            )
        with failing_on_lost_accuracy("optimizing"):
            self._runner.load_model_script(script.replace(OUTPUT_LAYERS, ", ".join(self.output_layers())))
            self._runner.optimize(calibration.astype(np.float32))

    def compile(self) -> bytes:
        """Return the HEF."""
        with failing_on_lost_accuracy("compiling"):
            return bytes(self._runner.compile())

    def emulate(self, batch: NDArray[np.uint8], kind: Emulation) -> tuple[NDArray[np.float32], ...]:
        """Return the outputs, float32 (n, h, w, channels) each, of the parsed (native) or the quantized network, run on this machine."""
        context = getattr(self._sdk.InferenceContext, kind)
        with self._runner.infer_context(context) as opened:
            outputs = self._runner.infer(opened, batch.astype(np.float32))
        return tuple(np.asarray(output, dtype=np.float32) for output in (outputs if isinstance(outputs, list) else [outputs]))

    def output_layers(self) -> tuple[str, ...]:
        """Return the compiler's names of the last layers, because scripts and the HEF use its names and not those of the ONNX file."""
        layers = self._runner.get_hn()["layers"]
        found = []
        for end in self._part.ends:
            names = [name for name, layer in layers.items() if end in layer.get("original_names", ())]
            if not names:
                raise DataError(f"{self._part.onnx}: the compiler has no layer for `{end}`; its layers: {', '.join(layers)}")
            found.append(str(names[-1]))
        return tuple(found)


def load_compiler() -> ModuleType:
    """Return the compiler's module. Raises ``DeviceError`` that names its source if it is not installed."""
    try:
        return importlib.import_module("hailo_sdk_client")
    except ImportError as error:
        pairs = ", ".join(f"{compiler} for HailoRT {runtime}" for compiler, runtime in RUNTIME_OF_COMPILER.items())
        raise DeviceError(
            f"Hailo's Dataflow Compiler is not installed ({error}). Get the wheel hailo_dataflow_compiler from the Hailo Developer Zone "
            f"(account needed; Ubuntu x86-64, Python 3.10 to 3.12) and install it into a virtual environment; use version {pairs}. "
            "`--plan` works without it"
        ) from error


@contextmanager
def failing_on_lost_accuracy(step: str) -> Iterator[None]:
    """Raise ``DataError`` if the block raises or the compiler logs a loss of accuracy; the message begins with ``step``."""
    handler = _AccuracyLogHandler()
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    except (DataError, DeviceError):
        raise
    except Exception as error:
        raise DataError(f"{step} failed: {type(error).__name__}: {error}") from error
    finally:
        root.removeHandler(handler)
    if handler.matches:
        raise DataError(f"{step}: the compiler reports a loss of accuracy: {handler.matches[0]!r}; use a GPU and at least 1024 images")


class _AccuracyLogHandler(logging.Handler):
    """Collects log messages that announce a loss of accuracy."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.matches: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if any(sign in message.lower() for sign in LOST_ACCURACY):
            self.matches.append(message)
