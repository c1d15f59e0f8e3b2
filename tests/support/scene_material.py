"""Material for composed scenes that is drawn here: a few cards, backgrounds, and one photo with a known outline."""

import cv2
import numpy as np

from tests.support.tiny_training import draw
from tools.simulation.scenes.material import KnownOutline, KnownPhoto, SceneMaterial
from tools.simulation.scenes.surfaces import HEIGHT, WIDTH

PHOTO_CARD = np.array([[90.0, 50.0], [190.0, 60.0], [180.0, 200.0], [80.0, 190.0]], dtype=np.float32)


def drawn_photo():
    """Return a photo of a bright card on a dark table, its own top edge red."""
    pixels = np.full((260, 300, 3), 30, np.uint8)
    cv2.fillConvexPoly(pixels, PHOTO_CARD.astype(np.int32), (230, 230, 230))
    cv2.line(pixels, (90, 52), (190, 62), (255, 0, 0), 5)
    return KnownPhoto(pixels, (KnownOutline(PHOTO_CARD, "face", oriented=True, exact=True, flat=True),), ())


def drawn_material():
    """Return three scans and two backgrounds, and the photo for photos and tables."""
    scans = [cv2.resize(draw(seed), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA) for seed in range(3)]
    photo = drawn_photo()
    return SceneMaterial(scans, [draw(seed)[:200] for seed in range(100, 102)], (photo,), (photo,))
