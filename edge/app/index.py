"""Loads bundles and device indexes with the search library that the settings choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from edge.bundles.bundle import Bundle, open_bundle, run_self_test
from edge.bundles.writer import GraphWriter
from edge.index.change import OpenedIndex
from edge.index.loading import BundleLoader, load_with_overlay
from edge.index.releases import BundleCheck, open_index
from edge.recognition.decision import AcceptanceThresholds
from edge.recognition.embedding import EmbeddingMatrix, Projection
from edge.recognition.model import Model
from edge.recognition.model_evidence import ModelEvidence
from edge.recognition.neighbors import CardId
from edge.recognition.pairing import check_pairing
from edge.recognition.recognizer import LoadedGallery, VectorIndex
from edge.settings.sections import Settings


def make_vector_index(bundle: Bundle, kind: Literal["hnsw", "exact"]) -> VectorIndex:
    """Return a vector index over the rows of an open bundle. Raises ``BundleError``.

    ``exact`` compares a query with every row. ``hnsw`` uses the structure stored in the bundle: a graph, or int8 rows to scan.
    """
    if kind == "exact":
        from edge.adapters.exact import ExactIndex

        return ExactIndex(bundle.vectors, bundle.gallery.entry_card_ids)
    if bundle.coarse is not None:
        from edge.adapters.int8 import Int8Index

        return Int8Index(bundle)
    from edge.adapters.hnsw import HnswIndex

    return HnswIndex(bundle)


def with_projection(index: VectorIndex, bundle: Bundle) -> VectorIndex:
    """Return ``index``, built over the rows of ``bundle``, wrapped to apply the bundle's projection, if any, to each query."""
    if bundle.projection is None:
        return index
    from edge.adapters.projected import ProjectedIndex

    return ProjectedIndex(index, bundle.projection)


def as_loaded_gallery(bundle: Bundle, index: VectorIndex, evidence: ModelEvidence | None) -> LoadedGallery:
    """Return the gallery of a bundle as it is queried: with its calibrated thresholds or, without a calibration, those of the model.

    ``evidence`` belongs to the model; without it the default thresholds apply, and layouts at large are not known.
    """
    default = AcceptanceThresholds() if evidence is None else evidence.thresholds_for(bundle.manifest.signature)
    background = None if evidence is None else evidence.background
    return LoadedGallery(bundle.manifest.bundle_id, bundle.gallery, index, bundle.thresholds or default, background)


def load_gallery(bundle: Bundle, settings: Settings, evidence: ModelEvidence | None = None) -> LoadedGallery:
    """Run the self-test of a bundle and return its gallery with the thresholds of the settings. Raises ``BundleError``."""
    index = make_vector_index(bundle, settings.index.search)
    run_self_test(bundle, index.search)
    loaded = as_loaded_gallery(bundle, with_projection(index, bundle), evidence)
    return replace(loaded, thresholds=settings.thresholds.over(loaded.thresholds))


def graph_writer() -> GraphWriter:
    """Return the function that writes the graph of a bundle."""
    from edge.adapters.hnsw import write_graph

    return write_graph


def bundle_loader(model: Model, artifact_sha256: str, check: BundleCheck = open_bundle) -> BundleLoader:
    """Return the loader of bundles and added cards for a model and its file in use; it opens a release only after ``check`` did."""

    def load(bundle: Bundle, settings: Settings) -> LoadedGallery:
        check_pairing(model.manifest, bundle.manifest.artefact, artifact_sha256)
        return load_gallery(bundle, settings, model.evidence)

    return BundleLoader(model.model_id, artifact_sha256, load, overlay_index, check)


def overlay_index(vectors: EmbeddingMatrix, card_ids: Sequence[CardId], projection: Projection | None) -> VectorIndex:
    """Return a vector index over embeddings of added cards, float32 (n, dim), that are compared like the rows of a projected release."""
    from edge.adapters.exact import ExactIndex

    if projection is None:
        return ExactIndex(vectors, card_ids)
    from edge.adapters.projected import ProjectedIndex

    return ProjectedIndex(ExactIndex(projection.apply(vectors), card_ids), projection)


def open_gallery(settings: Settings, model: Model, artifact_sha256: str) -> OpenedIndex:
    """Open the bundle or device index that the settings name, with the cards added on the device. Raises ``BundleError``."""
    bundle = open_index(settings.index.directory, expected_model_id=model.model_id)
    return load_with_overlay(settings.index.directory, bundle, settings, bundle_loader(model, artifact_sha256))
