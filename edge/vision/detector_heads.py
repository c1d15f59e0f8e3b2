"""From the heads of the detector's network, which a compiled network returns, to the maps of the detector.

The last operations of the network are not for an NPU: sigmoids lose precision there, and it has no roots. They are ``decoded`` in
``tools.network.locator``, which the ONNX file contains. There the corners are encoded so that they do not change when a card is turned by
half: as middles of the diagonals, and as squares of the half diagonals, taken as complex numbers.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from edge.vision.card import CARD_HEIGHT_MM, CARD_WIDTH_MM
from edge.vision.detector import Floats

HALF_DIAGONALS: Final = np.exp(1j * np.arctan2(-CARD_HEIGHT_MM, np.array([-CARD_WIDTH_MM, CARD_WIDTH_MM])))[:, None, None]
"""Directions from the center of an upright card to its top-left and its top-right corner."""
CERTAINTY: Final = 6.0
"""Logit of the order for a direction that points exactly to the middle of the first side."""


class Heads(NamedTuple):
    """Outputs of the heads, float32 (n, channels, h, w).

    ``heat`` (2) and ``visible`` (1) are logits, ``corners`` (8) x and y of the encoded half diagonals and of the middles, ``order`` (2) is
    the direction from the center of the card to the middle of its own top edge.
    """

    heat: Floats
    corners: Floats
    order: Floats
    visible: Floats


def maps_of_heads(heads: Heads) -> Heads:
    """Return heat map, corners (8), order (1) and visible share as ``DetectorMaps`` has them."""
    points = heads.corners[:, 0::2] + 1j * heads.corners[:, 1::2]
    half = np.sqrt(points[:, :2] * np.abs(points[:, :2])) * HALF_DIAGONALS
    # the first two corners are clockwise, whichever end of the second diagonal the root gives
    half[:, 1] *= np.where((half[:, 0].conj() * half[:, 1]).imag < 0.0, -1.0, 1.0)
    corners = np.concatenate([points[:, 2:] + half, points[:, 2:] - half], axis=1)
    up = corners[:, :2].sum(axis=1) - corners[:, 2:].sum(axis=1)
    agreement = ((heads.order[:, 0] - 1j * heads.order[:, 1]) * up).real / np.maximum(np.abs(up), 1e-6)
    pairs = np.stack([corners.real, corners.imag], axis=2).reshape(heads.corners.shape)
    order = _sigmoid(CERTAINTY * agreement[:, None])
    return Heads(_sigmoid(heads.heat), pairs.astype(np.float32), order, _sigmoid(heads.visible))


def _sigmoid(logits: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits, -60.0, 60.0))), dtype=np.float32)
