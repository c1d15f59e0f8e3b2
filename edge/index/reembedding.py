"""Embedding a bundle's cards again on this device, with the artefact that runs here: from the reference pictures in the bundle.

An NPU's 8-bit answers differ a little from the ONNX that a technician built the bundle with. Where that was not measured to be harmless
(``edge.recognition.model.check_pairing``), the device makes a bundle of its own. What was embedded is kept after each batch, so that
a run that was cut goes on where it ended.
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
    """What runs here: the network's id, the sha256 of its file, its dim, how it embeds (``batch`` at a time), who writes graphs."""

    model_id: ModelId
    artefact: str
    dim: int
    batch: int
    embed: Embed
    write_graph: GraphWriter


def reembed(root: Path, bundle: Bundle, here: EmbeddingBackend, progress: Callable[[int, int], None]) -> Manifest:
    """Install a release with the cards of ``bundle`` embedded by ``here``; it is not activated. Returns its manifest.

    One picture per card is used: the small reference picture is all a bundle keeps. The calibration is left out, because thresholds hold
    for the artefact they were measured with. ``progress`` is told (done, all). Raises ``BundleError``.
    """
    manifest = bundle.manifest
    if manifest.model_id != here.model_id:
        raise BundleError(f"{bundle.path}: of network {manifest.model_id}, and {here.model_id} runs here; build a bundle for this network")
    if manifest.projection is not None:
        raise BundleError(f"{bundle.path}: its vectors are projected, which cannot be repeated here; build it without --pca")
    cards = tuple(bundle.gallery.cards)
    vectors = _embedded(root, bundle, cards, here, progress)
    first_entry = {card_id: entry for entry, card_id in reversed(tuple(enumerate(bundle.gallery.entry_card_ids)))}
    gallery = Gallery(
        cards=bundle.gallery.cards,
        entry_card_ids=cards,
        signatures=np.ascontiguousarray(bundle.gallery.signatures[[first_entry[card_id] for card_id in cards]]),
    )
    contents = BundleContents(
        name=manifest.name,
        model_id=here.model_id,
        artefact=here.artefact,
        vectors=vectors,
        gallery=gallery,
        reference_images=((card_id, bundle.reference_image(card_id)) for card_id in cards),
        created=manifest.created,
        graph=manifest.graph,
    )
    target = _part(root, bundle, here).with_suffix(".bundle")
    try:
        made = write_bundle(target, contents, here.write_graph) if not target.exists() else None
        installed = releases.install(root, target)
    finally:
        _discard(target)
    _part(root, bundle, here).unlink(missing_ok=True)
    return made or installed


def _embedded(
    root: Path, bundle: Bundle, cards: tuple[CardId, ...], here: EmbeddingBackend, progress: Callable[[int, int], None]
) -> EmbeddingMatrix:
    """Return the cards' embeddings (n, dim), taking up what an earlier run has kept."""
    path = _part(root, bundle, here)
    row_bytes = 4 * here.dim
    kept = path.read_bytes() if path.exists() else b""
    rows = [np.frombuffer(kept[: len(kept) // row_bytes * row_bytes], dtype="<f4").reshape(-1, here.dim)]
    done = len(rows[0])
    with path.open("ab") as file:
        file.truncate(done * row_bytes)
        for start in range(done, len(cards), here.batch):
            batch = cards[start : start + here.batch]
            vectors = here.embed(to_input_batch(list(_pictures(bundle, batch))))
            file.write(np.ascontiguousarray(vectors, dtype="<f4").tobytes())
            file.flush()
            rows.append(vectors)
            progress(start + len(batch), len(cards))
    return np.concatenate(rows).astype(np.float32)


def _pictures(bundle: Bundle, cards: tuple[CardId, ...]) -> Iterator[RgbImage]:
    for card_id in cards:
        decoded = cv2.imdecode(np.frombuffer(bundle.reference_image(card_id), dtype=np.uint8), cv2.IMREAD_COLOR)
        if decoded is None:
            raise BundleError(f"{bundle.path}: the picture of card {card_id} cannot be read; copy the bundle again")
        yield np.ascontiguousarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _part(root: Path, bundle: Bundle, here: EmbeddingBackend) -> Path:
    """Return where half-done work is kept: one file per bundle and artefact, so nothing of another network can slip in."""
    return root / f"reembed-{bundle.manifest.bundle_id}-{here.artefact[:16]}.part"


def _discard(target: Path) -> None:
    if target.is_dir():
        for path in target.iterdir():
            path.unlink()
        target.rmdir()
