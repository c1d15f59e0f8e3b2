"""The targets of an export: their image size and file formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge.recognition.embedding import INPUT_SIZE


@dataclass(frozen=True, slots=True)
class Target:
    """A target of an export. ``side`` is its image side in pixels, None for that of the training.

    Every target gets the ONNX file for any batch size; ``single_image`` adds one for batch size 1, ``coreml`` a Core ML package.
    """

    purpose: str
    side: int | None
    single_image: bool = False
    coreml: bool = False

    def side_for(self, trained_side: int) -> int:
        """Return the image side of this target for a network trained at ``trained_side``, both in pixels."""
        return self.side or trained_side


TARGETS: Final[dict[str, Target]] = {
    "hailo": Target("scanner: ONNX for the CPU, and with batch size 1 for the NPU's compiler", INPUT_SIZE.width, single_image=True),
    "android": Target("ONNX Runtime Mobile, any batch size", INPUT_SIZE.width),
    "server": Target("ONNX Runtime on a server, at the image size of the training", None),
    "ios": Target("Core ML package and the ONNX file it is compared with, at the image size of the training", None, coreml=True),
}

DEFAULT_TARGET: Final = "hailo"
