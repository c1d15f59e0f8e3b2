"""Compares what two bundles call the same pictures: a new one that gives most of them other names is likely to be mixed up."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from pydantic import NonNegativeInt

from edge.bundles.bundle import Bundle
from edge.index import releases
from edge.recognition.embedding import EmbeddingMatrix
from edge.schema import Schema

MAX_COMPARED: Final = 500
"""Enough to tell 5 % from 10 %; comparing them with 17,592 rows of 768 numbers takes a second on a Pi."""

_BLOCK_ROWS: Final = 4096


class Renames(Schema):
    """Reference images of the previous bundle whose card is in the new one too: ``renamed`` of ``shared`` get another name from it."""

    shared: NonNegativeInt
    renamed: NonNegativeInt


def count_renames(root: Path) -> Renames | None:
    """Compare the active release with the previous one; None without two releases of one model. Raises ``BundleError``."""
    active, before = releases.current_id(root), releases.previous_id(root)
    if active is None or before is None or active == before:
        return None
    return renames(releases.open_release(root, before), releases.open_release(root, active))


def renames(before: Bundle, after: Bundle) -> Renames | None:
    """Look up reference images of ``before`` in ``after``, and compare the names; None if the embeddings cannot be compared.

    A sample of at most ``MAX_COMPARED`` entries is looked up, always the same.
    """
    if before.manifest.model_id != after.manifest.model_id or before.projection is not None or after.projection is not None:
        return None
    known = after.gallery.cards.keys()
    shared = [entry for entry, card_id in enumerate(before.gallery.entry_card_ids) if card_id in known]
    sample = shared[:: max(1, -(-len(shared) // MAX_COMPARED))]
    if not sample:
        return Renames(shared=0, renamed=0)
    nearest = _nearest(np.asarray(before.vectors[sample], dtype=np.float32), after)
    renamed = 0
    for entry, found in zip(sample, nearest, strict=True):
        old = before.gallery.cards[before.gallery.entry_card_ids[entry]]
        renamed += after.gallery.cards[after.gallery.entry_card_ids[found]].name != old.name
    return Renames(shared=len(sample), renamed=renamed)


def _nearest(queries: EmbeddingMatrix, bundle: Bundle) -> list[int]:
    """Return the row of ``bundle`` with the highest cosine similarity to each query, by exact comparison."""
    best = np.full(len(queries), -2.0, dtype=np.float32)
    rows = np.zeros(len(queries), dtype=np.int64)
    for begin in range(0, len(bundle.vectors), _BLOCK_ROWS):
        similarity = queries @ np.asarray(bundle.vectors[begin : begin + _BLOCK_ROWS], dtype=np.float32).T
        highest = similarity.max(axis=1)
        better = highest > best
        rows[better] = begin + similarity.argmax(axis=1)[better]
        best[better] = highest[better]
    return [int(row) for row in rows]
