"""Stub of the display library: only the names that ``picamera2.previews.drm_preview`` needs for its import."""


class _AnyName(type):
    def __getattr__(cls, name):
        return name


class PixelFormat(metaclass=_AnyName):
    pass
