"""Compare two artifacts of one model: the cosine similarity per card, and whether both find the same cards."""

from __future__ import annotations

from typing import Final

import numpy as np

from edge.recognition.embedding import EmbeddingMatrix
from edge.recognition.model import ArtifactAgreement

COLUMNS: Final = ("against the ONNX", "cards", "mean cosine", "least cosine", "same first answer %")


def compare_artifacts(first: EmbeddingMatrix, second: EmbeddingMatrix, gallery: EmbeddingMatrix) -> ArtifactAgreement:
    """Compare unit rows (n, dim) of the same images; both query the ``gallery`` (m, dim), which the first artifact embedded."""
    cosine = np.sum(first * second, axis=1)
    same = np.argmax(first @ gallery.T, axis=1) == np.argmax(second @ gallery.T, axis=1)
    return ArtifactAgreement(
        count=len(first),
        mean_cosine=float(np.clip(cosine.mean(), -1.0, 1.0)),
        min_cosine=float(np.clip(cosine.min(), -1.0, 1.0)),
        top1=float(same.mean()),
    )


def to_cells(name: str, agreement: ArtifactAgreement) -> tuple[str, ...]:
    """Return an agreement as table cells for ``COLUMNS``; ``name`` is the artifact compared."""
    cosines = (f"{agreement.mean_cosine:.4f}", f"{agreement.min_cosine:.4f}")
    return (name, str(agreement.count), *cosines, f"{100 * agreement.top1:.1f}")
