"""Which artifacts of a model may query the vectors of which: the rule for bundles that were embedded by another file."""

from __future__ import annotations

from typing import Final

from edge.errors import ModelMismatchError
from edge.recognition.model import ArtifactAgreement, ModelManifest

PAIRED_MIN_COSINE: Final = 0.99
PAIRED_MIN_TOP1: Final = 0.99
"""Minimum agreement at which the vectors of one artifact may be queried by another; above 0.99 is considered good in practice."""


def check_pairing(manifest: ModelManifest, embedded_by: str | None, running: str) -> None:
    """Raise ``ModelMismatchError`` unless a bundle embedded by one file may be queried by another.

    ``embedded_by`` and ``running`` are the SHA-256 of the files. The same file is always permitted; another artifact of the same weights is
    permitted if the agreement recorded in ``model.json`` suffices.
    """
    if embedded_by == running:
        return
    kinds = {artifact.sha256: kind for kind, artifact in manifest.artefacts.items()}
    query_kind, bundle_kind = kinds.get(running), kinds.get(embedded_by or "")
    agreements: list[ArtifactAgreement | None] = [None]
    if query_kind is not None and bundle_kind is not None:  # agreement is recorded with the reference, for each of the others
        agreements = [manifest.agreement.get(kind) for kind in (query_kind, bundle_kind) if kind != "onnx"]
    if None in agreements:
        raise ModelMismatchError(
            f"the bundle was embedded by file {(embedded_by or 'unknown')[:12]}… and {running[:12]}… runs here; model.json does "
            "not record their agreement. Measure it with tools/verify_hef.py, or run `cardedge index reembed` on this device"
        )
    for agreement in filter(None, agreements):
        if not is_close(agreement):
            raise ModelMismatchError(
                f"the bundle's embeddings and this backend's do not agree enough (mean cosine {agreement.mean_cosine:.4f}, same answer "
                f"{100 * agreement.top1:.1f} %; at least {PAIRED_MIN_COSINE} and {100 * PAIRED_MIN_TOP1:g} %); run `cardedge index "
                "reembed` on this device"
            )


def is_close(agreement: ArtifactAgreement) -> bool:
    """Return whether an artifact may query the vectors of the reference, and the reference its vectors."""
    return agreement.mean_cosine >= PAIRED_MIN_COSINE and agreement.top1 >= PAIRED_MIN_TOP1
