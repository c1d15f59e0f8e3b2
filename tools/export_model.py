"""Export a trained network into the folder that the daemon opens: ``hef/<name>/``.

    python -m tools.export_model --checkpoint runs/first/final.pt --data DIR --out hef/convnext-tiny-bn

Folds what can be folded, writes ONNX with half-precision weights, checks it against the trained network on real cards, measures it on
simulated views of the held-out cards and writes ``model.json``. The folder appears only when everything held.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import shutil
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, cast

import cv2
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from edge.adapters.onnx import OnnxEmbedder
from edge.embedding import INPUT_SIZE, PREPROCESSING_ID, EmbeddingMatrix, InputBatch, to_input_batch
from edge.errors import EdgeError, ModelError
from edge.frame import RgbImage
from edge.model import (
    MODEL_FILE,
    Artefact,
    FileRecord,
    Golden,
    Measured,
    MeasuredView,
    ModelManifest,
    NetworkInput,
    Training,
    open_model,
    self_test,
)
from tools.card_pictures import CardPictures, read_backgrounds, read_cards
from tools.measure_network import Embed, as_table, measure_views
from tools.networks.contract import EmbeddingNetwork, parameter_count
from tools.networks.convnext import ConvNextSettings
from tools.networks.regnet import RegNetSettings
from tools.simulated_camera import PRESETS, degrade
from tools.training.checkpoint import Trained, open_trained

OPSET: Final = 17
MAX_BATCH: Final = 16
HALF_FROM_ELEMENTS: Final = 1024
"""Smaller tensors (biases) stay in single precision: they cost nothing and matter more."""

PARITY_MIN_COSINE: Final = 0.9999
PARITY_IMAGES: Final = 48
GOLDEN_SEEDS: Final = (1, 2, 3)
GOLDEN_MIN_COSINE: Final = 0.999
ONNX_FILE: Final = "model.onnx"
GOLDEN_FILE: Final = "golden.npy"
BRIEF_MINUTES: Final = 600.0


class _Deployed(nn.Module):
    """uint8 (n, 224, 224, 3) NHWC RGB → unit vectors float32 (n, dim), by a folded network."""

    def __init__(self, network: EmbeddingNetwork, shrink: int) -> None:
        super().__init__()
        self._network = copy.deepcopy(network).eval()
        self._network.fold(shrink)

    def forward(self, pixels: Tensor) -> Tensor:
        return self._network.embed(pixels.permute(0, 3, 1, 2).float())


def write_onnx(network: EmbeddingNetwork, shrink: int, path: Path) -> None:
    """Write ``network``, folded, as ONNX: any batch size, weights in half precision and turned to single by the graph itself.

    ``shrink`` is how many times smaller than 224 pixels the pictures of its training were.
    """
    pixels = torch.zeros(2, INPUT_SIZE.height, INPUT_SIZE.width, 3, dtype=torch.uint8)
    with warnings.catch_warnings():
        # the tracing exporter is deprecated and says so, but writes the GELU pattern that the NPU's compiler knows; the sizes it turns
        # into constants are constant
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Deployed(network, shrink),
            (pixels,),
            str(path),
            opset_version=OPSET,
            input_names=["pixels"],
            output_names=["embedding"],
            dynamic_axes={"pixels": {0: "n"}, "embedding": {0: "n"}},
            dynamo=False,
        )
    graph = onnx.load(str(path))
    halve_weights(graph)
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, str(path))


def halve_weights(model: onnx.ModelProto) -> None:
    """Store the large weights in half precision, each followed by a Cast that a runtime folds when it loads."""
    casts = []
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if weight.data_type != TensorProto.FLOAT or values.size < HALF_FROM_ELEMENTS:
            continue
        name = weight.name
        weight.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], f"{name}_single", to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


# --- checks --------------------------------------------------------------------------------------------------------------------------


def embed_with_torch(network: EmbeddingNetwork, shrink: int, batch: InputBatch) -> EmbeddingMatrix:
    """Return what the trained network itself says, in single precision, to pictures averaged down to the size of its training."""
    vectors = []
    with torch.inference_mode():
        for start in range(0, len(batch), 8):
            pixels = torch.from_numpy(batch[start : start + 8]).permute(0, 3, 1, 2).float()
            vectors.append(network(nn.functional.avg_pool2d(pixels, shrink)))
    return cast(EmbeddingMatrix, torch.cat(vectors).numpy())


def trained_shrink(side: int) -> int:
    """Return how many times smaller than the deployed input the last pictures of the training, of ``side``, were."""
    if INPUT_SIZE.width % side:
        raise ModelError(f"the last stage of the training has side {side}; the deployed {INPUT_SIZE.width} must be a whole multiple of it")
    return INPUT_SIZE.width // side


def embed_with(embedder: OnnxEmbedder, progress: Callable[[int], None] = lambda _: None) -> Embed:
    """Return a function that embeds rectified cards of any number through a backend."""

    def embed(cards: Sequence[RgbImage]) -> EmbeddingMatrix:
        rows = []
        for start in range(0, len(cards), embedder.max_batch):
            rows.append(embedder.submit(to_input_batch(cards[start : start + embedder.max_batch])).result())
            progress(len(rows[-1]))
        return np.concatenate(rows)

    return embed


def parity(network: EmbeddingNetwork, shrink: int, embed: Embed, cards: CardPictures, backgrounds: Sequence[RgbImage]) -> float:
    """Return the least cosine between the artefact and the trained network, over clean and degraded real cards."""
    chosen = np.linspace(0, len(cards.card_ids) - 1, PARITY_IMAGES // 2).astype(int)
    pictures: list[RgbImage] = [cards.pixels[row] for row in chosen]
    for number, row in enumerate(chosen):
        rng = np.random.default_rng(number)
        pictures.append(degrade(cards.pixels[row], PRESETS["camera-6"], rng, backgrounds[number % len(backgrounds)]))
    reference = embed_with_torch(network, shrink, to_input_batch(pictures))
    least = float(np.min(np.sum(embed(pictures) * reference, axis=1)))
    if least < PARITY_MIN_COSINE:
        raise ModelError(f"the exported network differs from the trained one (cosine {least:.6f}, at least {PARITY_MIN_COSINE} wanted)")
    return least


def draw_golden(seed: int) -> RgbImage:
    """Draw a picture with a card's structure (frame, art, text lines), uint8 (224, 224, 3): a test pattern that belongs to nobody."""
    rng = np.random.default_rng(seed)
    side = INPUT_SIZE.height

    def colour() -> tuple[int, ...]:
        return tuple(int(value) for value in rng.integers(20, 236, 3))

    picture = np.full((side, side, 3), colour(), dtype=np.uint8)
    cv2.rectangle(picture, (9, 7), (side - 10, side - 8), colour(), cv2.FILLED)
    art = picture[30:118, 18 : side - 18]
    art[:] = np.linspace(colour(), colour(), art.shape[0]).astype(np.uint8)[:, None, :]
    for _ in range(14):
        center = (int(rng.integers(art.shape[1])), int(rng.integers(art.shape[0])))
        axes = (int(rng.integers(6, 40)), int(rng.integers(6, 30)))
        cv2.ellipse(art, center, axes, float(rng.uniform(0.0, 180.0)), 0.0, 360.0, colour(), cv2.FILLED, cv2.LINE_AA)
    for top in range(130, 206, 12):
        cv2.line(picture, (20, top), (int(rng.integers(90, side - 20)), top), (30, 30, 30), 3)
    return picture


# --- the folder ----------------------------------------------------------------------------------------------------------------------


def weights_id(network: EmbeddingNetwork) -> str:
    """Return the first 64 bits of a SHA-256 over all trained values, in the order of their names."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def file_record(path: Path) -> FileRecord:
    """Describe a file that was just written."""
    data = path.read_bytes()
    return FileRecord(file=path.name, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))


def write_golden(network: EmbeddingNetwork, shrink: int, folder: Path) -> Golden:
    """Write the golden pictures and what the trained network says to them."""
    pictures = np.stack([draw_golden(seed) for seed in GOLDEN_SEEDS])
    records = []
    for seed, picture in zip(GOLDEN_SEEDS, pictures, strict=True):
        path = folder / f"golden-{seed}.png"
        cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        records.append(file_record(path))
    np.save(folder / GOLDEN_FILE, embed_with_torch(network, shrink, pictures))
    return Golden(pictures=tuple(records), embeddings=file_record(folder / GOLDEN_FILE), min_cosine={"onnx": GOLDEN_MIN_COSINE})


RECIPES: Final = {
    "warm": "regression of a whitened cosine-transform descriptor of the clean card from its degraded view, with classification against "
    "all known descriptors",
    "metric": "InfoNCE between two views of a card with proxies of all known cards as negatives, ArcFace towards the proxies, the "
    "descriptor through a linear head",
}
"""What a stage of training is, in words; a stage that is not here speaks for itself."""


def training_record(trained: Trained) -> Training:
    """Describe the stages that a network came from."""
    minutes = trained.elapsed_s / 60.0
    last = trained.stages[-1]
    if minutes < BRIEF_MINUTES:
        note = f"briefly trained: {minutes:.0f} minutes on {last.machine}"
    else:
        note = f"trained for {minutes / 60.0:.1f} hours on {last.machine}"
    note += f", {trained.views:,} views of {last.known_cards:,} cards"
    recipe = "; then ".join(RECIPES.get(stage.stage, stage.stage) for stage in trained.stages)
    return Training(
        note=note,
        recipe=f"{recipe}; moving average of the weights{', output whitened over the known cards' if trained.whitened else ''}",
        known_cards=last.known_cards,
        held_out=trained.held_out,
        views=trained.views,
        minutes=round(minutes, 1),
        machine=last.machine,
        settings={stage.stage: stage.settings for stage in trained.stages},
    )


def architecture(network: EmbeddingNetwork, shrink: int) -> str:
    """Describe a network in words."""
    settings = network.settings
    if isinstance(settings, ConvNextSettings):
        norm = "BatchNorm, folded" if settings.norm == "batch" else "LayerNorm"
        body = f"ConvNeXt, depths {settings.depths}, widths {settings.widths}, {norm}, {4 * shrink}x{4 * shrink} stem"
    elif isinstance(settings, RegNetSettings):
        body = f"RegNetX, depths {settings.depths}, widths {settings.widths}, BatchNorm, folded, input averaged down {shrink} times"
    else:
        return f"{settings.model} (timm) with a projection head, input averaged down {shrink} times"
    return f"{body}; head: average and 3x3 map"


def describe(trained: Trained, folder: Path, name: str) -> ModelManifest:
    """Write artefact and golden files into ``folder`` and return the manifest without its measured figures."""
    network, shrink = trained.network, trained_shrink(trained.side)
    write_onnx(network, shrink, folder / ONNX_FILE)
    return ModelManifest(
        model_id=weights_id(network),
        name=name,
        architecture=architecture(network, shrink),
        parameters=parameter_count(network),
        created=datetime.now(UTC).replace(microsecond=0),
        input=NetworkInput(width=INPUT_SIZE.width, height=INPUT_SIZE.height, preprocessing=PREPROCESSING_ID),
        dim=network.settings.dim,
        artefacts={
            "onnx": Artefact(
                **file_record(folder / ONNX_FILE).model_dump(), precision="float16 weights, float32 arithmetic", max_batch=MAX_BATCH
            )
        },
        golden=write_golden(network, shrink, folder),
        training=training_record(trained),
        measured=Measured(parity_min_cosine=0.0, parity_images=PARITY_IMAGES, gallery_cards=1, views=()),
    )


def measure(
    network: EmbeddingNetwork,
    shrink: int,
    folder: Path,
    cards: CardPictures,
    held_out: NDArray[np.bool_],
    backgrounds: Sequence[RgbImage],
    views: int,
) -> Measured:
    """Open the folder as the daemon would and measure what is in it."""
    model = open_model(folder)
    embedder = OnnxEmbedder(model)
    try:
        self_test(embedder.submit, model, kind="onnx")
        embed = embed_with(embedder)
        least = parity(network, shrink, embed, cards, backgrounds)
        rows = measure_views(embed, cards, held_out, backgrounds, views_per_card=views) if views else []
    finally:
        embedder.close()
    print(f"parity: least cosine {least:.6f} over {PARITY_IMAGES} pictures\n{as_table(rows)}")
    measured_views = tuple(MeasuredView(**asdict(row)) for row in rows)
    return Measured(parity_min_cosine=least, parity_images=PARITY_IMAGES, gallery_cards=len(cards.card_ids), views=measured_views)


def export(checkpoint: Path, data: Path, out: Path, views_per_card: int) -> ModelManifest:
    """Make the folder ``out``; it is replaced in one step, or not at all."""
    trained = open_trained(checkpoint)
    cards = read_cards(data)
    held_out = np.isin(cards.card_sets, trained.held_out)
    if views_per_card and not held_out.any():
        raise ModelError(f"{data}: none of the held-out sets {trained.held_out} is there; nothing honest can be measured")
    backgrounds = read_backgrounds(data / "negatives", half=1)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        manifest = describe(trained, partial, out.name)
        (partial / MODEL_FILE).write_text(manifest.to_json(), encoding="utf-8")
        measured = measure(trained.network, trained_shrink(trained.side), partial, cards, held_out, backgrounds, views_per_card)
        manifest = manifest.model_copy(update={"measured": measured})
        (partial / MODEL_FILE).write_text(manifest.to_json(), encoding="utf-8")
        shutil.rmtree(out, ignore_errors=True)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def main() -> int:
    """Export as the command line says; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="final.pt of a training run")
    parser.add_argument("--data", type=Path, required=True, help="folder with cards.csv, its pictures and negatives/")
    parser.add_argument("--out", type=Path, required=True, help="hef/<name>; replaced when everything held")
    parser.add_argument("--views-per-card", type=int, default=2, help="simulated views of each held-out card per row; 0 measures nothing")
    arguments = parser.parse_args()
    try:
        manifest = export(arguments.checkpoint, arguments.data, arguments.out, arguments.views_per_card)
    except EdgeError as error:
        print(f"export: {error}", file=sys.stderr)
        return int(error.exit_code)
    artefact = manifest.artefacts["onnx"]
    print(f"{arguments.out}: model {manifest.model_id}, {artefact.size_bytes / 1e6:.1f} MB — {manifest.training.note}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
