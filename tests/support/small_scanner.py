"""The files of a small scanner: a model small enough for a test and a bundle of drawn cards.

The model is a fixed random projection of a 16x16 thumbnail, exported to ONNX. It distinguishes cards by little more than their colors;
verification does the rest. It replaces a trained model where a command only has to run, not to be accurate.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.adapters.hnsw import write_graph
from edge.adapters.onnx import OnnxEmbedder
from edge.bundles.writer import BundleContents, write_bundle
from edge.recognition.embedding import PREPROCESSING_ID, to_input_batch
from edge.recognition.gallery import Card, Gallery
from edge.recognition.model import Artifact, FileRecord, Golden, Measured, ModelManifest, NetworkInput, TrainingRecord, open_model
from edge.recognition.neighbors import CardId
from edge.recognition.verification import SIGNATURE_BYTES, signature_of
from tools.drawing.cards import over_white
from tools.drawing.layout import draw_card
from tools.drawing.spec import card_specs

DIM = 64
CREATED = datetime(2026, 1, 1, tzinfo=UTC)
NOTE = "not trained at all: a random projection for tests"


@dataclass(frozen=True)
class SmallScanner:
    """Paths of model and bundle; ``images`` of the indexed cards by id, RGB uint8 (352, 252, 3), and of a card of no bundle."""

    model: Path
    index: Path
    images: dict
    unknown_card: np.ndarray


def make_small_scanner(folder: Path, *, cards: int = 8) -> SmallScanner:
    specs = card_specs(cards + 1, seed=3)
    drawn = {spec.card_id: over_white(draw_card(spec)) for spec in specs}
    unknown_card = drawn.pop(specs[-1].card_id)
    write_projection_model(folder / "hef" / "tiny")
    write_index(folder / "index", folder / "hef" / "tiny", drawn)
    return SmallScanner(folder / "hef" / "tiny", folder / "index", drawn, unknown_card)


def write_projection_model(folder: Path, *, seed: int = 0, note: str = NOTE) -> Path:
    """Write a model's folder and return it; another ``seed`` gives another model."""
    folder.mkdir(parents=True)
    weights = np.random.default_rng(seed).standard_normal((16 * 16 * 3, DIM)).astype(np.float32)
    onnx.save(_projection(weights), folder / "network.onnx")
    goldens = np.random.default_rng(7).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    for number, golden in enumerate(goldens):
        cv2.imwrite(str(folder / f"golden-{number}.png"), cv2.cvtColor(golden, cv2.COLOR_RGB2BGR))
    np.save(folder / "golden.npy", _project(goldens, weights))
    manifest = ModelManifest(
        model_id=hashlib.sha256(weights.tobytes()).hexdigest()[:16],
        name="tiny",
        architecture="random projection",
        parameters=weights.size,
        created=CREATED,
        input=NetworkInput(width=224, height=224, preprocessing=PREPROCESSING_ID),
        dim=DIM,
        artefacts={"onnx": Artifact(**_record(folder / "network.onnx").model_dump(), precision="float32", max_batch=8)},
        golden=Golden(
            pictures=tuple(_record(folder / f"golden-{number}.png") for number in range(len(goldens))),
            embeddings=_record(folder / "golden.npy"),
            min_cosine={"onnx": 0.999},
        ),
        training=TrainingRecord(note=note, recipe="none", known_cards=1, held_out=(), views=1, minutes=0.1, machine="none", settings={}),
        measured=Measured(parity_min_cosine=1.0, parity_images=1, gallery_cards=1, views=()),
    )
    (folder / "model.json").write_text(manifest.to_json())
    return folder


def write_index(path: Path, model_folder: Path, images: dict, cards: dict | None = None, *, chunks: bool = True) -> Path:
    """Write a bundle of ``images`` (by card id), embedded by the model in ``model_folder``; ``cards`` are listed instead of the default."""
    model = open_model(model_folder)
    embedder = OnnxEmbedder(model, threads=1)
    try:
        vectors = [embedder.submit(to_input_batch([image])).result(30) for image in images.values()]
    finally:
        embedder.close()
    signatures = [signature_of(image) for image in images.values()]
    listed = {CardId(card_id): Card(CardId(card_id), f"Name {card_id}", f"art-{card_id}", set="T", number=card_id) for card_id in images}
    gallery = Gallery(
        cards or listed,
        tuple(CardId(card_id) for card_id in images),
        np.stack(signatures) if images else np.empty((0, SIGNATURE_BYTES), dtype=np.uint8),
    )
    contents = BundleContents(
        name="small scanner",
        model_id=model.model_id,
        artefact=model.artifact("onnx").sha256,
        vectors=np.concatenate(vectors) if images else np.empty((0, DIM), dtype=np.float32),
        gallery=gallery,
        reference_images=((CardId(card_id), _jpeg(image)) for card_id, image in images.items()),
        created=CREATED,
        chunks=chunks,
    )
    write_bundle(path, contents, write_graph)
    return path


def on_table(*cards: np.ndarray, turned: int = 0) -> np.ndarray:
    """Return a 1280x720 frame of cards side by side on a dark table, each rotated clockwise by ``turned`` quarter turns."""
    table = np.full((720, 1280, 3), (38, 52, 44), dtype=np.uint8)
    for place, card in enumerate(cards):
        lying = np.rot90(card, -turned)
        top, left = (720 - lying.shape[0]) // 2, 150 + 420 * place
        table[top : top + lying.shape[0], left : left + lying.shape[1]] = lying
    return table


def save(path: Path, pixels: np.ndarray) -> Path:
    cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return path


def _projection(weights: np.ndarray) -> onnx.ModelProto:
    """Return the graph of ``_project``: uint8 (n, 224, 224, 3) to unit rows (n, DIM)."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["real"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["small"], kernel_shape=[14, 14], strides=[14, 14]),
        helper.make_node("Flatten", ["small"], ["flat"]),
        helper.make_node("ReduceMean", ["flat"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["flat", "mean"], ["centered"]),
        helper.make_node("MatMul", ["centered", "weights"], ["projected"]),
        helper.make_node("LpNormalization", ["projected"], ["embedding"], axis=1, p=2),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", 224, 224, 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", weights.shape[1]])],
        [numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _project(images: np.ndarray, weights: np.ndarray) -> np.ndarray:
    small = images.reshape(-1, 16, 14, 16, 14, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2).reshape(len(images), -1)
    projected = (small - small.mean(axis=1, keepdims=True)) @ weights
    return (projected / np.linalg.norm(projected, axis=1, keepdims=True)).astype(np.float32)


def _record(path: Path) -> FileRecord:
    content = path.read_bytes()
    return FileRecord(file=path.name, sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


def _jpeg(image: np.ndarray) -> bytes:
    small = cv2.resize(image, (126, 176), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))[1].tobytes()
