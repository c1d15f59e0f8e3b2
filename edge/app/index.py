"""The vector index of a bundle, and bundles made ready for a network."""

from __future__ import annotations

from typing import Literal

from edge.app.network import Network
from edge.bundles.bundle import Bundle, run_self_test
from edge.bundles.writer import GraphWriter
from edge.index.change import OpenedIndex
from edge.index.loading import BundleLoader, load_with_overlay
from edge.index.releases import open_index
from edge.recognition.model import check_pairing
from edge.recognition.recognizer import LoadedGallery, VectorIndex
from edge.settings.sections import Settings


def make_vector_index(bundle: Bundle, kind: Literal["hnsw", "exact"]) -> VectorIndex:
    """Return the index among the rows of an open bundle; ``hnsw`` is the bundle's own, which may be a scan. Raises ``BundleError``."""
    if kind == "exact":
        from edge.adapters.exact import ExactIndex

        return ExactIndex(bundle)
    if bundle.coarse is not None:
        from edge.adapters.int8 import Int8Index

        return Int8Index(bundle)
    from edge.adapters.hnsw import HnswIndex

    return HnswIndex(bundle)


def for_embeddings(index: VectorIndex, bundle: Bundle) -> VectorIndex:
    """Return ``index``, which searches the rows of ``bundle``, such that embeddings can be asked for."""
    if bundle.projection is None:
        return index
    from edge.adapters.projected import ProjectedIndex

    return ProjectedIndex(index, bundle.projection)


def load_gallery(bundle: Bundle, settings: Settings) -> LoadedGallery:
    """Return a bundle made ready to be asked. Raises ``BundleError``."""
    index = make_vector_index(bundle, settings.index.search)
    run_self_test(bundle, index.search)
    return LoadedGallery(
        bundle.manifest.bundle_id, bundle.gallery, for_embeddings(index, bundle), settings.thresholds.over(bundle.thresholds)
    )


def graph_writer() -> GraphWriter:
    """Return what writes the graphs of bundles."""
    from edge.adapters.hnsw import write_graph

    return write_graph


def bundle_loader(network: Network) -> BundleLoader:
    """Return how bundles are made ready for a network, and cards are added with it."""
    model_id, artefact = network.model.model_id, network.embedder.info.artifact_sha256

    def load(bundle: Bundle, settings: Settings) -> LoadedGallery:
        check_pairing(network.model.manifest, bundle.manifest.artefact, artefact)
        return load_gallery(bundle, settings)

    return BundleLoader(model_id, artefact, load, _added_index, graph_writer())


def _added_index(bundle: Bundle) -> VectorIndex:
    return for_embeddings(make_vector_index(bundle, "exact"), bundle)


def open_gallery(settings: Settings, network: Network) -> OpenedIndex:
    """Open the bundle or the device's index that the settings name, with the cards that were added there. Raises ``BundleError``."""
    bundle = open_index(settings.index.directory, expected_model_id=network.model.model_id)
    return load_with_overlay(settings.index.directory, bundle, settings, bundle_loader(network))
