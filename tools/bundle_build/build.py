"""Build a bundle from a card list: read, check and embed the images, group the cards, write."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from edge.adapters.hnsw import MIN_RECALL
from edge.bundles.bundle import open_bundle
from edge.bundles.manifest import GraphParameters, Manifest
from edge.bundles.vector_files import StoredVectors
from edge.bundles.writer import BuiltGraph, BundleContents, GraphWriter, check_new, write_bundle
from edge.errors import DataError
from edge.recognition.recognizer import Embedder
from tools.bundle_build.cache import EmbeddingCache
from tools.bundle_build.card_list import CardList
from tools.bundle_build.engines import Engine
from tools.bundle_build.finding import ImageFinding
from tools.bundle_build.grouping import gallery_of, reference_images
from tools.bundle_build.inspection import in_list_order, refuse, unusable_rows
from tools.bundle_build.report import write_report
from tools.bundle_build.set_checks import artwork_findings, check_set
from tools.bundle_build.stages import Advance, embed_images
from tools.vectors.forms import FORMS, proposal_writer
from tools.vectors.reduction import ReductionCost, fit_pca, measure_reduction


@dataclass(frozen=True, slots=True)
class Built:
    """Result of a build: ``images_per_s`` covers reading and embedding, ``embedded`` counts the images that were not cached.

    ``reduction`` is the loss caused by a projection to fewer dimensions.
    """

    manifest: Manifest
    findings: tuple[ImageFinding, ...]
    embedded: int
    images_per_s: float
    reduction: ReductionCost | None = None

    @property
    def left_out(self) -> tuple[ImageFinding, ...]:
        """Return the images that the bundle does not contain."""
        return tuple(finding for finding in self.findings if finding.left_out)


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """How to build. ``strict`` refuses a list with mistakes; a bundle below ``min_recall`` against exact search is not written.

    ``vectors`` names one of ``tools.vectors.forms.FORMS``; ``pca`` is how many principal components are kept. ``previous`` is an earlier
    bundle of the same model: what both have stays where it is there, so that an update of a device sends less. Without ``chunks`` the
    bundle is of format 1 or 2, for devices that know no later one.
    """

    name: str
    threads: int
    strict: bool = False
    min_recall: float = MIN_RECALL
    report: Path | None = None
    vectors: str = "float16"
    pca: int | None = None
    previous: Path | None = None
    chunks: bool = True


def build_index(
    card_list: CardList,
    images: Path,
    out: Path,
    embedder: Embedder,
    settings: BuildSettings,
    *,
    advance: Advance,
    cache: EmbeddingCache | None = None,
    engine: Engine | None = None,
) -> Built:
    """Build a bundle at ``out``, which must not exist. ``advance`` is called after each image. Raises ``EdgeError``.

    ``engine`` reads and embeds elsewhere, with the model of ``embedder``; ``images`` and ``cache`` are then not used.
    """
    check_new(out)
    previous = open_bundle(settings.previous, expected_model_id=embedder.info.model_id) if settings.previous else None
    if previous:
        card_list = card_list.in_order_of(previous.gallery.entry_card_ids)
    started = time.monotonic()
    if engine is not None:
        entries = engine(card_list.rows)
        advance(len(card_list.rows))
    else:
        entries = embed_images(card_list.rows, images, embedder, threads=settings.threads, advance=advance, cache=cache)
    images_per_s = len(card_list.rows) / (time.monotonic() - started)
    embedded = len(entries.rows) - (cache.found if cache else 0)
    entries = entries.with_findings(check_set(entries.rows, entries.references))
    gallery = gallery_of(entries, groups_given=card_list.groups_given)
    findings = in_list_order((*unusable_rows(card_list), *entries.findings, *artwork_findings(entries.rows, entries.references, gallery)))
    if settings.report:
        write_report(settings.report, findings, card_list)
    refuse(findings, card_list, strict=settings.strict)
    reduction = fit_pca(entries.vectors, settings.pca) if settings.pca is not None else None
    contents = BundleContents(
        name=settings.name,
        model_id=embedder.info.model_id,
        artefact=embedder.info.artifact_sha256,
        vectors=reduction.projection.apply(entries.vectors) if reduction else entries.vectors,
        gallery=gallery,
        reference_images=reference_images(entries),
        created=datetime.now(UTC).replace(microsecond=0),
        form=FORMS[settings.vectors],
        reduction=reduction,
        chunks=settings.chunks,
    )
    writer = proposal_writer(contents.form, previous, chunks=settings.chunks)
    manifest = write_bundle(out, contents, with_recall_bound(writer, settings.min_recall))
    groups = [gallery.artwork_group(card_id) for card_id in gallery.entry_card_ids]
    cost = measure_reduction(entries.vectors, groups, reduction) if reduction else None
    return Built(manifest, findings, embedded, images_per_s, cost)


def with_recall_bound(write: GraphWriter, min_recall: float) -> GraphWriter:
    """Return a graph writer that raises ``DataError`` if the graph finds too few of the entries that exact search finds."""

    def write_and_check(vectors: StoredVectors, parameters: GraphParameters, path: Path) -> BuiltGraph:
        graph = write(vectors, parameters, path)
        if graph.recall and graph.recall.at_1 < min_recall:
            raise DataError(
                f"recall@1 against exact search is {graph.recall.at_1:.4f}, below {min_recall:g}; "
                "look for many images that are alike (tools/inspect_images.py), or accept less with --min-recall"
            )
        return graph

    return write_and_check
