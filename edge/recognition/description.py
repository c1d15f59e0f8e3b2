"""Search by description: from words to an embedding in the space of a picture model. Contains all preparation of text.

A description is turned into counts of hashed words and character n-grams, as fastText represents words (Bojanowski et al., "Enriching Word
Vectors with Subword Information", TACL 5, 2017): there is no vocabulary to store, and misspelled or inflected words share most n-grams
with the right ones. A small network maps the counts to an embedding. It is trained against the frozen picture model (LiT: Zhai et al.,
"LiT: Zero-Shot Transfer with Locked-image text Tuning", CVPR 2022), so a description can be searched in every bundle of that model.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.errors import ModelMismatchError, UsageError
from edge.recognition.embedding import EmbeddingMatrix, ModelId

TextInput: TypeAlias = NDArray[np.float32]
"""float32 (n, buckets), each row of unit length."""

TOKENIZER_ID: Final = "hashed-words-3-5-grams/1"
"""Must change whenever ``to_text_input`` returns other numbers."""

MAX_WORDS: Final = 64
"""Further words of a description are ignored."""

_WORD: Final = re.compile(r"[^\W_]+")
_NGRAMS: Final = (3, 4, 5)


@dataclass(frozen=True, slots=True)
class TextEmbedderInfo:
    """Describes a text embedder: its weights, the picture model whose space it embeds into, and the words of its training."""

    model_id: ModelId
    picture_model_id: ModelId
    dim: int
    vocabulary: frozenset[str]


class TextEmbedder(Protocol):
    """Runs a text model."""

    @property
    def info(self) -> TextEmbedderInfo:
        """The model that runs."""
        ...

    def embed(self, texts: Sequence[str]) -> EmbeddingMatrix:
        """Return the embeddings of descriptions, float32 (n, dim) with rows of unit length. Raises ``EmbedderError``."""
        ...


def embed_description(text: str, embedder: TextEmbedder, picture_model_id: ModelId) -> EmbeddingMatrix:
    """Return the embedding of a description, float32 (1, dim), for a bundle of the model ``picture_model_id``.

    Raises ``UsageError`` for a text without a word, ``ModelMismatchError`` if the text model belongs to another picture model.
    """
    if not split_words(text):
        raise UsageError(f"{text!r}: contains no word; describe what the card shows, for example 'red dragon in the rain'")
    info = embedder.info
    if info.picture_model_id != picture_model_id:
        raise ModelMismatchError(
            f"text model {info.model_id} describes pictures of model {info.picture_model_id}, the bundle was embedded by "
            f"{picture_model_id}; train a text model for it with tools.train_text"
        )
    return embedder.embed([text])


def unknown_words(text: str, info: TextEmbedderInfo) -> tuple[str, ...]:
    """Return the words of a description that did not occur in the training of the text model, in their order."""
    return tuple(dict.fromkeys(word for word in split_words(text) if word not in info.vocabulary))


def split_words(text: str) -> list[str]:
    """Return the first ``MAX_WORDS`` words of a text: letters and digits, without case and without combining marks."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return _WORD.findall(plain.casefold())[:MAX_WORDS]


def to_text_input(texts: Sequence[str], buckets: int) -> TextInput:
    """Return the input of a text model for descriptions. A text without a word gives a row of zeros.

    A word counts as much as all of its n-grams together (in Euclidean length); all are hashed into ``buckets`` columns by CRC-32.
    """
    counts = np.zeros((len(texts), buckets), dtype=np.float32)
    for row, text in enumerate(texts):
        for word, count in Counter(split_words(text)).items():
            counts[row, _bucket(f"w {word}", buckets)] += count
            grams = _ngrams(word)
            for gram in grams:
                counts[row, _bucket(f"g {gram}", buckets)] += count / sqrt(len(grams))
    lengths = np.linalg.norm(counts, axis=1, keepdims=True)
    return np.asarray(counts / np.where(lengths > 0.0, lengths, 1.0), dtype=np.float32)


def _ngrams(word: str) -> list[str]:
    """Return the character n-grams of a word between marks of its beginning and end; at least one."""
    marked = f"<{word}>"
    return [marked[start : start + size] for size in _NGRAMS for start in range(len(marked) - size + 1)]


def _bucket(feature: str, buckets: int) -> int:
    # CRC-32 is the same everywhere, unlike hash()
    return zlib.crc32(feature.encode("utf-8", "surrogatepass")) % buckets
