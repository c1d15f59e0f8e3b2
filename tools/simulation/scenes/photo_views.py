"""Views of real photos with known outlines: any part, turned, tilted, in other light, some of the cards replaced by scans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.vision.card import common_area
from tools.simulation.camera import resize
from tools.simulation.effects import FloatImage
from tools.simulation.scenes.compose import MAX_CARD_PX, REACH, Scene, SceneCard, finished, is_reasonable, project
from tools.simulation.scenes.items import rounded_mask
from tools.simulation.scenes.material import KnownOutline, KnownPhoto, SceneMaterial
from tools.simulation.scenes.surfaces import HEIGHT, WIDTH, any_surface, crop_of

LEAST_PX: Final = 17.0


def photo_view(photo: KnownPhoto, material: SceneMaterial, rng: np.random.Generator, width: int, height: int) -> Scene:
    """Return a random view of a photo, ``width`` x ``height`` pixels, with the cards in it."""
    homography = _any_view(photo, rng, width, height)
    pixels = _warped(photo, homography, material, rng, width, height)
    replace = float(rng.choice([0.0, 0.0, 0.3, 0.8]))
    cards = []
    for card in photo.cards:
        if not is_reasonable(homography, card.corners, REACH * max(width, height)):
            continue
        corners = project(homography, card.corners).astype(np.float32)
        inside = share_inside(corners, width, height)
        if inside <= 0.0:
            continue
        side, oriented = card.side, card.oriented
        if card.flat and card.exact and rng.random() < replace:
            surface = any_surface(material.scans, material.pictures, rng)
            pixels = _replaced(pixels, corners, surface.pixels, rng)
            side, oriented = surface.side, surface.oriented
        cards.append(SceneCard(corners, side, oriented, inside * (1.0 if card.flat else 0.85)))
    ignored = tuple(
        project(homography, polygon).astype(np.float32)
        for polygon in photo.ignored
        if is_reasonable(homography, polygon, 100.0 * REACH * max(width, height))
    )
    return Scene(finished(pixels, rng), tuple(cards), ignored)


def share_inside(corners: NDArray[np.float32], width: int, height: int) -> float:
    """Return the share of a convex quad that lies in a frame."""
    frame = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]], dtype=np.float32)
    area = float(cv2.contourArea(corners))
    return min(1.0, common_area(corners, frame) / area) if area > 0.0 else 0.0


def _card_height(card: KnownOutline) -> float:
    return float(np.linalg.norm(card.corners[3] - card.corners[0]))


def _any_view(photo: KnownPhoto, rng: np.random.Generator, width: int, height: int) -> NDArray[np.float64]:
    """Return a homography from the photo to the view: the whole photo, or a part in which a card has a random size."""
    rows, columns = photo.pixels.shape[:2]
    whole = min(width / columns, height / rows)
    middle, scale = np.array([columns / 2.0, rows / 2.0]), whole * float(rng.uniform(0.85, 1.1))
    if photo.cards and rng.random() < 0.7:
        focus = photo.cards[int(rng.integers(len(photo.cards)))]
        tall = _card_height(focus)
        largest = min(MAX_CARD_PX * 0.8, tall * 2.0)
        smallest = max(LEAST_PX, min(tall * whole, largest * 0.6))
        scale = float(np.exp(rng.uniform(np.log(smallest), np.log(max(largest, smallest + 1.0))))) / tall
        middle = focus.corners.mean(axis=0) + rng.uniform(-0.45, 0.45, 2) * (width / scale, height / scale)
    angle = np.radians(rng.normal(0.0, 8.0) if rng.random() < 0.55 else rng.uniform(0.0, 360.0))
    stretch = float(np.exp(rng.normal(0.0, 0.06)))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([scale * stretch, scale / stretch])
    affine = np.eye(3)
    affine[:2, :2], affine[:2, 2] = turn, np.array([width / 2.0, height / 2.0]) - turn @ middle
    bend = np.eye(3)
    if rng.random() < 0.6:
        bend[2, :2] = np.clip(rng.normal(0.0, 0.1, 2), -0.25, 0.25) / max(width, height)
        shift = np.array([[1.0, 0.0, width / 2.0], [0.0, 1.0, height / 2.0], [0.0, 0.0, 1.0]])
        bend = shift @ bend @ np.linalg.inv(shift)
    return np.asarray(bend @ affine, dtype=np.float64)


def _warped(
    photo: KnownPhoto, homography: NDArray[np.float64], material: SceneMaterial, rng: np.random.Generator, width: int, height: int
) -> FloatImage:
    source, to_view = photo.pixels, homography
    scale = float(np.sqrt(abs(np.linalg.det(homography[:2, :2]))))
    if scale < 0.7:
        share = min(1.0, scale * 1.25)
        size = (max(8, round(source.shape[1] * share)), max(8, round(source.shape[0] * share)))
        grown = np.array([[source.shape[1] / size[0], 0.0, 0.0], [0.0, source.shape[0] / size[1], 0.0], [0.0, 0.0, 1.0]])
        grown[:2, 2] = (np.diag(grown)[:2] - 1.0) / 2.0
        source, to_view = resize(source, size), homography @ grown
    seen = cv2.warpPerspective(source, to_view, (width, height), flags=cv2.INTER_LINEAR)
    known = cv2.warpPerspective(np.full(source.shape[:2], 255, np.uint8), to_view, (width, height), flags=cv2.INTER_NEAREST) > 0
    if known.all():
        return seen.astype(np.float32)
    around = crop_of(material.pictures, width, height, rng)
    return np.where(known[:, :, None], seen, around).astype(np.float32)


def _replaced(pixels: FloatImage, corners: NDArray[np.float32], card: NDArray[np.uint8], rng: np.random.Generator) -> FloatImage:
    """Return the view with another card in the place of one, about as bright and as hazy as that one."""
    height, width = pixels.shape[:2]
    low = np.maximum(np.floor(corners.min(axis=0)) - 1, 0).astype(int)
    high = np.minimum(np.ceil(corners.max(axis=0)) + 2, (width, height)).astype(int)
    if (high - low < 4).any():
        return pixels
    tall = float(np.linalg.norm(corners[3] - corners[0]))
    tall = min(tall, float(HEIGHT))
    size = (max(6, round(tall * WIDTH / HEIGHT)), max(8, round(tall)))
    small = cv2.resize(card, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    square = np.array([[-0.5, -0.5], [size[0] - 0.5, -0.5], [size[0] - 0.5, size[1] - 0.5], [-0.5, size[1] - 0.5]], dtype=np.float32)
    move = cv2.getPerspectiveTransform(square, (corners - low).astype(np.float32))
    view = (int(high[0] - low[0]), int(high[1] - low[1]))
    laid = cv2.warpPerspective(small, move, view, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpPerspective(rounded_mask(*size, max(0.5, 0.045 * size[0])), move, view, flags=cv2.INTER_LINEAR)
    part = (slice(low[1], high[1]), slice(low[0], high[0]))
    under = pixels[part]
    weight = mask[:, :, None]
    total = max(float(mask.sum()), 1.0)
    before, after = float((under * weight).sum()) / (3 * total), float((laid * weight).sum()) / (3 * total)
    haze = float(rng.uniform(0.0, 0.25))
    gain = np.clip((before + 40.0) / (after + 40.0), 0.5, 1.4)
    mixed = laid * gain * (1.0 - haze) + under * haze
    pixels = pixels.copy()
    pixels[part] = under * (1.0 - weight) + mixed * weight
    return pixels


def any_photo_view(photos: Sequence[KnownPhoto], material: SceneMaterial, rng: np.random.Generator, width: int, height: int) -> Scene:
    """Return a view of a random photo."""
    return photo_view(photos[int(rng.integers(len(photos)))], material, rng, width, height)
