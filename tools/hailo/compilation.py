"""Compile a model for the Hailo-8L; compare its emulations with the ONNX artifact before the HEF is stored."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Final

import numpy as np

from edge.errors import DataError
from edge.recognition.embedding import INPUT_SIZE, EmbeddingMatrix, InputBatch, l2_normalize
from edge.recognition.model import Artifact, ArtifactAgreement, Model
from tools.hailo.agreement import compare_artifacts
from tools.hailo.compiled_part import write_compiled_part
from tools.hailo.compiler import Compilation, Emulation
from tools.hailo.record import write_npu_record
from tools.hailo.views import views_of
from tools.network.onnx_file import OnnxFile
from tools.simulation.card_images import CardImages

HEF_FILE: Final = "model.hef"
MAX_BATCH: Final = 8
HEF_MIN_COSINE: Final = 0.97
"""Minimum cosine of the NPU's embeddings of the golden images; 8-bit networks reach 0.98 to 0.999 (see hef/README.md)."""

MIN_QUANTIZED_COSINE: Final = 0.98

MAX_LOST_CARDS: Final = 0.005
"""Share of held-out views whose card the ONNX finds and the quantized network does not."""

MIN_CALIBRATION_CARDS: Final = 512
"""Different cards for calibration. The ranges of few or foreign images leave a network that looks right and finds little: on a Hailo-8L a
detector fell from 0.548 to 0.069 mAP50 with 128 images, and kept 0.507 with images of its own domain (public measurement, 2026-07)."""


def script_path(folder: Path) -> Path:
    """Return the path of the compiler's model script in a model's folder: ``<name>/<name>.alls``."""
    return folder / f"{folder.name}.alls"


def compile_model(
    model: Model, known: CardImages, held_out: CardImages, negatives: Path | None, count: int
) -> dict[str, ArtifactAgreement]:
    """Compile the model, check it, write ``model.hef`` and ``model.json``; return the agreement of both emulations with the ONNX.

    ``known`` cards are used for calibration (``count`` views), ``held_out`` cards for the check. Raises ``DataError`` if a step fails or
    quantization costs too much, ``DeviceError`` if the compiler is not installed.
    """
    script = script_path(model.folder).read_text(encoding="utf-8")
    source = model.artifact_path("onnx")
    if len(known.card_ids) < MIN_CALIBRATION_CARDS:
        raise DataError(
            f"{len(known.card_ids)} cards for calibration, at least {MIN_CALIBRATION_CARDS} are needed: add scans of cards of the kind "
            "that the scanner will see, or hold out fewer sets"
        )
    with tempfile.TemporaryDirectory() as folder:
        compilation = Compilation(write_compiled_part(source, Path(folder) / source.name, INPUT_SIZE.width), model.manifest.name)
        compilation.translate()
    compilation.optimize(script, views_of(known, negatives, count, seed=1, half=0))
    agreements, found = compare_emulations(compilation, OnnxFile(source), held_out, negatives)
    quantized, lost = agreements["quantized emulation"], found["ONNX"] - found["quantized emulation"]
    if quantized.mean_cosine < MIN_QUANTIZED_COSINE or lost > MAX_LOST_CARDS:
        raise DataError(
            f"quantization costs too much: of {quantized.count} views of held-out cards {100 * found['quantized emulation']:.1f} % find "
            f"their card instead of {100 * found['ONNX']:.1f} % (at most {100 * MAX_LOST_CARDS:g} points less), mean cosine "
            f"{quantized.mean_cosine:.4f} (at least {MIN_QUANTIZED_COSINE}); try 16 bits in the last stage, see hef/README.md"
        )
    write_artifact(model, compilation.compile(), quantized)
    return agreements


def compare_emulations(
    compilation: Compilation, reference: OnnxFile, held_out: CardImages, negatives: Path | None
) -> tuple[dict[str, ArtifactAgreement], dict[str, float]]:
    """Compare native and quantized emulation with the ONNX on two views of each held-out card, searched among the held-out cards.

    Returns the agreement of each emulation with the ONNX, and of all three the share of views whose nearest card is the right one.
    """
    queries = views_of(held_out, negatives, 2 * len(held_out.card_ids), seed=2, half=1)
    gallery = reference.embed(list(held_out.pixels))
    expected = reference.run(queries)
    emulated: dict[str, EmbeddingMatrix] = {
        "native": _embeddings(compilation, queries, "SDK_NATIVE"),
        "quantized emulation": _embeddings(compilation, queries, "SDK_QUANTIZED"),
    }
    cards = np.arange(len(queries)) % len(gallery)
    found = {name: float(np.mean(np.argmax(rows @ gallery.T, axis=1) == cards)) for name, rows in {"ONNX": expected, **emulated}.items()}
    return {name: compare_artifacts(expected, rows, gallery) for name, rows in emulated.items()}, found


def _embeddings(compilation: Compilation, queries: InputBatch, kind: Emulation) -> EmbeddingMatrix:
    (output,) = compilation.emulate(queries, kind)
    return l2_normalize(output.reshape(len(queries), -1))


def write_artifact(model: Model, hef: bytes, emulated: ArtifactAgreement) -> None:
    """Write the HEF beside the ONNX file, then add it to ``model.json``."""
    (model.folder / HEF_FILE).write_bytes(hef)
    artifact = Artifact(file=HEF_FILE, sha256=hashlib.sha256(hef).hexdigest(), size_bytes=len(hef), precision="int8", max_batch=MAX_BATCH)
    manifest = model.manifest
    golden = manifest.golden.model_copy(update={"min_cosine": {**manifest.golden.min_cosine, "hef": HEF_MIN_COSINE}})
    artefacts = {**manifest.artefacts, "hef": artifact}
    write_npu_record(model, "emulated", emulated.model_dump(mode="json"), artefacts=artefacts, golden=golden)
