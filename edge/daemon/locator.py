"""Locates the cards of a frame and leaves out what belongs to the static scene."""

from __future__ import annotations

from edge.recognition.decision import Sighting, Unknown
from edge.tracking.background import StaticBackground
from edge.vision.card import Locate, LocatedCard
from edge.vision.frame import Frame


class CardLocator:
    """Locates cards and learns from their decisions which outlines are background. Used by one thread."""

    def __init__(self, locate: Locate) -> None:
        self._locate = locate
        self._background = StaticBackground()

    def locate(self, frame: Frame) -> tuple[LocatedCard, ...]:
        """Return the cards located in a frame, largest first, without background. Frames come in the order of their capture."""
        located = self._locate(frame.pixels)
        if self._background.is_learning:
            self._background = self._background.with_frame(frame.pixels, located, frame.captured_ns)
        return self._background.foreground(frame.pixels, located)

    def learn(self, sighting: Sighting) -> None:
        """Learn from the decision about a located card whether its outline is a card or may be background."""
        if isinstance(sighting.decision, Unknown):
            self._background = self._background.with_refusal(sighting.quad)
        else:
            self._background = self._background.with_recognition(sighting.quad)

    def forget_background(self) -> None:
        """Start over: report every outline in view until the background is learned again."""
        self._background = StaticBackground()
