"""Queries for measuring a search, and galleries larger than those there are, for ``tools/benchmark.py``."""

from __future__ import annotations

from contextlib import closing
from itertools import cycle
from typing import TYPE_CHECKING, Final

import numpy as np

from edge.adapters.graph_projection import rows_confused
from edge.adapters.hnsw import disturbed_entries
from edge.adapters.onnx import OnnxEmbedder
from edge.recognition.embedding import to_input_batch
from tools.benchmarks.fixture import reference_card
from tools.simulation.camera import PRESETS, degrade

if TYPE_CHECKING:
    from edge.bundles.vector_files import StoredVectors
    from edge.recognition.embedding import EmbeddingMatrix
    from tools.benchmarks.fixture import Fixture

QUERIES: Final = 300
LARGE_CARDS: Final = 100_000
VARIANT_SIMILARITY: Final = 0.85
"""Cosine between a made-up entry and the card it is made of: about that between a card and its nearest other card."""


def search_queries(fixture: Fixture) -> EmbeddingMatrix:
    """Return ``QUERIES`` queries, float32 (n, dim): embedded camera views of cards of a bundle of images, else disturbed entries.

    The views have all presets of the simulated camera in turn, with corner errors, glare and covered parts.
    """
    bundle = fixture.bundle
    if not fixture.has_embeddings:
        return disturbed_entries(bundle.vectors, QUERIES, seed=1)
    random = np.random.default_rng(1)
    card_ids = bundle.gallery.entry_card_ids
    chosen = random.choice(len(card_ids), size=min(QUERIES, len(card_ids)), replace=False)
    with closing(OnnxEmbedder(fixture.model)) as embedder:
        views = (
            degrade(reference_card(bundle, card_ids[entry]), PRESETS[preset], np.random.default_rng((1, entry)), None)
            for entry, preset in zip(chosen, cycle(PRESETS), strict=False)
        )
        return np.concatenate([embedder.submit(to_input_batch([view])).result() for view in views])


def enlarged(vectors: StoredVectors, count: int) -> EmbeddingMatrix:
    """Return ``count`` rows, float32: the given ones, then variants of them, each moved towards the difference of two other rows."""
    rows = vectors.astype(np.float32)
    parts, made = [rows[:count]], len(rows)
    while made < count:
        parts.append(rows_confused(rows, min(len(rows), count - made), similarity=VARIANT_SIMILARITY, seed=made))
        made += len(parts[-1])
    return np.concatenate(parts)
