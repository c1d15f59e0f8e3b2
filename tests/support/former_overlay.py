"""An overlay as earlier versions wrote it: a link to a folder with a card list, images and a bundle."""

import csv
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

from edge.adapters.hnsw import write_graph
from edge.bundles.writer import BundleContents, VectorForm, write_bundle
from edge.recognition.embedding import to_input_batch
from edge.recognition.gallery import Gallery
from edge.recognition.verification import LUMA_BYTES, signature_of


def write_former_overlay(root: Path, images, writer) -> Path:
    """Write the overlay of some ``AddedImage`` below the index folder; return the folder of its generation."""
    generation = root / "overlay" / "0123456789abcdef"
    (generation / "pictures").mkdir(parents=True)
    with (generation / "cards.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["card_id", "name", "image", "set", "number", "rarity", "language", "signed"])
        for entry, image in enumerate(images):
            card, name = image.card, f"pictures/{entry:04d}.png"
            table.writerow(
                [card.card_id, card.name, name, card.set, card.number, card.rarity, card.language, card.attributes.get("signed")]
            )
            cv2.imwrite(str(generation / name), cv2.cvtColor(image.pixels, cv2.COLOR_RGB2BGR))
    cards = {image.card.card_id: image.card for image in images}
    signatures = np.stack([signature_of(image.pixels) for image in images])
    signatures[:, LUMA_BYTES:] = 0  # no chroma: stored as luma alone
    contents = BundleContents(
        name="cards added on this device",
        model_id=writer.model_id,
        artefact=writer.artefact,
        vectors=writer.embed(to_input_batch([image.pixels for image in images])),
        gallery=Gallery(cards, tuple(image.card.card_id for image in images), signatures),
        reference_images=((card_id, _jpeg(image.pixels)) for card_id, image in {one.card.card_id: one for one in images}.items()),
        created=datetime.now(UTC),
        form=VectorForm(dtype="float32"),
        chunks=False,
    )
    write_bundle(generation / "bundle", contents, write_graph)
    (root / "overlay" / "current").symlink_to(generation.name)
    return generation


def _jpeg(pixels) -> bytes:
    small = cv2.resize(pixels, (126, 176), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))[1].tobytes()
