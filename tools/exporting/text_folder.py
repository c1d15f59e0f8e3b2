"""Export a trained text network to a model folder: the ONNX file, golden texts, and ``model.json`` written last."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge.adapters.onnx import OnnxTextEmbedder
from edge.errors import ModelError
from edge.recognition.description import TOKENIZER_ID, split_words
from edge.recognition.embedding import ModelId
from edge.recognition.model import MODEL_FILE
from edge.recognition.text_model import TextGolden, TextModelManifest, open_text_model, self_test_text
from tools.drawing.wording import SYNONYMS
from tools.exporting.golden import GOLDEN_FILE, file_record
from tools.network.text_onnx import Weights, embed_texts, weights_id, write_text_onnx
from tools.training.text_tower import PictureSet, TextSettings, descriptions

ONNX_FILE: Final = "model.onnx"
GOLDEN_TEXTS: Final = ("red dragon in the rain", "a blue fish, underwater", "Ein grüner Vogel über dem Meer")


@dataclass(frozen=True, slots=True, eq=False)
class TrainedText:
    """A trained text network and what it was trained with."""

    weights: Weights
    settings: TextSettings
    picture_model_id: ModelId
    pictures: PictureSet
    source: Mapping[str, Any]


def export_text_model(trained: TrainedText, out: Path) -> TextModelManifest:
    """Write the model folder ``out`` and return its manifest; an existing folder is replaced when everything held.

    Raises ``ModelError`` if the exported network differs from the trained one.
    """
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        write_text_onnx(trained.weights, partial / ONNX_FILE)
        np.save(partial / GOLDEN_FILE, embed_texts(GOLDEN_TEXTS, trained.weights))
        manifest = _describe(trained, partial, out.name)
        (partial / MODEL_FILE).write_text(manifest.to_json(), encoding="utf-8")
        model = open_text_model(partial)
        self_test_text(OnnxTextEmbedder(model), model)
        shutil.rmtree(out, ignore_errors=True)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def _describe(trained: TrainedText, folder: Path, name: str) -> TextModelManifest:
    settings, weights = trained.settings, trained.weights
    if not np.all([np.isfinite(value).all() for value in weights.values()]):
        raise ModelError("the training diverged: a weight is not finite; lower the learning rate")
    rng = np.random.default_rng(settings.seed)
    said = {word for text in descriptions(trained.pictures.cards, settings, rng) for word in split_words(text)}
    names = {word for card in trained.pictures.cards for word in split_words(card["name"])}
    meant = {word for words in SYNONYMS.values() for text in words for word in split_words(text)}
    return TextModelManifest(
        schema="cardedge.text/1",
        model_id=weights_id(weights),
        picture_model_id=trained.picture_model_id,
        name=name,
        architecture=f"sum of {settings.buckets} hashed words and n-grams, {settings.width} hidden units (ReLU), linear, unit length",
        created=datetime.now(UTC).replace(microsecond=0),
        tokenizer=TOKENIZER_ID,
        buckets=settings.buckets,
        dim=int(weights["output"].shape[1]),
        onnx=file_record(folder / ONNX_FILE),
        golden=TextGolden(texts=GOLDEN_TEXTS, embeddings=file_record(folder / GOLDEN_FILE)),
        # words that occur only in names of cards say nothing about a picture
        vocabulary=tuple(sorted(said - (names - meant))),
        training={"settings": asdict(settings), "cards": len(trained.pictures.cards), **trained.source},
        measured={},
    )
