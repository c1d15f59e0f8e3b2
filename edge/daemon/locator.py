"""Locates the cards of a frame when it has changed, and leaves out what cannot be recognized."""

from __future__ import annotations

from edge.recognition.decision import Sighting, Unknown
from edge.tracking.background import StaticBackground
from edge.tracking.still_scene import StillPolicy, StillScene, look_at
from edge.vision.card import Locate, LocatedCard
from edge.vision.frame import Frame


class CardLocator:
    """Locates cards and learns from their decisions which outlines are background. Used by one thread.

    ``still_interval_s`` is the time between two searches of a still scene; 0: every frame is searched.
    """

    def __init__(self, locate: Locate, *, still_interval_s: float = 0.0) -> None:
        self._locate = locate
        self._still = StillPolicy(interval_s=still_interval_s)
        self._scene = StillScene(self._still)
        self._located: tuple[LocatedCard, ...] = ()
        self._background = StaticBackground()

    def locate(self, frame: Frame) -> tuple[LocatedCard, ...]:
        """Return the faces of cards in a frame, largest first, without background. Frames come in the order of their capture.

        A card that lies face down is left out: it can neither be recognized nor is it an unknown card.
        """
        self._search_if_due(frame)
        if self._background.is_learning:
            self._background = self._background.with_frame(frame.pixels, self._located, frame.captured_ns)
        return self._background.foreground(frame.pixels, self._located)

    def learn(self, sighting: Sighting) -> None:
        """Learn from the decision about a located card whether its outline is a card or may be background."""
        if isinstance(sighting.decision, Unknown):
            self._background = self._background.with_refusal(sighting.quad)
        else:
            self._background = self._background.with_recognition(sighting.quad)

    def forget_background(self) -> None:
        """Start over: search the next frame, and report every outline in view until the background is learned again."""
        self._scene = StillScene(self._still)
        self._background = StaticBackground()

    def _search_if_due(self, frame: Frame) -> None:
        if self._still.interval_s <= 0.0:
            self._located = _faces(self._locate(frame.pixels))
            return
        look = look_at(frame.pixels)
        if self._scene.is_due(look, frame.captured_ns):
            self._located = _faces(self._locate(frame.pixels))
            self._scene = self._scene.with_search(look, frame.captured_ns, len(self._located))


def _faces(located: tuple[LocatedCard, ...]) -> tuple[LocatedCard, ...]:
    return tuple(card for card in located if not card.is_back)
