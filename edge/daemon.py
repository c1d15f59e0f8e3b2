"""The loop from frames to events, and the ports it needs."""

from __future__ import annotations

from typing import Protocol

from edge.frame import Frame


class FrameSource(Protocol):
    """A camera or a stand-in; driven by one thread. Every wait is bounded."""

    def open(self) -> None:
        """Open the device or file. Raises ``CameraError`` naming it and the next step."""
        ...

    def read(self, timeout_s: float) -> Frame:
        """Return the next frame. Raises ``CameraError`` when none came in time, the source ended, or delivers garbage."""
        ...

    def close(self) -> None:
        """Release the device; never raises, may be called in any state. ``open`` may follow."""
        ...


class Supervisor(Protocol):
    """Whoever started us and wants to know how we are (systemd, or nobody)."""

    def ready(self) -> None: ...
    def reloading(self) -> None: ...
    def stopping(self) -> None: ...
    def status(self, text: str) -> None: ...
    def alive(self) -> None: ...
