"""What flat rectangle a quad shows: its true aspect ratio, how square its corners are, how far it is tilted.

Zhang and He, "Whiteboard scanning and image enhancement" (Digital Signal Processing 17, 2007), equations 11 to 20: the
four corners give the directions of the rectangle's two sides in space once the focal length is assumed and the
principal point is taken at the frame's centre. The estimate gets shakier the smaller and the more tilted the card is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge.card import Size

Values: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Poses:
    """One row per quad: ``ratio`` is the first side's true length over the second's, ``skew`` the cosine between the two
    (0 for a real rectangle), ``tilt_sine`` the sine of the angle between the card and the sensor plane.

    A quad that no rectangle can show has nan in it.
    """

    ratio: Values
    skew: Values
    tilt_sine: Values


def estimate_poses(quads: NDArray[np.floating], frame: Size, focal_px: float) -> Poses:
    """Return the poses of rectangles seen as ``quads`` (k, 4, 2), in pixels of a frame of size ``frame``."""
    centred = (quads.astype(np.float64) - (np.array(frame) - 1.0) / 2.0) / focal_px
    m1, m2, m4, m3 = (np.concatenate([centred[:, corner], np.ones((len(quads), 1))], axis=1) for corner in range(4))
    with np.errstate(all="ignore"):
        k2 = _dot(np.cross(m1, m4), m3) / _dot(np.cross(m2, m4), m3)
        k3 = _dot(np.cross(m1, m4), m2) / _dot(np.cross(m3, m4), m2)
        first, second = k2[:, None] * m2 - m1, k3[:, None] * m3 - m1
        long, short = np.sqrt(_dot(first, first)), np.sqrt(_dot(second, second))
        normal = np.cross(first, second)
        facing = np.abs(normal[:, 2]) / np.sqrt(_dot(normal, normal))
        return Poses(ratio=long / short, skew=_dot(first, second) / (long * short), tilt_sine=np.sqrt(np.maximum(1.0 - facing**2, 0.0)))


def _dot(first: Values, second: Values) -> Values:
    return np.asarray(np.einsum("ij,ij->i", first, second), dtype=np.float64)
