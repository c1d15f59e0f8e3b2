"""Whoever started us, and whether we are alive: camera, recogniser and publisher must each have finished work lately.

Finished work, not running threads and not a timer, is what the supervisor's watchdog is fed with. A broker that is away and a camera that
is unplugged are no reason to restart: their threads go on working. A driver call that never returns is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from edge.camera.capture import CaptureState, CaptureStatus
from edge.publishing.sink import SinkHealth

_NS_PER_S: Final = 1_000_000_000


class Supervisor(Protocol):
    """Whoever started us and wants to know how we are (systemd, or nobody). No method waits or raises."""

    def ready(self) -> None:
        """Start-up, or a reload, is complete."""
        ...

    def reloading(self) -> None:
        """Say that settings and bundle are being read again; ``ready`` follows."""
        ...

    def stopping(self) -> None:
        """We are on our way out."""
        ...

    def status(self, text: str) -> None:
        """Say in one line how we are."""
        ...

    def alive(self) -> None:
        """Camera, recogniser and publisher each finished work lately."""
        ...


class NoSupervisor:
    """Nobody started us who wants to know."""

    def ready(self) -> None:
        """Nobody to tell."""

    def reloading(self) -> None:
        """Nobody to tell."""

    def stopping(self) -> None:
        """Nobody to tell."""

    def status(self, text: str) -> None:
        """Nobody to tell."""

    def alive(self) -> None:
        """Nobody to tell."""


@dataclass(frozen=True, slots=True)
class WatchdogBounds:
    """How old the last finished work may be. The supervisor's own period comes on top."""

    camera_s: float = 30.0
    """Opening a camera and the longest back-off together take less."""
    recogniser_s: float = 10.0
    publisher_s: float = 60.0
    """Resolving a name and connecting to a host that does not answer take less."""


class Watchdog:
    """Feeds the supervisor's watchdog as long as all three work. Call ``feed`` often."""

    def __init__(self, supervisor: Supervisor, bounds: WatchdogBounds | None = None) -> None:
        self._supervisor = supervisor
        self._bounds = bounds or WatchdogBounds()
        self._camera: CaptureStatus | None = None
        self._camera_ns = 0

    def feed(self, now_ns: int, camera: CaptureStatus, recogniser_ns: int, publisher: SinkHealth) -> tuple[str, ...]:
        """Tell the supervisor that we are alive, if we are; return the names of the parts that hang."""
        self._note_camera(now_ns, camera)
        bounds = self._bounds
        hanging = []
        if now_ns - self._camera_ns > bounds.camera_s * _NS_PER_S:
            hanging.append("camera")
        if now_ns - recogniser_ns > bounds.recogniser_s * _NS_PER_S:
            hanging.append("recogniser")
        if not publisher.alive or now_ns - publisher.progress_ns > bounds.publisher_s * _NS_PER_S:
            hanging.append("publisher")
        if not hanging:
            self._supervisor.alive()
        return tuple(hanging)

    def _note_camera(self, now_ns: int, camera: CaptureStatus) -> None:
        """Work of the camera is a frame, or an attempt to open it that ended by itself and not because its driver hung."""
        before = self._camera
        self._camera = camera
        if (
            before is None
            or camera.state in {CaptureState.ENDED, CaptureState.STOPPED}
            or camera.frames > before.frames
            or (camera.reopens > before.reopens and camera.hung_calls == before.hung_calls)
        ):
            self._camera_ns = now_ns
