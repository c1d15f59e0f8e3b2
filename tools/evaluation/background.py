"""Fit the knowledge about layouts at large to layouts drawn at random.

For every patch of a card the layout's share is known, since other cards of the layout are drawn too: the mean correlation of the patch with
theirs. A logistic model learns to predict it from the card alone (``edge.recognition.patches.Background``), by ridge-penalized maximum
likelihood with these shares as soft labels (Newton's method; Bishop, "Pattern Recognition and Machine Learning", 2006, 4.3.3).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.recognition.patches import PLACES, Background, appearance, patch_agreement
from edge.recognition.verification import PreparedReference, signature_of
from edge.vision.frame import RgbImage
from tools.drawing.random_layouts import random_layout

LAYOUTS: Final = 300
CARDS_PER_LAYOUT: Final = 4
_RIDGE: Final = 3.0
_STEPS: Final = 30


def drawn_layouts(count: int = LAYOUTS, *, seed: int) -> Iterable[list[RgbImage]]:
    """Yield the cards of ``count`` random layouts, a list per layout."""
    for number in range(count):
        layout = random_layout(seed + number)
        yield [layout.draw(card) for card in range(CARDS_PER_LAYOUT)]


def fit_background(layouts: Iterable[list[RgbImage]]) -> Background:
    """Return the background learned from the cards of each layout; at least two cards per layout."""
    designs, shares = [], []
    for cards in layouts:
        patches = [PreparedReference(signature_of(card)).patches for card in cards]
        designs.append(_design(appearance(patches[0])))
        shares.append(patch_agreement(patches[0], np.stack(patches[1:])).mean(axis=0))
    solution = _fit(np.concatenate(designs), np.clip(np.concatenate(shares), 0.0, 1.0).astype(np.float64))
    places = int(PLACES.max()) + 1
    return Background(solution[:places].astype(np.float32), solution[places:].astype(np.float32))


def _design(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the place of each patch as 0 and 1, and its appearance, float64 (48, places + features)."""
    return np.concatenate([np.eye(int(PLACES.max()) + 1)[PLACES], features.astype(np.float64)], axis=1)


def _fit(design: NDArray[np.float64], share: NDArray[np.float64]) -> NDArray[np.float64]:
    solution = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        predicted = 1.0 / (1.0 + np.exp(-design @ solution))
        gradient = design.T @ (predicted - share) + _RIDGE * solution
        curvature = (design.T * (predicted * (1.0 - predicted))) @ design + _RIDGE * np.eye(design.shape[1])
        step = np.linalg.solve(curvature, gradient)
        solution -= step
        if np.abs(step).max() < 1e-9:
            break
    return solution
