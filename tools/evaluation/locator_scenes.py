"""Measure a locator on composed scenes whose outlines are known, with scans and backgrounds that took part in no training."""

from __future__ import annotations

import sys
from typing import Final

import numpy as np
from tqdm import tqdm

from tools.evaluation.locator import FindOutlines, LocatedPhoto, compare
from tools.labels.photo_outlines import PIXEL_CENTER, LabeledCard, LabeledPhoto
from tools.simulation.scenes.compose import Scene, compose
from tools.simulation.scenes.material import SceneMaterial

SCENE_SIZE: Final = (640, 360)
"""Width and height of the scenes in pixels."""
LABELED_SHARE: Final = 0.7
"""Cards of which less is visible are to be ignored, as in the labeled photos."""


def locate_in_scenes(find: FindOutlines, material: SceneMaterial, count: int, seed: int) -> list[LocatedPhoto]:
    """Return what ``find`` locates in ``count`` scenes, always the same for one ``seed``, compared with the cards in them."""
    located = []
    for number in tqdm(range(count), unit="scene", file=sys.stderr, disable=None):
        scene = compose(material, np.random.default_rng((seed, number)), *SCENE_SIZE)
        located.append(compare(labels_of(scene, f"scene-{number}"), find(scene.pixels)))
    return located


def labels_of(scene: Scene, name: str) -> LabeledPhoto:
    """Return the cards of a scene as the labels of a photo; those that are hardly visible as regions to ignore."""
    hidden = [card.corners + PIXEL_CENTER for card in scene.cards if card.visible < LABELED_SHARE]
    cards = [
        LabeledCard.model_validate(
            {
                "corners": (card.corners + PIXEL_CENTER).tolist(),
                "kind": "bare",
                "face": "front" if card.side == "face" else "back",
                "order_known": card.oriented,
                "exact": True,
            }
        )
        for card in scene.cards
        if card.visible >= LABELED_SHARE
    ]
    height, width = scene.pixels.shape[:2]
    return LabeledPhoto(
        file=name,
        width=width,
        height=height,
        scene=name,
        composite=True,
        split="held_out",
        ignore=tuple(tuple((float(x), float(y)) for x, y in polygon) for polygon in (*hidden, *scene.ignored)),
        cards=tuple(cards),
    )
