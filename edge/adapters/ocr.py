"""OCR with RapidOCR (detection and recognition by ONNX Runtime), the extra ``ocr``. Its models are in its wheel.

The paths of the models are set explicitly, because RapidOCR would download missing ones.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from typing_extensions import override

from edge.errors import TextReaderError
from edge.recognition.collector_number import TextReader
from edge.recognition.number_text import TextLine
from edge.vision.frame import RgbImage

INSTALL: Final = (
    "install the extra `ocr` (sudo ./install.sh --with ocr on a scanner, .venv/bin/pip install -e '.[ocr]' in a clone) "
    'or set recognition.read_numbers = "never"'
)
_WORK_LENGTH_PX: Final = 1024
"""Longest side at which text is detected: a number band need not be enlarged, which would take twenty times as long."""


def is_installed() -> bool:
    """Return whether the extra is installed, without importing it."""
    return find_spec("rapidocr") is not None


class RapidOcrReader(TextReader):
    """Reads text on ``threads`` CPU threads. The models (31 MB) are loaded with the first image.

    Raises ``TextReaderError`` if the extra is not installed or is incomplete.
    """

    def __init__(self, *, threads: int = 1) -> None:
        package = find_spec("rapidocr")
        if package is None or package.origin is None:
            raise TextReaderError(f"collector numbers cannot be read: RapidOCR is missing; {INSTALL}")
        models = Path(package.origin).parent / "models"
        self._parameters = {
            "Global.log_level": "error",
            "Global.use_cls": False,
            "Global.text_score": 0.0,
            "Det.model_path": str(_model(models, "det")),
            "Det.limit_type": "max",
            "Det.limit_side_len": _WORK_LENGTH_PX,
            "Rec.model_path": str(_model(models, "rec")),
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
        self._engine: Any = None

    @override
    def read_text(self, image: RgbImage) -> tuple[TextLine, ...]:
        try:
            output = self._loaded()(np.ascontiguousarray(image[:, :, ::-1]))
        except Exception as error:
            raise TextReaderError(f"RapidOCR failed: {type(error).__name__}: {error}; {INSTALL}") from error
        return tuple(TextLine(str(text), float(score)) for text, score in zip(output.txts or (), output.scores or (), strict=True))

    def _loaded(self) -> Any:
        if self._engine is None:
            from rapidocr import RapidOCR  # noqa: PLC0415 - an extra, and slow to import

            self._engine = RapidOCR(params=self._parameters)
        return self._engine


def _model(folder: Path, kind: str) -> Path:
    found = sorted(folder.glob(f"*_{kind}_*.onnx"))
    if not found:
        raise TextReaderError(f"{folder}: RapidOCR's wheel has no {kind} model; {INSTALL}")
    return found[-1]
