"""Run an ONNX file of any input size: quantized copies, teachers, exports for targets other than the scanner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from edge.errors import ModelError
from edge.recognition.embedding import EmbeddingMatrix, InputBatch, checked_embeddings
from edge.vision.frame import RgbImage

_ROWS_AT_ONCE = 8


class OnnxFile:
    """Embeds rectified cards: RGB uint8 (n, side, side, 3) in, unit rows float32 (n, ``dim``) out.

    ``threads`` is the number of CPU threads, 0 for all. Raises ``ModelError`` if the file cannot be loaded or has another input.
    """

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ModelError(f"{path}: ONNX Runtime cannot load it ({error}); export the network again") from error
        (pixels,), (embedding,) = self._session.get_inputs(), self._session.get_outputs()
        if pixels.type != "tensor(uint8)" or len(pixels.shape) != 4 or pixels.shape[1] != pixels.shape[2] or pixels.shape[3] != 3:
            raise ModelError(f"{path}: takes {pixels.type} {pixels.shape}, not uint8 (n, side, side, 3); export the network again")
        self._name = pixels.name
        self._rows = pixels.shape[0] if isinstance(pixels.shape[0], int) else _ROWS_AT_ONCE
        self.side = int(pixels.shape[1])
        self.dim = int(embedding.shape[-1])

    def embed(self, cards: Sequence[RgbImage]) -> EmbeddingMatrix:
        """Return the embeddings of rectified cards of any size, unit rows float32 (n, ``dim``)."""
        return self.run(squares(cards, self.side))

    def run(self, batch: InputBatch) -> EmbeddingMatrix:
        """Return the embeddings of prepared input, uint8 (n, side, side, 3)."""
        parts = (batch[start : start + self._rows] for start in range(0, len(batch), self._rows))
        output = [self._session.run(None, {self._name: np.ascontiguousarray(part)})[0] for part in parts]
        return checked_embeddings(np.concatenate(output), count=len(batch), dim=self.dim)


def squares(cards: Sequence[RgbImage], side: int) -> InputBatch:
    """Return cards resized to uint8 (n, side, side, 3), as ``edge.recognition.embedding.to_input_batch`` does for its fixed side."""
    batch = np.empty((len(cards), side, side, 3), dtype=np.uint8)
    for index, card in enumerate(cards):
        shrinks = card.shape[0] >= side and card.shape[1] >= side
        cv2.resize(card, (side, side), dst=batch[index], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return batch
