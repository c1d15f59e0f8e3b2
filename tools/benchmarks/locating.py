"""Processor time of locating the cards of a frame: the network and the combined locator against the classical one, and a still scene."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from edge.adapters.onnx import OnnxDetector
from edge.daemon.locator import CardLocator
from edge.recognition.locator_model import find_locator_model, open_locator_model
from edge.settings.sections import LocateSection
from edge.vision.card import LocatedCard
from edge.vision.combined_locator import CombinedLocator
from edge.vision.frame import Frame, RgbImage
from edge.vision.locate import LocateSettings, locate_cards
from edge.vision.network_locator import NetworkLocator
from tools.simulation.camera import PRESETS, CardPose, photograph

REPEATS: Final = 15
STILL_FRAMES: Final = 300
SETTLING_FRAMES: Final = 15
"""Frames before those that are measured: the scene is new."""
STILL_FPS: Final = 15.0
NOISE: Final = 3.0


@dataclass(frozen=True, slots=True)
class LocatingFigures:
    """Processor seconds per frame of one scene, and how many ``cards`` each locator finds in it, in the same order."""

    network_s: float
    combined_s: float
    classical_s: float
    cards: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class StillFigures:
    """Processor seconds per frame of a still scene with one card, and the searches in that many frames."""

    seconds: float
    searches: int
    frames: int


def nine_cards(card: RgbImage) -> RgbImage:
    """Photograph a card nine times in the pockets of a page."""
    table = np.full((720, 1280, 3), (96, 84, 70), np.uint8)
    poses = [(card, CardPose(640.0 + 180.0 * column, 360.0 + 225.0 * row, 2.4)) for row in (-1, 0, 1) for column in (-1, 0, 1)]
    return photograph(poses, table, PRESETS["clean"], np.random.default_rng(1))[0]


def measure_locating(scene: RgbImage) -> LocatingFigures:
    """Locate the cards of a scene with all locators in turn, on one core. Raises ``ModelError`` without a model of the locator."""
    cv2.setNumThreads(1)
    settings = LocateSettings()
    with closing(OnnxDetector(open_locator_model(find_locator_model(None)))) as detector:
        network = NetworkLocator(detector, settings)
        combined = CombinedLocator(network)
        seconds = _in_turn(lambda: network.locate(scene), lambda: combined.locate(scene), lambda: locate_cards(scene, settings))
        found = (len(network.locate(scene)), len(combined.locate(scene)), len(locate_cards(scene, settings)))
        return LocatingFigures(seconds[0], seconds[1], seconds[2], found)


def measure_still(scene: RgbImage) -> StillFigures:
    """Show a still scene with the noise of a camera to the daemon's locator, as the default settings run it with the combined locator."""
    cv2.setNumThreads(1)
    random = np.random.default_rng(0)
    noise = [random.normal(0.0, NOISE, scene.shape).astype(np.int16) for _ in range(5)]
    frames = [np.asarray(cv2.add(scene, one, dtype=cv2.CV_8U), dtype=np.uint8) for one in noise]
    searches = 0
    with closing(OnnxDetector(open_locator_model(find_locator_model(None)))) as detector:
        combined = CombinedLocator(NetworkLocator(detector, LocateSettings()))

        def locate(pixels: RgbImage) -> tuple[LocatedCard, ...]:
            nonlocal searches
            searches += 1
            return combined.locate(pixels)

        locator = CardLocator(locate, still_interval_s=LocateSection().still_interval_s)
        began_s = 0.0
        for number in range(SETTLING_FRAMES + STILL_FRAMES):
            if number == SETTLING_FRAMES:
                searches, began_s = 0, time.process_time()
            locator.locate(Frame(frames[number % len(frames)], number, round(number / STILL_FPS * 1e9)))
        return StillFigures((time.process_time() - began_s) / STILL_FRAMES, searches, STILL_FRAMES)


def _in_turn(*jobs: Callable[[], object]) -> tuple[float, ...]:
    """Return the median processor time of each job; they run in turn, so that other load affects them alike."""
    taken: list[list[float]] = [[] for _ in jobs]
    for round_ in range(REPEATS + 1):
        for job, times in zip(jobs, taken, strict=True):
            began_s = time.process_time()
            job()
            if round_:  # the first round warms up
                times.append(time.process_time() - began_s)
    return tuple(statistics.median(times) for times in taken)
