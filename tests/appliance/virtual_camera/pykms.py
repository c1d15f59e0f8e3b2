"""There is no display: only what ``picamera2.previews.drm_preview`` names while it is imported."""


class _AnyName(type):
    def __getattr__(cls, name):
        return name


class PixelFormat(metaclass=_AnyName):
    pass
