"""The same drawing in other colors, as games print it: a subject in another color, or the frame and all in those of another kind."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.frame import RgbImage

_HUES: Final = 180  # OpenCV's hues of 8-bit images: half degrees
_LEAST_TURN: Final = 30
_BAND: Final = 20.0  # half width of the hues that are one color
_SOFT: Final = 8.0


def recolor(card: RgbImage, rng: np.random.Generator) -> RgbImage:
    """Return ``card`` with its strongest color, or in half of the cases all colors, turned by 60 to 300 degrees of hue."""
    hsv = cv2.cvtColor(card, cv2.COLOR_RGB2HSV)
    hue = hsv[..., 0].astype(np.float32)
    strength = hsv[..., 1].astype(np.float32) * hsv[..., 2]
    turn = int(rng.integers(_LEAST_TURN, _HUES - _LEAST_TURN + 1))
    one_color = bool(rng.random() < 0.5)
    hsv[..., 0] = (hsv[..., 0].astype(np.int32) + turn) % _HUES
    turned = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), dtype=np.uint8)
    if not one_color:
        return turned
    share = _near(hue, _strongest(hue, strength))[..., np.newaxis]
    return np.asarray(np.rint(card + share * (turned.astype(np.float32) - card)), dtype=np.uint8)


def _strongest(hue: NDArray[np.float32], strength: NDArray[np.float32]) -> float:
    """Return the hue of most of the color, half degrees."""
    histogram = np.bincount(hue.astype(np.int64).ravel(), weights=strength.ravel(), minlength=_HUES)
    around = np.convolve(np.concatenate([histogram, histogram, histogram]), np.ones(int(_BAND)), mode="same")[_HUES : 2 * _HUES]
    return float(np.argmax(around))


def _near(hue: NDArray[np.float32], center: float) -> NDArray[np.float32]:
    """Return 1 for hues of the band about ``center``, falling to 0 outside of it."""
    apart = np.abs((hue - center + _HUES / 2) % _HUES - _HUES / 2)
    return np.asarray(np.clip((_BAND + _SOFT - apart) / _SOFT, 0.0, 1.0), dtype=np.float32)
