"""Synthesize cards that do not exist from known ones, so that a network trained on few scans generalizes to other cards."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge.vision.card import CARD_SIZE
from edge.vision.frame import RgbImage
from tools.simulation.card_images import CardImages


def concatenate(parts: Sequence[CardImages]) -> CardImages:
    """Return all cards of ``parts``; artwork groups of different parts stay distinct."""
    offsets = np.cumsum([0, *(int(part.groups.max()) + 1 for part in parts[:-1])])
    return CardImages(
        card_ids=tuple(card_id for part in parts for card_id in part.card_ids),
        card_sets=tuple(card_set for part in parts for card_set in part.card_sets),
        pixels=np.concatenate([part.pixels for part in parts]),
        groups=np.concatenate([part.groups + offset for part, offset in zip(parts, offsets, strict=True)]),
    )


def background_as_card(backgrounds: Sequence[RgbImage], rng: np.random.Generator) -> RgbImage:
    """Return a random background resized to ``CARD_SIZE``: an image that shows no card."""
    background = backgrounds[int(rng.integers(len(backgrounds)))]
    return np.ascontiguousarray(cv2.resize(background, tuple(CARD_SIZE), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def any_background(cards: CardImages, backgrounds: Sequence[RgbImage], rng: np.random.Generator) -> RgbImage:
    """Return an image to lie around a card: a background or, with probability 0.3, another card."""
    if rng.random() < 0.3:
        return np.asarray(cards.pixels[int(rng.integers(len(cards.pixels)))], dtype=np.uint8)
    return backgrounds[int(rng.integers(len(backgrounds)))]


def compose(card: RgbImage, other: RgbImage, rng: np.random.Generator) -> RgbImage:
    """Return ``card`` with its artwork, or a random box of at least 12 % of its area, replaced by that of ``other``."""
    height, width = card.shape[:2]
    if rng.random() < 0.5:
        left, right, top, bottom = 0.05, 0.95, 0.08, 0.52
    else:
        box_width, box_height = rng.uniform(0.4, 1.0), rng.uniform(0.3, 0.7)
        left, top = rng.uniform(0.0, 1.0 - box_width), rng.uniform(0.0, 1.0 - box_height)
        right, bottom = left + box_width, top + box_height
    rows, columns = slice(int(top * height), int(bottom * height)), slice(int(left * width), int(right * width))
    made: RgbImage = card.copy()
    made[rows, columns] = other[rows, columns]
    return made


def recolor(card: RgbImage, rng: np.random.Generator) -> RgbImage:
    """Return ``card`` with its hue rotated by more than a camera would shift it."""
    hsv = cv2.cvtColor(card, cv2.COLOR_RGB2HSV)
    hsv[:, :, 0] = (hsv[:, :, 0].astype(np.int32) + int(rng.integers(25, 155))) % 180
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), dtype=np.uint8)
