"""What the daemon's loop (``edge.daemon.loop``) meets and does not know: whatever delivers frames, and whoever looks over its shoulder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from edge.camera.capture import CaptureStatus
from edge.publishing.state import HealthState
from edge.tracking.tracker import Outline, TrackId
from edge.vision.frame import Frame


class Camera(Protocol):
    """Hands over the newest frame; ``edge.camera.capture.CameraThread`` in the product."""

    def start(self) -> None:
        """Begin to capture, in the background."""
        ...

    def take(self, timeout_s: float) -> Frame | None:
        """Return the newest frame not taken yet, None when none came in time."""
        ...

    @property
    def over(self) -> bool:
        """Whether no frame will ever come again (the end of a film)."""
        ...

    def status(self) -> CaptureStatus:
        """Return how the source is, without waiting for its driver."""
        ...

    def stop(self, timeout_s: float) -> bool:
        """End, within the given time; False when the driver had to be left behind."""
        ...


class Viewer(Protocol):
    """Whoever looks over the loop's shoulder. No method waits: what cannot be taken at once is left out."""

    @property
    def watched(self) -> bool:
        """Whether somebody watches the camera now; while nobody does, nothing is made for it."""
        ...

    def show(self, frame: Frame, outlines: Sequence[Outline]) -> None:
        """Take a frame and where cards lie in it. The pixels stay unchanged."""
        ...

    def crop(self, track_id: TrackId, jpeg: bytes) -> None:
        """Take the picture of a card about which an event is told next."""
        ...

    def feel(self, health: HealthState) -> None:
        """Take how the scanner is now, several times a second."""
        ...
