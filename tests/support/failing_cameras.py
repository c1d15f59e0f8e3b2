"""Frame sources that fail: one class per known failure."""

import threading

from edge.errors import CameraError, CameraFrozenError
from tests.support.stand_ins import ListSource, noise_images


class FailingCamera(ListSource):
    """Delivers ``good`` frames and then calls ``fail`` for each further one; subclasses define the failure."""

    def __init__(self, *, good: int = 3):
        super().__init__(noise_images(64), loop=True)
        self._good = good

    def read(self, timeout_s):
        if self._sequence >= self._good:
            return self.fail(timeout_s)
        return super().read(timeout_s)

    def fail(self, timeout_s):
        raise NotImplementedError


class CameraFreezes(FailingCamera):
    """The driver keeps returning its last image."""

    def fail(self, timeout_s):
        self._images = self._images[:1]
        return super(FailingCamera, self).read(timeout_s)


class CameraStalls(FailingCamera):
    """The driver reports that no image arrives in time."""

    def fail(self, timeout_s):
        raise CameraFrozenError("no image for 3 s")


class CameraDisconnects(FailingCamera):
    """The cable is unplugged."""

    def fail(self, timeout_s):
        raise CameraError("the camera is gone")


class CameraIsBlack(FailingCamera):
    """A dead sensor delivers zeros."""

    def fail(self, timeout_s):
        self._images = [image * 0 for image in self._images[:1]]
        return super(FailingCamera, self).read(timeout_s)


class CameraChangesSize(FailingCamera):
    """The image size changes while the camera runs."""

    def fail(self, timeout_s):
        self._images = [image[:-2].copy() for image in self._images]
        return super(FailingCamera, self).read(timeout_s)


class CameraBreaksADriver(FailingCamera):
    """The driver raises an error that is not documented."""

    def fail(self, timeout_s):
        raise ZeroDivisionError("a bug in the driver")


class CameraHangs(FailingCamera):
    """A call into the driver does not return until the test sets ``released``."""

    def __init__(self, *, good: int = 3):
        super().__init__(good=good)
        self.released = threading.Event()
        self.closed = threading.Event()

    def fail(self, timeout_s):
        self.released.wait()
        raise CameraError("released too late")

    def close(self):
        super().close()
        self.closed.set()


class CameraHangsOnClose(CameraHangs):
    """Closing the device does not return until the test sets ``released``."""

    def fail(self, timeout_s):
        raise CameraError("the camera is gone")

    def close(self):
        self.released.wait()
        super().close()
