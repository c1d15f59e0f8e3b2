"""Measure a locator network as the daemon uses it: held-out photos first, then composed scenes, table photos, images without a card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from edge.adapters.onnx import OnnxDetector
from edge.recognition.locator_model import open_locator_model
from edge.vision.card import Quad
from edge.vision.frame import RgbImage
from edge.vision.image_file import read_image
from edge.vision.locate import LocateSettings
from edge.vision.network_locator import NetworkLocator
from tools.evaluation import locator, locator_boxes
from tools.evaluation.locator import FindOutlines
from tools.evaluation.locator_report import as_record
from tools.evaluation.locator_scenes import locate_in_scenes
from tools.labels.boxes import read_boxes
from tools.labels.photo_outlines import DEFAULT_LABELS, photos_of, read_photo_labels, require_photos
from tools.simulation.scenes.material import is_for_training, read_material

SCENES_SEED: Final = 20_261_128
TABLE_OVERLAP: Final = 0.5


def network_outlines(folder: Path, *, refines: bool = True) -> FindOutlines:
    """Return a function that locates cards with the network in a model folder, with the daemon's default settings.

    Without ``refines`` the corners stay as the network proposes them. Raises ``ModelError``.
    """
    found = NetworkLocator(OnnxDetector(open_locator_model(folder)), LocateSettings(), refines=refines)

    def find(pixels: RgbImage) -> Sequence[Quad]:
        return tuple(card.quad for card in found.locate(pixels))

    return find


def measure_locator(folder: Path, data: Path, held_out: Sequence[str], scenes: int) -> dict[str, Any]:
    """Return the figures for ``model.json``; those of data that the folder ``data`` does not have are left out."""
    find = network_outlines(folder)
    figures: dict[str, Any] = {}
    if (data / "photos").is_dir():
        photos = photos_of(read_photo_labels(DEFAULT_LABELS), "held_out")
        require_photos(photos, data / "photos")
        located = locator.locate_in_photos(photos, data / "photos", find)
        figures["held_out_photos"] = [as_record("held_out", group) for group in locator.all_figures(located)]
    if (data / "table_photos").is_dir():
        figures["table_photos"] = _tables(data / "table_photos", find)
    if scenes > 0:
        material = read_material(data, held_out, half=1)
        located = locate_in_scenes(find, material, scenes, SCENES_SEED)
        figures["composed_scenes"] = as_record("composed", locator.all_figures(located)[0])
        images = sorted((data / "negatives").iterdir())[1::2]
        false = sum(bool(find(read_image(path))) for path in images)
        figures["without_a_card"] = {"images": len(images), "with_an_outline": false}
    return figures


def _tables(folder: Path, find: FindOutlines) -> dict[str, Any]:
    """Return the figures of the table photos that were not used for training."""
    boxes = read_boxes(folder / "boxes.csv")
    pictures = [(folder / name, boxes[name]) for name in sorted(boxes) if not is_for_training(name)]
    return locator_boxes.as_record("table photos", locator_boxes.measure_locator(pictures, TABLE_OVERLAP, None, find))
