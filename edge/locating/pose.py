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
    """One row per quad.

    ``ratio`` is the first side's true length over the second's, ``skew`` the cosine between the two (0 for a real rectangle),
    ``tilt_sine`` the sine of the angle between the card and the sensor plane.

    A quad that no rectangle can show has nan in it.
    """

    ratio: Values
    skew: Values
    tilt_sine: Values


def estimate_poses(quads: NDArray[np.floating], frame: Size, focal_px: float) -> Poses:
    """Return the poses of rectangles seen as ``quads`` (k, 4, 2), in pixels of a frame of size ``frame``."""
    centred = ((quads.astype(np.float64) - (np.array(frame) - 1.0) / 2.0) / focal_px).transpose(1, 2, 0)
    m1, m2, m4, m3 = centred  # the paper's order: across first, then down
    with np.errstate(all="ignore"):
        k2 = _triple(m1, m4, m3) / _triple(m2, m4, m3)
        k3 = _triple(m1, m4, m2) / _triple(m3, m4, m2)
        first = np.stack([*(k2 * m2 - m1), k2 - 1.0])
        second = np.stack([*(k3 * m3 - m1), k3 - 1.0])
        along, down = np.sqrt((first**2).sum(axis=0)), np.sqrt((second**2).sum(axis=0))
        skew = (first * second).sum(axis=0) / (along * down)
        facing = (first[0] * second[1] - first[1] * second[0]) / (along * down * np.sqrt(np.maximum(1.0 - skew**2, 1e-12)))
        return Poses(ratio=along / down, skew=skew, tilt_sine=np.sqrt(np.clip(1.0 - facing**2, 0.0, 1.0)))


def _triple(a: Values, b: Values, c: Values) -> Values:
    """Return (a x b) . c of points in the plane at depth 1, (2, k) each: twice the area of their triangle."""
    return np.asarray((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]), dtype=np.float64)
