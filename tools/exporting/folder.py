"""Export a trained network to a model folder: write all formats, check each against the network, measure, describe."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge.adapters.onnx import OnnxEmbedder
from edge.errors import ModelError
from edge.recognition.embedding import INPUT_SIZE, PREPROCESSING_ID, EmbeddingMatrix, InputBatch
from edge.recognition.model import MODEL_FILE, Artifact, Golden, Measured, MeasuredView, ModelManifest, NetworkInput, open_model, self_test
from edge.vision.frame import RgbImage
from tools.evaluation.embedding import as_table, measure_views
from tools.exporting.coreml_format import predict, write_coreml
from tools.exporting.deployed import DeployedNetwork, embed_as_trained, weights_id
from tools.exporting.description import architecture, training_record
from tools.exporting.golden import file_record, write_golden
from tools.exporting.onnx_format import write_onnx, write_single_image_onnx
from tools.exporting.targets import DEFAULT_TARGET, TARGETS, Target
from tools.hailo.plan import read_plan, to_json_dict
from tools.network.contract import parameter_count
from tools.network.onnx_file import OnnxFile, squares
from tools.simulation.camera import PRESETS, degrade
from tools.simulation.card_images import CardImages, read_backgrounds, read_cards
from tools.training.checkpoint import TrainedNetwork, open_trained

MAX_BATCH: Final = 16

PARITY_MIN_COSINE: Final = 0.9999

COREML_MIN_COSINE: Final = 0.999
"""Lower than for ONNX, because Core ML also computes in half precision."""

PARITY_IMAGES: Final = 48

ONNX_FILE: Final = "model.onnx"

SINGLE_IMAGE_FILE: Final = "model-b1.onnx"
"""Input of the NPU's compiler. Not listed in ``model.json``, because no backend runs it."""


@dataclass(frozen=True, slots=True, eq=False)
class ValidationSet:
    """Cards and backgrounds with which the exported files are checked and measured."""

    cards: CardImages
    backgrounds: Sequence[RgbImage]
    views_per_card: int

    def images(self) -> list[RgbImage]:
        """Return clean cards and simulated views of them, ``PARITY_IMAGES`` in all."""
        chosen = np.linspace(0, len(self.cards.card_ids) - 1, PARITY_IMAGES // 2).astype(int)
        clean: list[RgbImage] = [self.cards.pixels[row] for row in chosen]
        seen = [
            degrade(image, PRESETS["camera-6"], np.random.default_rng(number), self.backgrounds[number % len(self.backgrounds)])
            for number, image in enumerate(clean)
        ]
        return clean + seen


def export(
    checkpoint: Path, data: Path, out: Path, *, views_per_card: int, target: Target = TARGETS[DEFAULT_TARGET], side: int | None = None
) -> ModelManifest:
    """Write the model folder ``out`` and return its manifest; on an error an existing folder is kept.

    Raises ``DataError`` if an input cannot be read, ``ModelError`` if an exported file differs from the trained network.
    """
    trained = open_trained(checkpoint)
    cards = read_cards(data)
    if views_per_card and not np.isin(cards.card_sets, trained.held_out).any():
        raise ModelError(
            f"{data}: contains none of the held-out sets {trained.held_out}, which are needed for measuring; name another --data"
        )
    validation = ValidationSet(cards, read_backgrounds(data / "negatives", half=1), views_per_card)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        manifest = write_folder(trained, side or target.side_for(trained.side), target, validation, partial, out.name)
        for script in out.glob("*.alls"):  # written by hand for the compiler, not by an export
            shutil.copy2(script, partial)
        shutil.rmtree(out, ignore_errors=True)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def write_folder(trained: TrainedNetwork, side: int, target: Target, validation: ValidationSet, folder: Path, name: str) -> ModelManifest:
    """Write all formats of ``target`` to ``folder``, check them, write ``model.json`` last, and return its content."""
    deployed = DeployedNetwork(trained, side)
    write_onnx(deployed, folder / ONNX_FILE)
    inputs = squares(validation.images(), side)
    expected = embed_as_trained(trained, deployed.shrink, inputs)
    lowest = check_agreement(ONNX_FILE, OnnxFile(folder / ONNX_FILE).run(inputs), expected, PARITY_MIN_COSINE)
    print(f"{ONNX_FILE}: minimum cosine to the trained network {lowest:.6f} over {PARITY_IMAGES} images")
    if target.single_image:
        write_single_image_onnx(folder / ONNX_FILE, folder / SINGLE_IMAGE_FILE)
        lowest = min(
            lowest, check_agreement(SINGLE_IMAGE_FILE, OnnxFile(folder / SINGLE_IMAGE_FILE).run(inputs), expected, PARITY_MIN_COSINE)
        )
    coreml = write_checked_coreml(deployed, folder, inputs, expected) if target.coreml else None
    views = measured_views(OnnxFile(folder / ONNX_FILE), trained, validation)
    measured = Measured(parity_min_cosine=lowest, parity_images=PARITY_IMAGES, gallery_cards=len(validation.cards.card_ids), views=views)
    manifest = describe(trained, deployed, folder, name, write_golden(trained, side, folder), measured, coreml)
    if target.single_image:
        manifest = manifest.model_copy(update={"npu": {"plan": to_json_dict(read_plan(folder / ONNX_FILE))}})
    (folder / MODEL_FILE).write_text(manifest.to_json(), encoding="utf-8")
    if side == INPUT_SIZE.width:
        self_test_as_device(folder)
    return manifest


def check_agreement(file_name: str, vectors: EmbeddingMatrix, expected: EmbeddingMatrix, bound: float) -> float:
    """Return the minimum cosine of corresponding rows. Raises ``ModelError``, which names ``file_name``, if it is below ``bound``."""
    lowest = float(np.min(np.sum(vectors * expected, axis=1)))
    if not lowest >= bound:
        raise ModelError(f"{file_name} differs from the trained network (cosine {lowest:.6f}, at least {bound} required)")
    return min(1.0, lowest)


def write_checked_coreml(deployed: DeployedNetwork, folder: Path, inputs: InputBatch, expected: EmbeddingMatrix) -> dict[str, Any]:
    """Write the Core ML package and return its record, including its agreement if this platform can run Core ML."""
    record = write_coreml(deployed, folder)
    vectors = predict(folder, inputs)
    if vectors is not None:
        lowest = check_agreement(record["package"], vectors, expected, COREML_MIN_COSINE)
        record |= {"parity_min_cosine": lowest, "parity_note": f"run over {PARITY_IMAGES} images"}
    print(f"{record['package']}: {record['weights_compared']} weights compared; parity {record['parity_note']}")
    return record


def measured_views(network: OnnxFile, trained: TrainedNetwork, validation: ValidationSet) -> tuple[MeasuredView, ...]:
    """Return the figures of the ONNX file on simulated views of the held-out cards; none if ``views_per_card`` is 0."""
    if not validation.views_per_card:
        return ()
    held_out = np.isin(validation.cards.card_sets, trained.held_out)
    rows = measure_views(network.embed, validation.cards, held_out, validation.backgrounds, views_per_card=validation.views_per_card)
    print(as_table(rows))
    return tuple(rows)


def describe(
    trained: TrainedNetwork,
    deployed: DeployedNetwork,
    folder: Path,
    name: str,
    golden: Golden,
    measured: Measured,
    coreml: dict[str, Any] | None,
) -> ModelManifest:
    """Return the content of ``model.json``."""
    network = trained.network
    onnx_record = file_record(folder / ONNX_FILE).model_dump()
    preprocessing = f"area-{deployed.side}-rgb-u8/1"
    if deployed.side == INPUT_SIZE.width:
        preprocessing = PREPROCESSING_ID
    return ModelManifest(
        model_id=weights_id(network),
        name=name,
        architecture=architecture(network, deployed.shrink),
        parameters=parameter_count(network),
        created=datetime.now(UTC).replace(microsecond=0),
        input=NetworkInput(width=deployed.side, height=deployed.side, preprocessing=preprocessing),
        dim=network.settings.dim,
        artefacts={"onnx": Artifact(**onnx_record, precision="float16 weights, float32 arithmetic", max_batch=MAX_BATCH)},
        golden=golden,
        training=training_record(trained),
        measured=measured,
        coreml=coreml,
    )


def self_test_as_device(folder: Path) -> None:
    """Open the folder as the daemon does and run its self-test. Raises ``ModelError`` if one fails."""
    model = open_model(folder)
    with closing(OnnxEmbedder(model)) as embedder:
        self_test(embedder.submit, model, kind="onnx")
