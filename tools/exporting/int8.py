"""Add a file with 8-bit weights and activations to a model folder, for scanners without an NPU, and prove it against the ONNX file."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edge.errors import DataError, ModelError
from edge.recognition.embedding import INPUT_SIZE
from edge.recognition.model import MODEL_FILE, Artifact, ArtifactAgreement, ModelManifest, open_model
from edge.recognition.pairing import PAIRED_MIN_COSINE, PAIRED_MIN_TOP1, is_close
from edge.system.files import write_atomically
from tools.bundle_build.card_list import images_outside, read_card_list
from tools.exporting.golden import file_record
from tools.hailo.agreement import compare_artifacts
from tools.network.onnx_file import OnnxFile, squares
from tools.network.quantization import quantize, simulated_views
from tools.network.recipes import RECIPES
from tools.simulation.card_images import read_card

INT8_FILE: Final = "model-int8.onnx"
CALIBRATION_VIEWS: Final = 48
CHECKED_VIEWS: Final = 160
GOLDEN_MIN_COSINE: Final = 0.98
"""Lower than for the ONNX file: golden images are drawn patterns, which 8 bits reproduce less well than cards."""


def add_int8(folder: Path, data: Path) -> ArtifactAgreement:
    """Quantize the ONNX file of a model folder, add the result to ``model.json`` with its agreement, and return that.

    ``data`` is the folder with ``cards.csv`` and its images: cards of the training calibrate, held-out cards check. Raises ``ModelError``
    if the two files do not agree well enough, ``DataError`` if there are no cards of either kind; then the folder stays as it was.
    """
    model = open_model(folder)
    held_out = set(model.manifest.training.held_out)
    rows = read_card_list(data / "cards.csv").rows
    known = images_outside(data / "cards.csv", data, model.manifest.training.held_out)
    unseen = [data / row.image for row in rows if row.card.set in held_out]
    if not known or not unseen:
        raise DataError(f"{data / 'cards.csv'}: needs cards of the training and of the held-out sets {', '.join(sorted(held_out))}")
    source = model.artifact_path("onnx")
    with tempfile.TemporaryDirectory(dir=folder.parent) as directory:
        target = Path(directory) / INT8_FILE
        quantize(source, target, simulated_views(known, CALIBRATION_VIEWS, 1, INPUT_SIZE.width), RECIPES["cpu"])
        agreement = measure_agreement(source, target, unseen)
        if not is_close(agreement):
            raise ModelError(
                f"{INT8_FILE}: mean cosine {agreement.mean_cosine:.4f}, {100 * agreement.top1:.1f} % same answers over "
                f"{agreement.count} views (at least {PAIRED_MIN_COSINE} and {100 * PAIRED_MIN_TOP1:g} % required); "
                "calibrate with other cards, or keep the folder as it is"
            )
        target.replace(folder / INT8_FILE)
    write_atomically(folder / MODEL_FILE, with_int8(model.manifest, folder, agreement).to_json(), durable=False)
    return agreement


def measure_agreement(reference: Path, quantized: Path, unseen: Sequence[Path]) -> ArtifactAgreement:
    """Return the agreement of two files of one network over views of cards that took no part in training."""
    first, second = OnnxFile(reference), OnnxFile(quantized)
    views = simulated_views(unseen, CHECKED_VIEWS, 2, INPUT_SIZE.width)
    gallery = first.run(squares([read_card(path) for path in unseen], INPUT_SIZE.width))
    return compare_artifacts(first.run(views), second.run(views), gallery)


def with_int8(manifest: ModelManifest, folder: Path, agreement: ArtifactAgreement) -> ModelManifest:
    """Return the manifest with the 8-bit file in ``folder``."""
    record = file_record(folder / INT8_FILE).model_dump()
    artifact = Artifact(**record, precision="int8 weights and activations", max_batch=manifest.artefacts["onnx"].max_batch)
    golden = manifest.golden.model_copy(update={"min_cosine": {**manifest.golden.min_cosine, "int8": GOLDEN_MIN_COSINE}})
    return manifest.model_copy(
        update={
            "artefacts": {**manifest.artefacts, "int8": artifact},
            "agreement": {**manifest.agreement, "int8": agreement},
            "golden": golden,
        }
    )
