"""Export a trained network into a folder: write all forms, prove each against the trained network, measure, describe."""

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
from tools.exporting.coreml_form import predicted, write_coreml
from tools.exporting.deployed import Deployed, embed_as_trained, weights_id
from tools.exporting.description import architecture, training_record
from tools.exporting.golden import file_record, write_golden
from tools.exporting.onnx_form import write_for_one, write_onnx
from tools.exporting.targets import DEFAULT_TARGET, TARGETS, Target
from tools.hailo.plan import as_record, plan_of
from tools.network.contract import parameter_count
from tools.network.onnx_file import OnnxFile, squares
from tools.simulation.camera import PRESETS, degrade
from tools.simulation.card_images import CardImages, read_backgrounds, read_cards
from tools.training.checkpoint import Trained, open_trained

MAX_BATCH: Final = 16

PARITY_MIN_COSINE: Final = 0.9999

COREML_MIN_COSINE: Final = 0.999
"""Half-precision arithmetic differs more than half-precision weights."""

PARITY_IMAGES: Final = 48

ONNX_FILE: Final = "model.onnx"

FOR_ONE_FILE: Final = "model-b1.onnx"
"""Not listed in ``model.json``: a compiler wants it, no backend runs it, and a folder is whole without it."""


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """What the forms are proven and measured with."""

    cards: CardImages
    backgrounds: Sequence[RgbImage]
    views_per_card: int

    def pictures(self) -> list[RgbImage]:
        """Return real cards, half of them clean, half as a camera sees them."""
        chosen = np.linspace(0, len(self.cards.card_ids) - 1, PARITY_IMAGES // 2).astype(int)
        clean: list[RgbImage] = [self.cards.pixels[row] for row in chosen]
        seen = [
            degrade(picture, PRESETS["camera-6"], np.random.default_rng(number), self.backgrounds[number % len(self.backgrounds)])
            for number, picture in enumerate(clean)
        ]
        return clean + seen


def export(
    checkpoint: Path, data: Path, out: Path, *, views_per_card: int, target: Target = TARGETS[DEFAULT_TARGET], side: int | None = None
) -> ModelManifest:
    """Make the folder ``out``; it is replaced in one step, or not at all. Raises ``DataError`` or ``ModelError``."""
    trained = open_trained(checkpoint)
    cards = read_cards(data)
    if views_per_card and not np.isin(cards.card_sets, trained.held_out).any():
        raise ModelError(f"{data}: none of the held-out sets {trained.held_out} is there; nothing honest can be measured")
    proof = Proof(cards, read_backgrounds(data / "negatives", half=1), views_per_card)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        manifest = write_folder(trained, side or target.side_for(trained.side), target, proof, partial, out.name)
        for script in out.glob("*.alls"):  # written by hand for the compiler, no part of an export
            shutil.copy2(script, partial)
        shutil.rmtree(out, ignore_errors=True)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def write_folder(trained: Trained, side: int, target: Target, proof: Proof, folder: Path, name: str) -> ModelManifest:
    """Write all forms with their proofs, and ``model.json`` last."""
    deployed = Deployed(trained, side)
    write_onnx(deployed, folder / ONNX_FILE)
    inputs = squares(proof.pictures(), side)
    wanted = embed_as_trained(trained, deployed.shrink, inputs)
    least = agreement(ONNX_FILE, OnnxFile(folder / ONNX_FILE).run(inputs), wanted, PARITY_MIN_COSINE)
    print(f"{ONNX_FILE}: least cosine to the trained network {least:.6f} over {PARITY_IMAGES} pictures")
    if target.for_one:
        write_for_one(folder / ONNX_FILE, folder / FOR_ONE_FILE)
        least = min(least, agreement(FOR_ONE_FILE, OnnxFile(folder / FOR_ONE_FILE).run(inputs), wanted, PARITY_MIN_COSINE))
    coreml = write_and_prove_coreml(deployed, folder, inputs, wanted) if target.coreml else None
    views = measured_views(OnnxFile(folder / ONNX_FILE), trained, proof)
    measured = Measured(parity_min_cosine=least, parity_images=PARITY_IMAGES, gallery_cards=len(proof.cards.card_ids), views=views)
    manifest = describe(trained, deployed, folder, name, write_golden(trained, side, folder), measured, coreml)
    if target.for_one:
        manifest = manifest.model_copy(update={"npu": {"plan": as_record(plan_of(folder / ONNX_FILE))}})
    (folder / MODEL_FILE).write_text(manifest.to_json(), encoding="utf-8")
    if side == INPUT_SIZE.width:
        open_as_a_scanner(folder)
    return manifest


def agreement(form: str, answered: EmbeddingMatrix, wanted: EmbeddingMatrix, bound: float) -> float:
    """Return the least cosine of corresponding rows. Raises ``ModelError`` below ``bound``."""
    least = float(np.min(np.sum(answered * wanted, axis=1)))
    if not least >= bound:
        raise ModelError(f"{form} differs from the trained network (cosine {least:.6f}, at least {bound} wanted)")
    return min(1.0, least)


def write_and_prove_coreml(deployed: Deployed, folder: Path, inputs: InputBatch, wanted: EmbeddingMatrix) -> dict[str, Any]:
    """Write the Core ML package and return its record, with its agreement where Core ML can predict."""
    record = write_coreml(deployed, folder)
    answered = predicted(folder, inputs)
    if answered is not None:
        least = agreement(record["package"], answered, wanted, COREML_MIN_COSINE)
        record |= {"parity_min_cosine": least, "parity_note": f"run over {PARITY_IMAGES} pictures"}
    print(f"{record['package']}: {record['weights_compared']} weights compared; parity {record['parity_note']}")
    return record


def measured_views(network: OnnxFile, trained: Trained, proof: Proof) -> tuple[MeasuredView, ...]:
    """Measure the ONNX on simulated views of the held-out cards."""
    if not proof.views_per_card:
        return ()
    held_out = np.isin(proof.cards.card_sets, trained.held_out)
    rows = measure_views(network.embed, proof.cards, held_out, proof.backgrounds, views_per_card=proof.views_per_card)
    print(as_table(rows))
    return tuple(rows)


def describe(
    trained: Trained, deployed: Deployed, folder: Path, name: str, golden: Golden, measured: Measured, coreml: dict[str, Any] | None
) -> ModelManifest:
    """Return the content of ``model.json``."""
    network = trained.network
    onnx_facts = file_record(folder / ONNX_FILE).model_dump()
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
        artefacts={"onnx": Artifact(**onnx_facts, precision="float16 weights, float32 arithmetic", max_batch=MAX_BATCH)},
        golden=golden,
        training=training_record(trained),
        measured=measured,
        coreml=coreml,
    )


def open_as_a_scanner(folder: Path) -> None:
    """Open the folder as the daemon would and run its self-test."""
    model = open_model(folder)
    with closing(OnnxEmbedder(model)) as embedder:
        self_test(embedder.submit, model, kind="onnx")
