"""What the benchmarks share: a model, and a bundle of generated cards and random vectors with the size of a real catalog."""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from edge.adapters.hnsw import HnswIndex, write_graph
from edge.adapters.onnx import OnnxEmbedder
from edge.app.index import as_loaded_gallery
from edge.bundles.bundle import Bundle, open_bundle
from edge.bundles.writer import BundleContents, write_bundle
from edge.recognition.embedding import to_input_batch
from edge.recognition.gallery import Card, Gallery
from edge.recognition.model import Model
from edge.recognition.neighbors import CardId
from edge.recognition.recognizer import LoadedGallery
from edge.recognition.verification import SIGNATURE_BYTES, signature_of
from edge.vision.card import CARD_SIZE, Locate
from edge.vision.frame import RgbImage
from edge.vision.image_file import decode_image
from tools.benchmarks.npu import NpuFixture, make_npu_fixture
from tools.benchmarks.vectors import random_vectors
from tools.drawing.cards import over_white
from tools.drawing.layout import draw_card
from tools.drawing.spec import card_specs
from tools.simulation.camera import PRESETS, CardPose, photograph

CATALOG_CARDS: Final = 17_592


@dataclass(frozen=True, slots=True, eq=False)
class Fixture:
    """A model, a drawn card with a photo of it, and a bundle whose first entries are drawn cards; ``folder`` is for temporary files.

    ``locate`` is the daemon's default locator. ``has_embeddings`` says that the whole bundle was embedded from images.
    """

    model: Model
    locate: Locate
    bundle: Bundle
    photo: RgbImage
    card: RgbImage
    folder: Path
    npu_latency_ms: float
    has_embeddings: bool = False

    def loaded(self) -> LoadedGallery:
        """Return the bundle with its vector index, ready to be searched."""
        return as_loaded_gallery(self.bundle, HnswIndex(self.bundle), self.model.evidence)

    def npu(self) -> NpuFixture:
        """Return the HailoRT test double with a model on it. Raises ``MissingExtraError``, and ``UsageError`` outside a clone."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        return make_npu_fixture(self.model, self.locate, self.bundle, self.loaded(), self.card, folder, self.npu_latency_ms / 1e3)


def make_fixture(folder: Path, model: Model, locate: Locate, cards: int, npu_latency_ms: float) -> Fixture:
    """Write a bundle of ``cards`` entries, generated cards first and then random vectors in loose clusters; photograph one of the cards."""
    specs = card_specs(8, 3)
    drawn = [over_white(draw_card(spec)) for spec in specs]
    with closing(OnnxEmbedder(model)) as embedder:
        real = embedder.submit(to_input_batch(drawn)).result()
    vectors = np.concatenate([real, random_vectors(cards - len(real), model.manifest.dim)])
    ids = [CardId(f"card-{row}") for row in range(cards)]
    signatures = np.random.default_rng(0).integers(0, 256, size=(cards, SIGNATURE_BYTES), dtype=np.uint8)
    signatures[: len(drawn)] = np.stack([signature_of(card) for card in drawn])
    contents = BundleContents(
        name="benchmark",
        model_id=model.model_id,
        artefact=model.artifact("onnx").sha256,
        vectors=vectors,
        gallery=Gallery({card_id: Card(card_id, f"Card {card_id}", str(card_id)) for card_id in ids}, tuple(ids), signatures),
        reference_images=((card_id, b"\xff\xd8" + bytes(6000)) for card_id in ids),
        created=datetime.now(UTC).replace(microsecond=0),
    )
    write_bundle(folder / "bundle", contents, write_graph)
    return Fixture(model, locate, open_bundle(folder / "bundle"), _photo_of(drawn[0]), drawn[0], folder, npu_latency_ms)


def fixture_of(bundle: Path, folder: Path, model: Model, locate: Locate, npu_latency_ms: float) -> Fixture:
    """Open a bundle that was built with ``model``, and photograph its first card from its reference image. Raises ``BundleError``."""
    opened = open_bundle(bundle, expected_model_id=model.model_id)
    card = reference_card(opened, opened.gallery.entry_card_ids[0])
    return Fixture(model, locate, opened, _photo_of(card), card, folder, npu_latency_ms, has_embeddings=True)


def reference_card(bundle: Bundle, card_id: CardId) -> RgbImage:
    """Return the reference image of a card, enlarged to a rectified card. Raises ``BundleError``, or ``ImageError`` if it is damaged."""
    small = decode_image(bundle.reference_image(card_id), f"the reference image of {card_id}")
    return np.asarray(cv2.resize(small, CARD_SIZE, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def _photo_of(card: RgbImage) -> RgbImage:
    table = np.full((720, 1280, 3), (96, 84, 70), np.uint8)
    pose = CardPose(620.0, 360.0, 4.0, roll_deg=12.0, tilt_deg=12.0)
    return photograph([(card, pose)], table, PRESETS["clean"], np.random.default_rng(1))[0]
