"""A binder page with nine cards in front of the camera: each is published once, also while the page moves. The outlines are exact."""

from itertools import count

import cv2
import numpy as np
import pytest

from edge.adapters.onnx import OnnxEmbedder
from edge.app.index import load_gallery
from edge.bundles.bundle import open_bundle
from edge.daemon.locator import CardLocator
from edge.recognition.model import open_model
from edge.recognition.recognizer import Recognizer
from edge.settings.sections import Settings
from edge.tracking.tracker import ChangeKind, Tracker
from edge.vision.card import CARD_SIZE, LocatedCard, Quad
from edge.vision.frame import Frame
from tests.support.small_scanner import make_small_scanner

S = 1_000_000_000
FPS = 15.0
SIZE = (640, 360)
CARD_PX, PITCH_PX = (70.0, 98.0), (77.0, 107.0)


@pytest.fixture(scope="module")
def recognition(tmp_path_factory):
    """The images of nine indexed cards, and a recognizer that knows them."""
    scanner = make_small_scanner(tmp_path_factory.mktemp("binder"), cards=9)
    embedder = OnnxEmbedder(open_model(scanner.model), threads=1)
    bundle = open_bundle(scanner.index)
    yield scanner.images, Recognizer(embedder, load_gallery(bundle, Settings()))
    embedder.close()


def page_at(x, y, turn_deg=0.0):
    """The outlines of nine pockets around a center."""
    turn = np.radians(turn_deg)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * np.array(CARD_PX) / 2
    places = [np.array([column, row]) * PITCH_PX for row in (-1, 0, 1) for column in (-1, 0, 1)]
    return [Quad.from_array((half + place) @ rotation.T + np.array([x, y])) for place in places]


class Scanner:
    """Runs the stages from frame to change on pages; recognition takes three frames."""

    def __init__(self, images, recognizer, **locator):
        self.images, self.recognizer = images, recognizer
        self.tracker = Tracker(map("t{}".format, count()).__next__)
        self.locator = CardLocator(lambda _: self.located, **locator)
        self.frames, self.pending, self.changes, self.asked = 0, [], [], []
        self.noise = np.random.default_rng(0).normal(0, 3, (SIZE[1], SIZE[0], 3)).astype(np.int16)

    def show(self, quads):
        pixels = np.full((SIZE[1], SIZE[0], 3), (70, 75, 90), np.uint8)
        for image, quad in zip(self.images.values(), quads, strict=False):
            corners = np.array([[0, 0], [CARD_SIZE[0], 0], CARD_SIZE, [0, CARD_SIZE[1]]], np.float32) - 0.5
            warp = cv2.getPerspectiveTransform(corners, quad.to_array())
            cv2.warpPerspective(image, warp, SIZE, dst=pixels, borderMode=cv2.BORDER_TRANSPARENT)
        pixels = cv2.add(pixels, np.roll(self.noise, 17 * self.frames, axis=0), dtype=cv2.CV_8U)
        in_view = [quad for quad in quads if (quad.to_array() >= 0).all() and (quad.to_array() < SIZE).all()]
        self.located = tuple(LocatedCard(quad, (0, 180), 100.0) for quad in in_view)
        self.frame(Frame(pixels, self.frames, round(self.frames / FPS * S)))

    def frame(self, frame):
        while self.pending and self.pending[0][0] <= self.frames:
            _, requests, sightings, captured_ns = self.pending.pop(0)
            for request, sighting in zip(requests, sightings, strict=True):
                self.changes += self.tracker.conclude(request.track_id, sighting.decision, sighting.quad, captured_ns)
        seen = self.tracker.observe(self.locator.locate(frame), frame.captured_ns)
        self.changes += seen.changes
        self.asked.append(len(seen.requests))
        if seen.requests:
            sightings = self.recognizer.recognize(frame.pixels, [request.located for request in seen.requests])
            self.pending.append((self.frames + 3, seen.requests, sightings, frame.captured_ns))
        self.frames += 1

    def published(self, kind):
        return [change.decision.best.card_id for change in self.changes if change.kind is kind]


def moved_in(start, end, frames):
    return [(start[0] + (end[0] - start[0]) * k / frames, start[1] + (end[1] - start[1]) * k / frames) for k in range(frames)]


PATHS = {
    "laid down and taken away": [(320, 180)] * 15,
    "held in a hand": [(320 + 9 * np.sin(k / 3), 180 + 6 * np.cos(k / 2)) for k in range(20)],
    "carried through the frame": moved_in((-110, 180), (750, 180), 34),
}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_nine_cards_are_identified_and_removed_once_each(recognition, path):
    images, recognizer = recognition
    scanner = Scanner(images, recognizer, still_interval_s=1.0)
    for number, (x, y) in enumerate(path):
        scanner.show(page_at(x, y, turn_deg=3 * np.sin(number / 10)))
    for _ in range(round(2.8 * FPS)):
        scanner.show([])
    assert sorted(scanner.published(ChangeKind.IDENTIFIED)) == sorted(images)
    assert sorted(scanner.published(ChangeKind.REMOVED)) == sorted(images)
    assert len(scanner.changes) == 2 * len(images)
