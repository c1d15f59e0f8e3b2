"""Text models: the folder under ``hef/``, its ``model.json``, the verification of its files, and the self-test of a backend."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from pydantic import AwareDatetime, Field, PositiveInt

from edge.errors import ModelError
from edge.recognition.description import TOKENIZER_ID, TextEmbedder, TextEmbedderInfo
from edge.recognition.embedding import EmbeddingMatrix, ModelId
from edge.recognition.model import MODEL_FILE, MODEL_PLACES, FileRecord, check_file, only_folder, read_unit_vectors, read_validated
from edge.schema import Schema

SCHEMA_FAMILY: Final = "cardedge.text/"
TEXT_SCHEMA: Final = "cardedge.text/1"
GOLDEN_MIN_COSINE: Final = 0.999


class TextGolden(Schema):
    """Texts with known embeddings. ``embeddings`` is a .npy file, float32 (n, dim), of the trained network."""

    texts: tuple[str, ...] = Field(min_length=1)
    embeddings: FileRecord


class TextModelManifest(Schema):
    """Content of the ``model.json`` of a text model.

    ``picture_model_id`` is the model whose embeddings it was trained against. ``vocabulary`` lists the words of its training captions.
    ``training`` and ``measured`` describe how it was made and measured; their form is not fixed.
    """

    schema_: Literal["cardedge.text/1"] = Field(TEXT_SCHEMA, alias="schema")
    model_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    picture_model_id: str = Field(min_length=1)
    name: str = Field(min_length=1)
    architecture: str
    created: AwareDatetime
    tokenizer: str
    buckets: PositiveInt
    dim: PositiveInt
    onnx: FileRecord
    golden: TextGolden
    vocabulary: tuple[str, ...]
    training: dict[str, Any]
    measured: dict[str, Any]

    @property
    def info(self) -> TextEmbedderInfo:
        """What an embedder of this model states about it."""
        return TextEmbedderInfo(ModelId(self.model_id), ModelId(self.picture_model_id), self.dim, frozenset(self.vocabulary))

    def to_json(self) -> str:
        """Return the text of ``model.json``."""
        return self.model_dump_json(indent=2, by_alias=True) + "\n"


@dataclass(frozen=True, slots=True, eq=False)
class TextModel:
    """A verified folder: when it was opened, every file named in ``manifest`` existed with the right hash.

    ``golden_embeddings`` is float32 (n, dim), a row per golden text.
    """

    folder: Path
    manifest: TextModelManifest
    golden_embeddings: EmbeddingMatrix

    @property
    def onnx_path(self) -> Path:
        """Path of the network."""
        return self.folder / self.manifest.onnx.file


def find_text_model(named: Path | None, places: tuple[Path, ...] = MODEL_PLACES) -> Path:
    """Return the folder of the text model: ``named`` if given, else the only one in the first of ``places`` that holds any.

    Raises ``ModelError`` if there is none, or if that place holds several.
    """
    return named or only_folder(
        places, SCHEMA_FAMILY, "text models", choose="choose one with --text-model", provide="name a folder with --text-model"
    )


def open_text_model(folder: Path) -> TextModel:
    """Read ``model.json`` and verify every file it names. Raises ``ModelError`` naming the file and what to do."""
    manifest = read_validated(folder, TextModelManifest)
    if manifest.tokenizer != TOKENIZER_ID:
        raise ModelError(
            f"{folder / MODEL_FILE}: tokenizer `{manifest.tokenizer}` is not what this version prepares (`{TOKENIZER_ID}`); use matching "
            "versions of cardedge and the text model"
        )
    for record in (manifest.onnx, manifest.golden.embeddings):
        check_file(folder / record.file, sha256=record.sha256, size_bytes=record.size_bytes)
    golden = read_unit_vectors(folder / manifest.golden.embeddings.file, len(manifest.golden.texts), manifest.dim)
    return TextModel(folder, manifest, golden)


def self_test_text(embedder: TextEmbedder, model: TextModel) -> float:
    """Embed the golden texts; return the minimum cosine to their stored embeddings. Raises ``ModelError`` if it is too low."""
    cosine = float(np.min(np.sum(embedder.embed(model.manifest.golden.texts) * model.golden_embeddings, axis=1)))
    if cosine < GOLDEN_MIN_COSINE:
        raise ModelError(
            f"{model.onnx_path}: wrong embedding of a golden text (cosine {cosine:.4f}, at least {GOLDEN_MIN_COSINE} expected); copy the "
            "folder of the text model again"
        )
    return cosine
