"""Agreement of two artifacts of one model: cosine per image, and whether they find the same card."""

from __future__ import annotations

from typing import Final

import numpy as np

from edge.recognition.embedding import EmbeddingMatrix
from edge.recognition.model import ArtifactAgreement

COLUMNS: Final = ("against the ONNX", "cards", "mean cosine", "minimum cosine", "same top-1 %")


def compare_artifacts(first: EmbeddingMatrix, second: EmbeddingMatrix, gallery: EmbeddingMatrix) -> ArtifactAgreement:
    """Return the agreement of unit rows (n, dim) of the same images.

    ``gallery`` (m, dim) are the cards searched with both, embedded by the first artifact.
    """
    cosine = np.sum(first * second, axis=1)
    same = np.argmax(first @ gallery.T, axis=1) == np.argmax(second @ gallery.T, axis=1)
    return ArtifactAgreement(
        count=len(first),
        mean_cosine=float(np.clip(cosine.mean(), -1.0, 1.0)),
        min_cosine=float(np.clip(cosine.min(), -1.0, 1.0)),
        top1=float(same.mean()),
    )


def to_cells(name: str, agreement: ArtifactAgreement) -> tuple[str, ...]:
    """Return the agreement as a table row for ``COLUMNS``; ``name`` is the compared artifact."""
    cosines = (f"{agreement.mean_cosine:.4f}", f"{agreement.min_cosine:.4f}")
    return (name, str(agreement.count), *cosines, f"{100 * agreement.top1:.1f}")
