"""The export targets: their image size and file formats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge.recognition.embedding import INPUT_SIZE


@dataclass(frozen=True, slots=True)
class Target:
    """``side`` is fixed, or None for the size in training. Every target gets the ONNX file with a dynamic batch size."""

    purpose: str
    side: int | None
    single_image: bool = False
    coreml: bool = False

    def side_for(self, trained_side: int) -> int:
        """Return the image size for this target, for a network trained at ``trained_side``, both in pixels."""
        return self.side or trained_side


TARGETS: Final[dict[str, Target]] = {
    "hailo": Target("a scanner: ONNX for the CPU, and for exactly one image for the NPU's compiler", INPUT_SIZE.width, single_image=True),
    "android": Target("ONNX Runtime Mobile, any number of images", INPUT_SIZE.width),
    "server": Target("ONNX Runtime on a server, at the size of the training", None),
    "ios": Target("Core ML package, and the ONNX it is compared with, at the size of the training", None, coreml=True),
}

DEFAULT_TARGET: Final = "hailo"
