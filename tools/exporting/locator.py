"""Export a trained locator network into a model folder: ONNX file and ``model.json`` with what was measured about the network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch

from edge.recognition.locator_model import LOCATOR_SCHEMA
from edge.recognition.model import MODEL_FILE, read_model_json
from edge.system.files import replacement
from edge.vision.card import Size
from tools.evaluation.locator_network import measure_locator
from tools.exporting.folded_onnx import outputs_on_noise, require_equal, write_folded_onnx
from tools.hailo.plan import read_plan, to_json_dict
from tools.network.contract import parameter_count
from tools.network.locator import CLASSES, SCALE_PX, STRIDE, LocatorNetwork, LocatorOutput, decoded, turn_free
from tools.training.checkpoint import State, load
from tools.training.locator import trained_locator

ONNX_FILE: Final = "model.onnx"
ARCHITECTURE: Final = "CenterNet-like: depthwise 5x5 blocks, BatchNorm, ReLU, maps of strides 8, 16 and 32 added at stride 8"


def export_locator(checkpoint: Path, out: Path, *, score: float) -> None:
    """Write the network of ``checkpoint`` into the folder ``out``; a network that looks closer there stays.

    ``score`` is the threshold of a card. Raises ``DataError`` if the checkpoint cannot be read, or the ONNX file does not agree with it.
    """
    state = load(checkpoint)
    network, side = trained_locator(state), int(state["side"])
    out.mkdir(parents=True, exist_ok=True)
    with replacement(out / ONNX_FILE, durable=False) as path:
        write_locator_onnx(network, side, path)
        require_agreement(network, side, path)
    record = _manifest(out / ONNX_FILE, network, side, state, score)
    if (out / MODEL_FILE).exists() and "closer" in (before := read_model_json(out)):
        record["closer"] = before["closer"]
    write_manifest(out, record)


def measure_exported(folder: Path, data: Path, scenes: int) -> dict[str, Any]:
    """Measure the networks in a folder, write the figures into its ``model.json``, and return that.

    ``scenes`` is the number of composed scenes. Raises ``ModelError`` for an unusable folder and ``DataError`` for missing data.
    """
    record: dict[str, Any] = read_model_json(folder)
    record["figures"] = measure_locator(folder, data, record["trained_on"]["held_out"], scenes)
    write_manifest(folder, record)
    return record


def write_locator_onnx(network: LocatorNetwork, side: int, path: Path) -> None:
    """Write the folded network as an ONNX file for uint8 (n, ``side``, ``side``, 3) with any n; ``network`` stays as it is.

    Smaller images are taken too, with sides in multiples of the network's coarsest stride.
    """
    write_folded_onnx(network, Size(side, side), LocatorOutput._fields, path, any_size=True)


@torch.no_grad()
def require_agreement(network: LocatorNetwork, side: int, path: Path) -> None:
    """Raise ``DataError`` unless the ONNX file gives what the network gives, on noise of any contrast, square and of half the height."""
    for size in (Size(side, side), Size(side, side // 2)):
        expected, found = (LocatorOutput(*outputs) for outputs in outputs_on_noise(network, size, LocatorOutput._fields, path))
        require_equal(path, _without_order(decoded(expected))._asdict(), _without_order(found)._asdict())


def _without_order(output: LocatorOutput) -> LocatorOutput:
    """Return maps that do not depend on which of two opposite corners is the first: where there is no card, rounding decides it."""
    return output._replace(corners=turn_free(output.corners), order=(output.order - 0.5).abs())


def _manifest(path: Path, network: LocatorNetwork, side: int, state: State, score: float) -> dict[str, Any]:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    stages = [dict(stage) for stage in state["stages"]]
    return {
        "schema": LOCATOR_SCHEMA,
        "model_id": digest[:16],
        "architecture": ARCHITECTURE,
        "network": asdict(network.settings),
        "parameters": parameter_count(network),
        "input": {"height": side, "width": side, "color_order": "RGB", "dtype": "uint8"},
        "stride": STRIDE,
        "scale_px": SCALE_PX,
        "classes": list(CLASSES),
        "outputs": list(LocatorOutput._fields),
        "artifacts": {"onnx": {"file": path.name, "sha256": digest, "size": len(content)}},
        "thresholds": {"score": score, "visible": 0.0, "overlap": 0.5},
        "trained_on": {"held_out": list(state["held_out"]), "steps": int(state["step"]), "stages": stages},
        "npu": {"plan": to_json_dict(read_plan(path, Size(side, side)))},
    }


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write ``model.json`` of a folder atomically."""
    with replacement(folder / MODEL_FILE, durable=False) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
