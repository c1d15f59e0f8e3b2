"""Finds one known card in a photo by the features of its reference image, whether or not a locator outlines the card.

Features are those of Lowe, "Distinctive image features from scale-invariant keypoints" (2004); their homography is found by MAGSAC++
(Barath et al., 2020). A few dozen features of a frame belong to the cards of a game, so that an outline is a place to look at closer and
not yet the card.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.card import CARD_SIZE, Quad
from edge.vision.frame import RgbImage
from edge.vision.pose import is_convex

MIN_INLIERS: Final = 12
"""Least number of features that one homography must explain."""
_MIN_FEATURES: Final = 50
_RATIO: Final = 0.8
"""Largest distance of a feature's nearest neighbor relative to the second nearest (Lowe, 2004, section 7.1)."""
_MAX_FEATURES: Final = 4000
_CONTRAST: Final = 0.02
_MAX_ERROR_PX: Final = 4.0
_MIN_SIDE_PX: Final = 32.0


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """The features of an image: positions (k, 2) in pixels and descriptors (k, 128), float32."""

    points: NDArray[np.float32]
    descriptors: NDArray[np.float32]

    @classmethod
    def of(cls, pixels: RgbImage) -> Features:
        """Return at most 4000 features of an image, RGB uint8."""
        detector = cv2.SIFT.create(nfeatures=_MAX_FEATURES, contrastThreshold=_CONTRAST)
        keypoints, descriptors = detector.detectAndCompute(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), None)
        points = np.array([keypoint.pt for keypoint in keypoints], dtype=np.float32).reshape(-1, 2)
        return cls(points, np.empty((0, 128), dtype=np.float32) if descriptors is None else descriptors.astype(np.float32))

    @property
    def suffice(self) -> bool:
        """Whether there are enough of them for a card to be found by."""
        return len(self.points) >= _MIN_FEATURES


def card_features(reference: RgbImage) -> Features:
    """Return the features of an image of an upright card, RGB uint8 of any size, for ``find_card``."""
    return Features.of(np.asarray(cv2.resize(reference, CARD_SIZE, interpolation=cv2.INTER_CUBIC), dtype=np.uint8))


def find_card(photo: Features, card: Features) -> Quad | None:
    """Return where in a photo a card is, from its own top-left corner; None if it is not found. The features of both must suffice."""
    pairs = cv2.BFMatcher().knnMatch(card.descriptors, photo.descriptors, k=2)
    matches = [nearest for nearest, second in pairs if nearest.distance < _RATIO * second.distance]
    if len(matches) < MIN_INLIERS:
        return None
    source = card.points[[match.queryIdx for match in matches]]
    target = photo.points[[match.trainIdx for match in matches]]
    homography, inliers = cv2.findHomography(source, target, cv2.USAC_MAGSAC, _MAX_ERROR_PX)
    found = homography is not None and int(inliers.sum()) >= MIN_INLIERS
    return _outline(np.asarray(homography, dtype=np.float64)) if found else None


def _outline(homography: NDArray[np.float64]) -> Quad | None:
    """Return the card's corners under a homography; None unless they are a convex outline of one orientation and of some size."""
    right, bottom = CARD_SIZE.width - 0.5, CARD_SIZE.height - 0.5
    corners = np.array([[[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]]])
    behind = np.concatenate([corners[0], np.ones((4, 1))], axis=1) @ homography[2]
    quad = cv2.perspectiveTransform(corners, homography)[0]
    shortest = np.linalg.norm(np.roll(quad, -1, axis=0) - quad, axis=1).min()
    if not is_convex(quad[None]).all() or behind.min() <= 0.0 or shortest < _MIN_SIDE_PX:
        return None
    return Quad.from_array(quad)
