"""Cameras that fail: one small class per known failure. Each is a ``FrameSource``; ``recovers_after`` openings it works."""

import threading

from edge.errors import CameraError, CameraFrozenError
from tests.support.stand_ins import ListSource, noise_pictures


class FailingCamera(ListSource):
    """Delivers ``good`` frames, then fails in its own way; made anew for each opening by the class itself, see ``factory``."""

    def __init__(self, *, good: int = 3):
        super().__init__(noise_pictures(64), loop=True)
        self._good = good

    def read(self, timeout_s):
        if self._sequence >= self._good:
            return self.fail(timeout_s)
        return super().read(timeout_s)

    def fail(self, timeout_s):
        raise NotImplementedError


class CameraFreezes(FailingCamera):
    """The driver goes on and hands out its last picture."""

    def fail(self, timeout_s):
        self._pictures = self._pictures[:1]
        return super(FailingCamera, self).read(timeout_s)


class CameraStalls(FailingCamera):
    """No further picture within the bound, honestly told."""

    def fail(self, timeout_s):
        raise CameraFrozenError("no picture for 3 s")


class CameraDisconnects(FailingCamera):
    """The cable is pulled."""

    def fail(self, timeout_s):
        raise CameraError("the camera is gone")


class CameraIsBlack(FailingCamera):
    """A dead sensor: zeros."""

    def fail(self, timeout_s):
        self._pictures = [picture * 0 for picture in self._pictures[:1]]
        return super(FailingCamera, self).read(timeout_s)


class CameraChangesSize(FailingCamera):
    """Rows of another picture size in between."""

    def fail(self, timeout_s):
        self._pictures = [picture[:-2].copy() for picture in self._pictures]
        return super(FailingCamera, self).read(timeout_s)


class CameraBreaksADriver(FailingCamera):
    """The driver raises what nobody expects."""

    def fail(self, timeout_s):
        raise ZeroDivisionError("a bug in the driver")


class CameraHangs(FailingCamera):
    """A call into the driver does not return until the test lets it go."""

    def __init__(self, *, good: int = 3):
        super().__init__(good=good)
        self.let_go = threading.Event()
        self.closed = threading.Event()

    def fail(self, timeout_s):
        self.let_go.wait()
        raise CameraError("let go too late")

    def close(self):
        super().close()
        self.closed.set()


class CameraHangsOnClose(CameraHangs):
    """The kernel does not let go of the device."""

    def fail(self, timeout_s):
        raise CameraError("the camera is gone")

    def close(self):
        self.let_go.wait()
        super().close()
