"""Compile the locator's network for the Hailo-8L; compare its quantized emulation with the ONNX file before the HEF is stored."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tqdm import tqdm

from edge.errors import DataError
from edge.recognition.locator_model import LocatorModel
from edge.recognition.model import MODEL_FILE, read_model_json
from edge.system.files import write_atomically
from edge.vision.card import Quad, Size, overlap
from edge.vision.detector import DetectorBatch, DetectorInfo, DetectorMaps, decode
from edge.vision.detector_heads import Heads, maps_of_heads
from edge.vision.windows import letterbox, whole
from tools.hailo.compilation import HEF_FILE, script_path
from tools.hailo.compiler import Compilation
from tools.hailo.locator_part import write_locator_part
from tools.simulation.scenes.compose import any_frame_size, compose
from tools.simulation.scenes.material import SceneMaterial, read_material

CHECKED_SCENES: Final = 96
SAME_OUTLINE: Final = 0.85
"""Intersection over union from which the quantized network's outline is that of the ONNX file."""
MIN_SAME: Final = 0.97
"""Share of the outlines of either that the other must have."""
MAX_PROPOSALS: Final = 100


@dataclass(frozen=True, slots=True)
class LocatorAgreement:
    """Outlines in composed scenes of the ONNX file (``expected``), of the quantized network (``found``), and of both (``same``)."""

    expected: int
    found: int
    same: int

    @property
    def share(self) -> float:
        """The share of the outlines of the one that has more which the other has too; 1 without any."""
        return self.same / max(self.expected, self.found, 1)


def compile_locator(model: LocatorModel, data: Path, held_out: Sequence[str], count: int) -> LocatorAgreement:
    """Compile the network, check it, write ``model.hef`` and its artifact in ``model.json``; return how well the outlines agree.

    ``count`` composed scenes with cards outside the sets ``held_out`` are used for calibration, scenes with cards of these sets for the
    check; ``data`` is a folder for ``tools.training``. Raises ``DataError`` if a step fails or quantization changes too many outlines,
    ``DeviceError`` if the compiler is not installed.
    """
    script = script_path(model.folder).read_text(encoding="utf-8")
    source, info = model.artifact_path("onnx"), model.info("onnx", max_batch=1)
    name = model.folder.name
    with tempfile.TemporaryDirectory() as folder:
        compilation = Compilation(write_locator_part(source, Path(folder) / source.name, info.input_size), name)
        compilation.translate()
    compilation.optimize(script, _scenes(read_material(data, held_out), count, info.input_size, seed=1))
    queries = _scenes(read_material(data, held_out, half=1), CHECKED_SCENES, info.input_size, seed=2)
    heads = Heads(*(output.transpose(0, 3, 1, 2) for output in compilation.emulate(queries, "SDK_QUANTIZED")))
    agreement = compare_outlines(_run(source, queries), DetectorMaps(*maps_of_heads(heads)), info)
    if agreement.share < MIN_SAME:
        raise DataError(
            f"quantization changes too much: of {agreement.expected} outlines in composed scenes {agreement.same} are those of the "
            f"{agreement.found} that the quantized network finds (at least {100 * MIN_SAME:g} % wanted); try 16 bits in more layers"
        )
    _write_artifact(model, compilation.compile(), tuple(f"{name}/{layer.rsplit('/', 1)[-1]}" for layer in compilation.output_layers()))
    return agreement


def compare_outlines(expected: DetectorMaps, found: DetectorMaps, info: DetectorInfo) -> LocatorAgreement:
    """Count the outlines that both outputs give for the same inputs."""
    totals = np.zeros(3, dtype=int)
    for row in range(len(expected.heat)):
        first, second = (
            [Quad.from_array(quad) for quad in decode(maps, row, info, min_score=info.thresholds.score, most=MAX_PROPOSALS).quads]
            for maps in (expected, found)
        )
        same = sum(any(overlap(quad, other) >= SAME_OUTLINE for other in second) for quad in first)
        totals += (len(first), len(second), min(same, len(second)))
    return LocatorAgreement(*(int(total) for total in totals))


def _scenes(material: SceneMaterial, count: int, size: Size, seed: int) -> DetectorBatch:
    """Return composed scenes as inputs of the network."""
    batch = np.empty((count, size.height, size.width, 3), dtype=np.uint8)
    for number in tqdm(range(count), unit="scene", file=sys.stderr, disable=None):
        rng = np.random.default_rng((seed, number))
        pixels = compose(material, rng, *any_frame_size(rng, max(size))).pixels
        batch[number] = letterbox(pixels, [whole(pixels)], size)[0]
    return batch


def _run(source: Path, batch: DetectorBatch) -> DetectorMaps:
    session = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"])
    rows: list[Sequence[NDArray[np.float32]]] = [session.run(list(Heads._fields), {"pixels": row[None]}) for row in batch]
    return DetectorMaps(*(np.concatenate(outputs) for outputs in zip(*rows, strict=True)))


def _write_artifact(model: LocatorModel, hef: bytes, outputs: tuple[str, ...]) -> None:
    """Write the HEF beside the ONNX file, then add it to ``model.json``."""
    (model.folder / HEF_FILE).write_bytes(hef)
    manifest: dict[str, Any] = read_model_json(model.folder)
    artifact = {"file": HEF_FILE, "sha256": hashlib.sha256(hef).hexdigest(), "size": len(hef), "outputs": list(outputs)}
    manifest["artifacts"]["hef"] = artifact
    write_atomically(model.folder / MODEL_FILE, json.dumps(manifest, indent=2) + "\n", durable=False)
