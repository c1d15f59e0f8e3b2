"""Export the network that looks closer into the model folder of the locator whose proposals it was trained on."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from edge.recognition.model import read_model_json
from edge.system.files import replacement
from edge.vision.corner_crops import CROP_SIZE
from tools.exporting.folded_onnx import outputs_on_noise, require_equal, write_folded_onnx
from tools.exporting.locator import write_manifest
from tools.network.contract import parameter_count
from tools.network.corners import CornerOutput
from tools.training.checkpoint import load
from tools.training.corners import trained_corners

CORNERS_FILE: Final = "corners.onnx"


def export_corners(checkpoint: Path, folder: Path, *, card: float) -> None:
    """Write the network of ``checkpoint`` into the locator's ``folder``, beside the network that proposes; ``card`` is its threshold.

    Raises ``DataError`` if the checkpoint cannot be read or the ONNX file does not agree with it, ``ModelError`` if the folder is none.
    """
    record: dict[str, Any] = read_model_json(folder)
    state = load(checkpoint)
    network = trained_corners(state)
    with replacement(folder / CORNERS_FILE, durable=False) as path:
        write_folded_onnx(network, CROP_SIZE, CornerOutput._fields, path)
        expected, found = (CornerOutput(*outputs) for outputs in outputs_on_noise(network, CROP_SIZE, CornerOutput._fields, path))
        require_equal(path, expected._asdict(), found._asdict())
        content = path.read_bytes()
    record["closer"] = {
        "network": asdict(network.settings),
        "parameters": parameter_count(network),
        "input": {"height": CROP_SIZE.height, "width": CROP_SIZE.width, "color_order": "RGB", "dtype": "uint8"},
        "outputs": list(CornerOutput._fields),
        "artifacts": {"onnx": {"file": CORNERS_FILE, "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}},
        "card": card,
        "trained_on": {
            "held_out": list(state["held_out"]),
            "steps": int(state["step"]),
            "stages": [dict(stage) for stage in state["stages"]],
        },
    }
    write_manifest(folder, record)
