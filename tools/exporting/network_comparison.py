"""Train several networks with the same budget, export them, and compare their figures."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from edge.errors import DataError
from edge.recognition.embedding import INPUT_SIZE, EmbeddingMatrix, InputBatch
from edge.recognition.model import MeasuredView
from edge.system.files import write_atomically
from edge.vision.card import CARD_SIZE
from edge.vision.frame import RgbImage
from tools.evaluation.embedding import measure_views
from tools.exporting.contenders import Contender
from tools.exporting.deployed import DeployedNetwork
from tools.exporting.onnx_format import write_onnx
from tools.network.contract import parameter_count
from tools.network.onnx_file import OnnxFile, squares
from tools.network.quantization import CALIBRATION_VIEWS, QUANTIZATION_PRESETS, agreement, quantize
from tools.network.recipes import DEFAULT_RECIPE, RECIPES
from tools.reports.markdown import table
from tools.simulation.camera import PRESETS, degrade
from tools.simulation.card_images import CardImages, read_backgrounds, read_cards
from tools.training.chain import Run, finish, run_stage
from tools.training.checkpoint import FINAL, LAST, open_trained
from tools.training.dataset import Dataset
from tools.training.processes import SINGLE_PROCESS
from tools.training.schedule import ResolutionPhase, Schedule
from tools.training.warm import WarmSettings, plan_warm

LATENCY_RUNS: Final = 30

INT8_PRESETS: Final = ("clean", "camera-6", "hard-light-glare-6")


@dataclass(frozen=True, slots=True)
class ComparedNetwork:
    """Figures of one network. ``top1`` and ``accepted`` are shares by preset, see ``tools/evaluation/embedding.py``.

    ``int8_top1_loss`` is the mean loss over ``INT8_PRESETS``; latencies are medians for one card.
    """

    name: str
    side: int
    parameters: int
    views: int
    training_s: float
    latency_ms: float
    int8_latency_ms: float
    int8_top1_loss: float
    int8_cosine: float
    questions: int
    top1: dict[str, float] = field(default_factory=dict)
    accepted: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class ComparisonData:
    """Data common to all contenders: the training dataset, and the cards and backgrounds they are measured with."""

    dataset: Dataset
    cards: CardImages
    backgrounds: list[RgbImage]
    views_per_card: int

    @classmethod
    def read(cls, data: Path, held_out: tuple[str, ...], views_per_card: int) -> ComparisonData:
        """Read a data folder. Raises ``DataError`` if it contains no card of the ``held_out`` sets."""
        cards, negatives = read_cards(data), data / "negatives"
        if not np.isin(cards.card_sets, held_out).any():
            raise DataError(
                f"{data}: contains none of the held-out sets {held_out}, which are needed for measuring; choose other sets with --hold-out"
            )
        dataset = Dataset.of(cards, read_backgrounds(negatives, half=0), held_out)
        return cls(dataset, cards, read_backgrounds(negatives, half=1), views_per_card)

    def calibration(self) -> InputBatch:
        """Return views of known cards for calibrating the 8-bit quantization, uint8 (n, 224, 224, 3)."""
        known = self.dataset.cards.pixels
        rows = np.linspace(0, len(known) - 1, CALIBRATION_VIEWS).astype(int)
        views = [
            degrade(known[row], PRESETS[QUANTIZATION_PRESETS[number % len(QUANTIZATION_PRESETS)]], np.random.default_rng(number))
            for number, row in enumerate(rows)
        ]
        return squares(views, INPUT_SIZE.width)


def compare_network(contender: Contender, schedule: Schedule, data: ComparisonData, folder: Path) -> ComparedNetwork:
    """Train, export and measure one network; return the stored figures of an earlier call with the same schedule.

    Raises ``DataError`` if ``folder`` holds the figures of another schedule or network.
    """
    kept = folder / "row.json"
    schedule = replace(
        schedule, pictures=(ResolutionPhase(contender.side, contender.batch),), steps=max(1, (schedule.steps or 0) // contender.batch)
    )
    wanted = {"network": asdict(contender.network), "course": asdict(schedule), "views_per_card": data.views_per_card}
    if kept.exists():
        record = json.loads(kept.read_text(encoding="utf-8"))
        if record["wanted"] != json.loads(json.dumps(wanted)):
            raise DataError(f"{kept}: was made with another budget or network; choose another --out")
        return ComparedNetwork(**record["row"])
    final = folder / FINAL
    if not final.exists():
        run = Run(folder, (folder / LAST).exists(), SINGLE_PROCESS)
        finish(run_stage(plan_warm(WarmSettings(network=contender.network, course=schedule), data.dataset), run), data.dataset, run)
    row = measured(contender, data, folder)
    write_atomically(kept, json.dumps({"wanted": wanted, "row": asdict(row)}, indent=2) + "\n", durable=False)
    return row


def measured(contender: Contender, data: ComparisonData, folder: Path) -> ComparedNetwork:
    """Export the trained network in ``folder`` and return its figures in single precision and in 8 bits."""
    trained = open_trained(folder / FINAL)
    single, eight = folder / "model.onnx", folder / "int8.onnx"
    write_onnx(DeployedNetwork(trained, INPUT_SIZE.width), single)
    network = OnnxFile(single)
    calibration = data.calibration()
    quantize(single, eight, calibration, RECIPES[DEFAULT_RECIPE])
    quantized = OnnxFile(eight)
    rows = measure(network, data, tuple(PRESETS))
    top1, accepted = ({name: float(getattr(found, value)) for name, found in rows.items()} for value in ("top1", "accepted"))
    in_eight = measure(quantized, data, INT8_PRESETS)
    checked = squares([data.cards.pixels[row] for row in np.flatnonzero(held_out(data))[:96]], INPUT_SIZE.width)
    return ComparedNetwork(
        name=contender.name,
        side=contender.side,
        parameters=parameter_count(trained.network),
        views=trained.views,
        training_s=trained.elapsed_s,
        latency_ms=latency_ms(network),
        int8_latency_ms=latency_ms(quantized),
        int8_top1_loss=statistics.fmean(top1[name] - in_eight[name].top1 for name in INT8_PRESETS),
        int8_cosine=agreement(network.run(checked), quantized.run(checked))[0],
        questions=next(iter(rows.values())).count,
        top1=top1,
        accepted=accepted,
    )


def held_out(data: ComparisonData) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return the mask of the held-out cards, bool (cards,)."""
    return np.isin(data.cards.card_sets, data.dataset.held_out)


def measure(network: OnnxFile, data: ComparisonData, presets: Sequence[str]) -> dict[str, MeasuredView]:
    """Return the figures of identifying and rejecting the held-out cards among all cards, by preset."""

    def embed(cards: Sequence[RgbImage]) -> EmbeddingMatrix:
        return network.embed(cards)

    rows = measure_views(embed, data.cards, held_out(data), data.backgrounds, views_per_card=data.views_per_card, presets=presets)
    return {row.view: row for row in rows}


def latency_ms(network: OnnxFile) -> float:
    """Return the median latency of one card with all threads, in milliseconds."""
    card = squares([np.full((CARD_SIZE.height, CARD_SIZE.width, 3), 127, dtype=np.uint8)], INPUT_SIZE.width)
    times = []
    for _ in range(LATENCY_RUNS + 3):
        began = time.perf_counter()
        network.run(card)
        times.append(time.perf_counter() - began)
    return 1000.0 * statistics.median(times[3:])


def as_table(rows: Sequence[ComparedNetwork]) -> str:
    """Return the comparison as a Markdown table with a row per figure and a column per network."""
    figures: list[tuple[str, ...]] = [
        ("weights, millions", *(f"{row.parameters / 1e6:.1f}" for row in rows)),
        ("views, pixels of the training", *(f"{row.views:,} at {row.side}" for row in rows)),
        ("minutes of training", *(f"{row.training_s / 60.0:.1f}" for row in rows)),
        ("one card, ms", *(f"{row.latency_ms:.1f}" for row in rows)),
        ("one card in 8 bits, ms", *(f"{row.int8_latency_ms:.1f}" for row in rows)),
        ("8 bits: cosine to single precision", *(f"{row.int8_cosine:.4f}" for row in rows)),
        ("8 bits: loss of top-1, points", *(f"{100.0 * row.int8_top1_loss:.2f}" for row in rows)),
    ]
    for preset in rows[0].top1 if rows else ():
        shares = (f"{100.0 * row.top1[preset]:.1f} / {100.0 * row.accepted[preset]:.1f}" for row in rows)
        figures.append((f"{preset}: top-1 / accepted %", *shares))
    text = table(("", *(row.name for row in rows)), figures)
    if rows:
        text += f"\n\n{rows[0].questions} views per preset; 8 bits measured on {', '.join(INT8_PRESETS)}."
    return text
