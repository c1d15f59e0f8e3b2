"""A small model folder with a HEF beside the ONNX, for the double."""

from tests.support.hailo_double.board import write_hef
from tests.support.small_model import MAX_BATCH, record, write_manifest, write_model


def write_hailo_model(folder, **hef):
    """Write the folder and return the content of its ``model.json``."""
    manifest = write_model(folder)
    write_hef(folder / "model.hef", folder / "model.onnx", **hef)
    manifest["artefacts"]["hef"] = {**record(folder / "model.hef"), "precision": "int8", "max_batch": MAX_BATCH}
    manifest["golden"]["min_cosine"]["hef"] = 0.99
    write_manifest(folder, manifest)
    return manifest
