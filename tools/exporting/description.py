"""The description of a trained network in ``model.json``: its architecture and its training."""

from __future__ import annotations

from math import ceil
from typing import Final

from edge.recognition.model import TrainingRecord
from tools.network.contract import EmbeddingNetwork
from tools.network.settings import ConvNextSettings, RegNetSettings
from tools.training.checkpoint import TrainedNetwork

BRIEF_MINUTES: Final = 600.0

RECIPES: Final = {
    "warm": "regression of a whitened cosine-transform descriptor of the clean card from its degraded view, with classification against "
    "all known descriptors",
    "metric": "InfoNCE between two views of a card with proxies of all known cards as negatives, ArcFace towards the proxies, the "
    "descriptor through a linear head",
    "blend": "the mean of the weights before and after that, with BatchNorm statistics measured again",
    "refine": "regression of its own whitened answer to the clean card from a degraded view, with classification against those to all "
    "known cards",
}
"""Descriptions of training stages; a stage without an entry is described by its name."""


def training_record(trained: TrainedNetwork) -> TrainingRecord:
    """Return the training record of a network, from the records of its stages."""
    minutes = trained.elapsed_s / 60.0
    last = trained.stages[-1]
    known_cards = max(stage.known_cards for stage in trained.stages)
    if minutes < BRIEF_MINUTES:
        note = f"briefly trained: {minutes:.0f} minutes on {last.machine}"
    else:
        note = f"trained for {minutes / 60.0:.1f} hours on {last.machine}"
    note += f", {trained.views:,} views of {known_cards:,} cards"
    recipe = "; then ".join(RECIPES.get(stage.stage, stage.stage) for stage in trained.stages)
    return TrainingRecord(
        note=note,
        recipe=f"{recipe}; moving average of the weights{', output whitened over the known cards' if trained.whitened else ''}",
        known_cards=known_cards,
        held_out=trained.held_out,
        views=trained.views,
        minutes=ceil(10.0 * minutes) / 10.0,  # rounded up: never zero
        machine=last.machine,
        settings={stage.stage: stage.settings for stage in trained.stages},
    )


def architecture(network: EmbeddingNetwork, shrink: int) -> str:
    """Return a description of the network's architecture, as text."""
    settings = network.settings
    if isinstance(settings, ConvNextSettings):
        norm = "BatchNorm, folded" if settings.norm == "batch" else "LayerNorm"
        body = f"ConvNeXt, depths {settings.depths}, widths {settings.widths}, {norm}, {4 * shrink}x{4 * shrink} stem"
    elif isinstance(settings, RegNetSettings):
        body = f"RegNetX, depths {settings.depths}, widths {settings.widths}, BatchNorm, folded, input averaged down {shrink} times"
    else:
        return f"{settings.model} (timm) with a projection head, input averaged down {shrink} times"
    return f"{body}; head: average and 3x3 map"
