"""A folder with a text model whose weights are random numbers."""

from datetime import UTC, datetime

import numpy as np

from edge.recognition.description import TOKENIZER_ID
from edge.recognition.text_model import TextGolden, TextModelManifest
from tools.exporting.golden import file_record
from tools.network.text_onnx import embed_texts, weights_id, write_text_onnx

BUCKETS = 128
GOLDEN = ("red dragon", "a blue fish")


def random_weights(dim, width=24, seed=0):
    random = np.random.default_rng(seed)
    shapes = {"words": (BUCKETS, width), "bias": (width,), "output": (width, dim), "output_bias": (dim,)}
    # rounded as they are stored, so that both computations agree
    return {name: random.standard_normal(shape).astype(np.float16).astype(np.float32) for name, shape in shapes.items()}


def write_text_model(folder, picture_model_id, dim, *, weights=None, **changes):
    """Write the folder; ``changes`` replace fields of its manifest. Return the weights."""
    weights = weights or random_weights(dim)
    folder.mkdir(parents=True, exist_ok=True)
    write_text_onnx(weights, folder / "model.onnx")
    np.save(folder / "golden.npy", embed_texts(GOLDEN, weights))
    manifest = TextModelManifest(
        **{
            "schema": "cardedge.text/1",
            "model_id": weights_id(weights),
            "picture_model_id": picture_model_id,
            "name": folder.name,
            "architecture": "random",
            "created": datetime(2026, 1, 1, tzinfo=UTC),
            "tokenizer": TOKENIZER_ID,
            "buckets": BUCKETS,
            "dim": dim,
            "onnx": file_record(folder / "model.onnx"),
            "golden": TextGolden(texts=GOLDEN, embeddings=file_record(folder / "golden.npy")),
            "vocabulary": ("blue", "dragon", "fish", "red"),
            "training": {},
            "measured": {},
        }
        | changes
    )
    (folder / "model.json").write_text(manifest.to_json(), encoding="utf-8")
    return weights
