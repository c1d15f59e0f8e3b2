"""Compile a network for the Hailo-8L, and prove that it still answers the same.

    python -m tools.compile_hef --plan [--write] [--model DIR]
    python -m tools.compile_hef --model DIR --images DIR --hold-out SET,SET [--negatives DIR]

``--plan`` needs no compiler: it prints what the network costs per stage and what the PCIe link allows; an export
writes the same into ``model.json``, ``--write`` does it for a network that was exported before. Compiling prepares 1,024 and more
rectified views of cards outside the held-out sets as calibration, follows the network's model script (``<name>/<name>.alls``), fails on
the log lines that mean lost accuracy, compares native, quantised emulation and ONNX on held-out cards, and only then puts ``model.hef`` and
what was measured into the network's folder. The chip itself is asked by ``tools/verify_hef.py`` on the Pi.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from edge.cli.arguments import CommandLineParser
from edge.errors import DataError, EdgeError, ExitCode, UsageError
from edge.recognition.embedding import INPUT_SIZE, EmbeddingMatrix, InputBatch, to_input_batch
from edge.recognition.model import MODEL_FILE, Artefact, ArtifactAgreement, Model, find_model, open_model
from tools.hailo.agreement import HEAD, agreement_of, as_row
from tools.hailo.compiled_part import write_compiled_part
from tools.hailo.compiler import CALIBRATION_IMAGES, Compilation
from tools.hailo.plan import as_markdown, as_record, plan_of
from tools.hailo.record import write_npu_record
from tools.network.onnx_file import OnnxFile
from tools.simulation.camera import PRESETS, degrade
from tools.simulation.card_images import CardImages, read_backgrounds, read_cards

HEF_FILE: Final = "model.hef"
MAX_BATCH: Final = 8
CALIBRATION_PRESETS: Final = ("clean", "camera-4", "camera-6", "hard-light-glare-6", "glare")
HEF_MIN_COSINE: Final = 0.97
"""What the chip's answer to a golden picture must at least reach; 8-bit networks lie at 0.98 to 0.999 (see hef/README.md)."""

MIN_QUANTISED_COSINE: Final = 0.98
MIN_TOP1: Final = 0.995


def script_of(folder: Path) -> Path:
    """Return where the compiler's model script of a network lies: ``<name>/<name>.alls``."""
    return folder / f"{folder.name}.alls"


def views_of(cards: CardImages, folder: Path | None, count: int, seed: int, half: int) -> InputBatch:
    """Return ``count`` rectified simulated views of cards in turn, as the network takes them: uint8 (count, 224, 224, 3)."""
    backgrounds = read_backgrounds(folder, half=half) if folder is not None else [None]
    views = np.empty((count, INPUT_SIZE.height, INPUT_SIZE.width, 3), dtype=np.uint8)
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        preset = PRESETS[CALIBRATION_PRESETS[number % len(CALIBRATION_PRESETS)]]
        background = backgrounds[int(rng.integers(len(backgrounds)))]
        view = degrade(cards.pixels[number % len(cards.card_ids)], preset, rng, background)
        views[number] = to_input_batch([view])[0]
    return views


def compile_model(
    model: Model, known: CardImages, held_out: CardImages, negatives: Path | None, count: int
) -> dict[str, ArtifactAgreement]:
    """Compile, prove, write ``model.hef`` and ``model.json``; return the three-way comparison. Raises ``DataError`` or ``DeviceError``."""
    script = script_of(model.folder).read_text(encoding="utf-8")
    source = model.artefact_path("onnx")
    with tempfile.TemporaryDirectory() as folder:
        compilation = Compilation(write_compiled_part(source, Path(folder) / source.name, INPUT_SIZE.width), model.manifest.name)
        compilation.translate()
    compilation.optimize(script, views_of(known, negatives, count, seed=1, half=0))
    proof = three_way(compilation, OnnxFile(source), held_out, negatives)
    quantised = proof["quantised emulation"]
    if quantised.mean_cosine < MIN_QUANTISED_COSINE or quantised.top1 < MIN_TOP1:
        raise DataError(
            f"quantisation costs too much: mean cosine {quantised.mean_cosine:.4f} (at least {MIN_QUANTISED_COSINE}), same answer "
            f"{100 * quantised.top1:.1f} % (at least {100 * MIN_TOP1:g} %); try 16 bits in the last stage, see hef/README.md"
        )
    write_artefact(model, compilation.compile(), quantised)
    return proof


def three_way(compilation: Compilation, reference: OnnxFile, held_out: CardImages, negatives: Path | None) -> dict[str, ArtifactAgreement]:
    """Compare native and quantised emulation with the ONNX on two views of each held-out card, asked among the held-out cards."""
    asked = views_of(held_out, negatives, 2 * len(held_out.card_ids), seed=2, half=1)
    gallery = reference.embed(list(held_out.pixels))
    wanted = reference.run(asked)
    answers: dict[str, EmbeddingMatrix] = {
        "native": compilation.emulate(asked, "SDK_NATIVE"),
        "quantised emulation": compilation.emulate(asked, "SDK_QUANTIZED"),
    }
    return {name: agreement_of(wanted, answer, gallery) for name, answer in answers.items()}


def write_artefact(model: Model, hef: bytes, emulated: ArtifactAgreement) -> None:
    """Put the HEF beside the ONNX, then tell ``model.json``."""
    (model.folder / HEF_FILE).write_bytes(hef)
    artefact = Artefact(file=HEF_FILE, sha256=hashlib.sha256(hef).hexdigest(), size_bytes=len(hef), precision="int8", max_batch=MAX_BATCH)
    manifest = model.manifest
    golden = manifest.golden.model_copy(update={"min_cosine": {**manifest.golden.min_cosine, "hef": HEF_MIN_COSINE}})
    artefacts = {**manifest.artefacts, "hef": artefact}
    write_npu_record(model, "emulated", emulated.model_dump(mode="json"), artefacts=artefacts, golden=golden)


def tell_plan(model: Model, *, write: bool) -> ExitCode:
    """Print what the network will cost, and put it into ``model.json`` if wanted."""
    plan = plan_of(model.artefact_path("onnx"))
    print(as_markdown(plan))
    if write:
        write_npu_record(model, "plan", as_record(plan))
        print(f"\n{model.folder / MODEL_FILE}: the plan stands in it, as npu.plan", file=sys.stderr)
    return ExitCode.OK


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandLineParser(prog="compile_hef", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="folder of the network; the only one under hef/ when absent")
    parser.add_argument("--plan", action="store_true", help="only print what the network costs on a Hailo-8L")
    parser.add_argument("--write", action="store_true", help="with --plan: put it into model.json too, as npu.plan")
    parser.add_argument("--images", type=Path, help="folder with cards.csv and the pictures it names")
    parser.add_argument("--negatives", type=Path, help="folder of pictures without a card, as backgrounds")
    parser.add_argument("--hold-out", default="", help="comma-separated sets that prove and do not calibrate")
    parser.add_argument("--calibration", type=int, default=4 * CALIBRATION_IMAGES, help="views for calibration and finetuning (4096)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _arguments(argv)
    try:
        model = open_model(find_model(options.model))
        if options.plan:
            return tell_plan(model, write=options.write)
        if options.write:
            raise UsageError("--write goes with --plan; what compiling finds out is always written")
        held_out = tuple(filter(None, options.hold_out.split(",")))
        if options.images is None or not held_out:
            raise UsageError("compiling needs --images DIR and --hold-out SETS: what proves must not calibrate")
        cards = read_cards(options.images)
        held = np.isin(cards.card_sets, held_out)
        proof = compile_model(model, cards.chosen(~held), cards.chosen(held), options.negatives, options.calibration)
    except EdgeError as error:
        print(f"compile_hef: {error}", file=sys.stderr)
        return int(error.exit_code)
    print("\n".join([HEAD, *(as_row(name, agreement) for name, agreement in proof.items())]))
    print(f"{model.folder / HEF_FILE}: run tools/verify_hef.py on the Pi before you use it")
    return ExitCode.OK


if __name__ == "__main__":
    raise SystemExit(main())
