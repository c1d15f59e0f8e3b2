"""A small model folder with a HEF beside the ONNX, for the double."""

from tests.support import small_locator
from tests.support.hailo_double.board import write_hef
from tests.support.small_model import MAX_BATCH, record, write_manifest, write_model

LOCATOR_OUTPUTS = ("locator/conv1", "locator/conv2", "locator/conv3", "locator/conv4")
"""Names in the order of the ONNX's outputs; a compiler makes up its own."""


CLOSER_OUTPUTS = ("corners/conv1", "corners/conv2")


def write_hailo_model(folder, **hef):
    """Write the folder and return the content of its ``model.json``."""
    manifest = write_model(folder)
    write_hef(folder / "model.hef", folder / "model.onnx", **hef)
    manifest["artefacts"]["hef"] = {**record(folder / "model.hef"), "precision": "int8", "max_batch": MAX_BATCH}
    manifest["golden"]["min_cosine"]["hef"] = 0.99
    write_manifest(folder, manifest)
    return manifest


def write_hailo_locator(folder, *, listed=LOCATOR_OUTPUTS, **hef):
    """Write a model folder of the locator with a HEF; ``listed`` are the names of its outputs in ``model.json``."""
    manifest = small_locator.write_locator_model(folder)
    small_locator.write_network(folder / "heads.onnx", heads=True)
    write_hef(folder / "model.hef", folder / "heads.onnx", outputs=list(LOCATOR_OUTPUTS), **hef)
    manifest["artifacts"]["hef"] = {**small_locator.record(folder / "model.hef"), "outputs": listed}
    small_locator.write_manifest(folder, manifest)
    return manifest


def add_hailo_closer(folder, *, listed=CLOSER_OUTPUTS):
    """Add a network that looks closer, with a HEF, to a model folder of the locator."""
    manifest = small_locator.add_closer(folder)
    write_hef(folder / "corners.hef", folder / "corners.onnx", outputs=list(CLOSER_OUTPUTS))
    manifest["closer"]["artifacts"]["hef"] = {**small_locator.record(folder / "corners.hef"), "outputs": listed}
    small_locator.write_manifest(folder, manifest)
    return manifest
