"""Ports of the daemon's loop: what delivers frames, and what displays them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edge.camera.capture import CaptureStatus
from edge.publishing.state import HealthState
from edge.tracking.tracker import Outline, TrackId
from edge.vision.frame import Frame


class Camera(Protocol):
    """Delivers the newest frame of a frame source. ``edge.camera.capture.CameraThread`` implements it."""

    def start(self) -> None:
        """Start to capture in the background."""
        ...

    def get_frame(self, timeout_s: float) -> Frame | None:
        """Return the newest frame that was not returned before, None if none arrives within ``timeout_s``.

        Raises ``CameraError`` if the source failed and does not recover.
        """
        ...

    @property
    def over(self) -> bool:
        """Whether the source has ended and its last frame was returned."""
        ...

    def status(self) -> CaptureStatus:
        """Return the state of the source, without waiting for its driver."""
        ...

    def stop(self, timeout_s: float) -> bool:
        """Stop within ``timeout_s``; return False if the driver did not return and was abandoned."""
        ...


class Viewer(Protocol):
    """Receives frames, crops and health for display. Called by the daemon's loop; no method may block."""

    @property
    def watched(self) -> bool:
        """Whether anyone is watching the camera; ``on_frame`` is called only then."""
        ...

    def on_frame(self, frame: Frame, outlines: Sequence[Outline]) -> None:
        """Receive a frame and the outlines of the cards in it. Its pixels are not modified afterwards."""
        ...

    def on_crop(self, track_id: TrackId, jpeg: bytes) -> None:
        """Receive the image of a card, before the event about it."""
        ...

    def on_health(self, health: HealthState) -> None:
        """Receive the current health, several times a second."""
        ...
