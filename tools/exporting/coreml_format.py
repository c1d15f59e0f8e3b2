"""Convert a trained network to a Core ML package (``.mlpackage``) for iOS with coremltools (the extra ``ios``).

Conversion works on Linux, prediction only on macOS. On macOS the embeddings are compared, elsewhere only the weights: every large weight of
the folded network must be found in the converted program within half precision. The record states which check was made.
"""

from __future__ import annotations

import hashlib
import platform
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any, Final, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from edge.errors import ModelError
from edge.recognition.embedding import EmbeddingMatrix, InputBatch
from tools.exporting.deployed import DeployedNetwork
from tools.extras import extra_required

PACKAGE: Final = "model.mlpackage"
COMPARED_FROM_ELEMENTS: Final = 1024
HALF_TOLERANCE: Final = 2e-3
"""Tolerance relative to the largest weight of a tensor; half precision has 11 significant bits."""


class _Planes(nn.Module):
    """Embeds RGB 0..255 (1, 3, side, side), the layout in which Core ML passes an image."""

    def __init__(self, deployed: DeployedNetwork) -> None:
        super().__init__()
        self.network = deployed.network

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network.embed(pixels)


def coreml_library() -> ModuleType:
    """Return the module ``coremltools``. Raises ``MissingExtraError``."""
    with extra_required("the target ios"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about versions that it was not tested with
        import coremltools
    return cast(ModuleType, coremltools)


def write_coreml(deployed: DeployedNetwork, folder: Path) -> dict[str, Any]:
    """Write ``folder/model.mlpackage`` with batch size 1 and return its record: files with hashes and the result of the check.

    Raises ``ModelError`` without coremltools, or if the conversion lost weights.
    """
    library = coreml_library()
    image = torch.zeros(1, 3, deployed.side, deployed.side)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # exported, not traced: a traced size is an array with one element, which newer versions of NumPy do not accept as a number
        program = torch.export.export(_Planes(deployed).eval(), (image,)).run_decompositions({})
        converted = library.convert(
            program,
            inputs=[library.ImageType(name="pixels", shape=tuple(image.shape), color_layout=library.colorlayout.RGB)],
            outputs=[library.TensorType(name="embedding", dtype=np.float32)],
            minimum_deployment_target=library.target.iOS16,
            compute_precision=library.precision.FLOAT16,
            convert_to="mlprogram",
        )
        converted.short_description = "Card embedding: RGB image of a rectified card to a unit vector"
        converted.save(str(folder / PACKAGE))
    compared = compare_weights(deployed, converted)
    files = sorted(path for path in (folder / PACKAGE).rglob("*") if path.is_file())
    return {
        "package": PACKAGE,
        "coremltools": str(library.__version__),
        "precision": "float16",
        "minimum_target": "iOS16",
        "files": {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
        "weights_compared": compared,
        "parity_min_cosine": None,
        "parity_note": "not run: Core ML predicts on macOS only; every large weight was found in the program",
    }


def compare_weights(deployed: DeployedNetwork, converted: Any) -> int:
    """Return the number of large weights, all found in the converted program. Raises ``ModelError`` that names the first missing one."""
    constants: dict[int, list[Any]] = {}
    for operation in converted._mil_program.functions["main"].operations:  # noqa: SLF001 - there is no public way to the program
        value = getattr(operation.outputs[0], "val", None) if operation.op_type == "const" else None
        if isinstance(value, np.ndarray) and value.size >= COMPARED_FROM_ELEMENTS and value.dtype.kind == "f":
            constants.setdefault(value.size, []).append(value.astype(np.float32).ravel())
    compared = 0
    for name, weight in deployed.network.named_parameters():
        wanted = weight.detach().numpy()
        if wanted.size < COMPARED_FROM_ELEMENTS:
            continue
        orders = [wanted.ravel(), *([wanted.T.ravel()] if wanted.ndim == 2 else [])]  # a linear layer may be stored transposed
        near = HALF_TOLERANCE * float(np.abs(wanted).max())
        if not any(np.abs(found - order).max() <= near for found in constants.get(wanted.size, []) for order in orders):
            raise ModelError(f"{PACKAGE}: the weight {name} was lost in the conversion; try another version of coremltools")
        compared += 1
    return compared


def predict(folder: Path, batch: InputBatch) -> EmbeddingMatrix | None:
    """Return the package's embeddings of images uint8 (n, side, side, 3), or None if this platform cannot run Core ML."""
    if platform.system() != "Darwin":
        return None
    model = coreml_library().models.MLModel(str(folder / PACKAGE))
    rows = [model.predict({"pixels": Image.fromarray(image)})["embedding"] for image in batch]
    return np.asarray(np.concatenate(rows), dtype=np.float32)
