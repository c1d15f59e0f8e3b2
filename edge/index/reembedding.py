"""Embedding the cards of a bundle again on the device, from the reference images in the bundle.

The 8-bit embeddings of an NPU differ slightly from those of the ONNX file that the bundle was built with. Unless that difference was
measured to be harmless (``edge.recognition.pairing.check_pairing``), the device needs a bundle embedded by its own model file. Embeddings
are saved after each batch, so that an interrupted run resumes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge.bundles.bundle import Bundle
from edge.bundles.writer import BundleContents, write_bundle
from edge.errors import BundleError
from edge.index import releases
from edge.recognition.embedding import EmbeddingMatrix, ModelId, to_input_batch
from edge.recognition.gallery import Gallery
from edge.recognition.neighbors import CardId
from edge.vision.frame import RgbImage

if TYPE_CHECKING:
    from edge.bundles.manifest import Manifest
    from edge.bundles.writer import GraphWriter
    from edge.index.overlay import Embed


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingBackend:
    """The model in use on this device, and a graph writer.

    ``artefact`` is the SHA-256 of the model file, ``dim`` the length of an embedding, ``batch`` the number of images per ``embed`` call.
    """

    model_id: ModelId
    artefact: str
    dim: int
    batch: int
    embed: Embed
    write_graph: GraphWriter


def reembed(root: Path, bundle: Bundle, backend: EmbeddingBackend, progress: Callable[[int, int], None]) -> Manifest:
    """Install a release with the cards of ``bundle`` embedded by ``backend``; it is not activated. Returns its manifest.

    One image per card is used, the small reference image in the bundle. The calibration is left out, because thresholds are valid only
    for the artifact they were measured with. ``progress`` is called with (cards done, all cards). Raises ``BundleError``.
    """
    manifest = bundle.manifest
    if manifest.model_id != backend.model_id:
        raise BundleError(
            f"{bundle.path}: embedded by model {manifest.model_id}, but {backend.model_id} is in use; build a bundle for this model"
        )
    if manifest.projection is not None:
        raise BundleError(f"{bundle.path}: its vectors are projected, which cannot be repeated on a device; build it without --pca")
    cards = tuple(bundle.gallery.cards)
    vectors = _embed_cards(root, bundle, cards, backend, progress)
    first_entry = {card_id: entry for entry, card_id in reversed(tuple(enumerate(bundle.gallery.entry_card_ids)))}
    gallery = Gallery(
        cards=bundle.gallery.cards,
        entry_card_ids=cards,
        signatures=np.ascontiguousarray(bundle.gallery.signatures[[first_entry[card_id] for card_id in cards]]),
    )
    contents = BundleContents(
        name=manifest.name,
        model_id=backend.model_id,
        artefact=backend.artefact,
        vectors=vectors,
        gallery=gallery,
        reference_images=((card_id, bundle.reference_image(card_id)) for card_id in cards),
        created=manifest.created,
        graph=manifest.graph,
    )
    target = _rows_path(root, bundle, backend).with_suffix(".bundle")
    try:
        made = write_bundle(target, contents, backend.write_graph) if not target.exists() else None
        installed = releases.install(root, target)
    finally:
        _remove(target)
    _rows_path(root, bundle, backend).unlink(missing_ok=True)
    return made or installed


def _embed_cards(
    root: Path, bundle: Bundle, cards: tuple[CardId, ...], backend: EmbeddingBackend, progress: Callable[[int, int], None]
) -> EmbeddingMatrix:
    """Return the cards' embeddings, float32 (n, dim); resume from the rows that an earlier run has saved."""
    path = _rows_path(root, bundle, backend)
    row_bytes = 4 * backend.dim
    saved = path.read_bytes() if path.exists() else b""
    rows = [np.frombuffer(saved[: len(saved) // row_bytes * row_bytes], dtype="<f4").reshape(-1, backend.dim)]
    done = len(rows[0])
    with path.open("ab") as file:
        file.truncate(done * row_bytes)
        for start in range(done, len(cards), backend.batch):
            batch = cards[start : start + backend.batch]
            vectors = backend.embed(to_input_batch(list(_images(bundle, batch))))
            file.write(np.ascontiguousarray(vectors, dtype="<f4").tobytes())
            file.flush()
            rows.append(vectors)
            progress(start + len(batch), len(cards))
    return np.concatenate(rows).astype(np.float32)


def _images(bundle: Bundle, cards: tuple[CardId, ...]) -> Iterator[RgbImage]:
    for card_id in cards:
        decoded = cv2.imdecode(np.frombuffer(bundle.reference_image(card_id), dtype=np.uint8), cv2.IMREAD_COLOR)
        if decoded is None:
            raise BundleError(f"{bundle.path}: the reference image of card {card_id} cannot be decoded; copy the bundle again")
        yield np.ascontiguousarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _rows_path(root: Path, bundle: Bundle, backend: EmbeddingBackend) -> Path:
    """Return the file of saved rows, one per bundle and artifact, so that rows of different models are never mixed."""
    return root / f"reembed-{bundle.manifest.bundle_id}-{backend.artefact[:16]}.part"


def _remove(target: Path) -> None:
    if target.is_dir():
        for path in target.iterdir():
            path.unlink()
        target.rmdir()
