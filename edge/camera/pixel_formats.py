"""From a camera's buffer to RGB: what the pixel formats of libcamera mean in memory. Pure.

libcamera names 24 and 32-bit formats after the order of a little-endian word, so that the bytes in memory come in reverse:
``BGR888`` is R, G, B in memory (``picamera2/request.py``, ``_get_pil_mode``; ``drm_fourcc.h``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import CameraError, CameraGarbageError
from edge.vision.card import Size
from edge.vision.frame import RgbImage

RGB_IN_MEMORY: Final = "BGR888"
"""The format to ask for: it needs no conversion."""

_PACKED: Final = {
    "BGR888": (3, None),
    "RGB888": (3, cv2.COLOR_BGR2RGB),
    "XBGR8888": (4, cv2.COLOR_RGBA2RGB),
    "XRGB8888": (4, cv2.COLOR_BGRA2RGB),
    "YUYV": (2, cv2.COLOR_YUV2RGB_YUYV),
    "UYVY": (2, cv2.COLOR_YUV2RGB_UYVY),
}
"""Format → bytes per pixel and OpenCV's conversion."""

_PLANAR: Final = {
    "NV12": (1, cv2.COLOR_YUV2RGB_NV12),
    "NV21": (1, cv2.COLOR_YUV2RGB_NV21),
    "YUV420": (2, cv2.COLOR_YUV2RGB_I420),
    "YVU420": (2, cv2.COLOR_YUV2RGB_YV12),
}
"""Format → number of colour planes behind the full-size brightness plane, and OpenCV's conversion."""


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """How a picture lies in a buffer; ``stride`` is the bytes from one row to the next, padding included."""

    pixel_format: str
    size: Size
    stride: int


def to_rgb(buffer: NDArray[np.uint8], layout: PixelLayout) -> RgbImage:
    """Return the picture in ``buffer``, uint8 (n,), as RGB.

    YUV is taken as BT.601 with limited range, as OpenCV does; another colour space shifts the colours a little. Raises
    ``CameraGarbageError`` for a buffer that is too short or undecodable, ``CameraError`` for a format not known here.
    """
    if layout.pixel_format in _PACKED:
        return _from_packed(buffer, layout)
    if layout.pixel_format in _PLANAR:
        return _from_planar(buffer, layout)
    if layout.pixel_format == "MJPEG":
        return _from_jpeg(buffer)
    known = ", ".join([*_PACKED, *_PLANAR, "MJPEG"])
    raise CameraError(f"the camera delivers {layout.pixel_format} pictures; known here: {known}")


def _from_packed(buffer: NDArray[np.uint8], layout: PixelLayout) -> RgbImage:
    bytes_per_pixel, conversion = _PACKED[layout.pixel_format]
    width, height = layout.size
    rows = _rows(buffer, height, layout.stride)[:, : width * bytes_per_pixel]
    picture = np.ascontiguousarray(rows).reshape(height, width, bytes_per_pixel)
    return picture if conversion is None else np.asarray(cv2.cvtColor(picture, conversion), dtype=np.uint8)


def _from_planar(buffer: NDArray[np.uint8], layout: PixelLayout) -> RgbImage:
    """Take the padding out of each plane: OpenCV wants them without a gap."""
    colour_planes, conversion = _PLANAR[layout.pixel_format]
    width, height = layout.size
    brightness = _rows(buffer, height, layout.stride)[:, :width]
    behind = buffer[height * layout.stride :]
    colour = _rows(behind, height // 2 * colour_planes, layout.stride // colour_planes)[:, : width // colour_planes]
    planes = np.concatenate((brightness.ravel(), colour.ravel())).reshape(height * 3 // 2, width)
    return np.asarray(cv2.cvtColor(planes, conversion), dtype=np.uint8)


def _from_jpeg(buffer: NDArray[np.uint8]) -> RgbImage:
    picture = cv2.imdecode(buffer, cv2.IMREAD_COLOR) if buffer.size else None
    if picture is None:
        raise CameraGarbageError("the camera delivers JPEG that cannot be decoded; check its cable")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _rows(buffer: NDArray[np.uint8], rows: int, stride: int) -> NDArray[np.uint8]:
    if buffer.size < rows * stride:
        raise CameraGarbageError(f"the camera delivers {buffer.size} bytes where {rows} rows of {stride} were promised")
    return buffer[: rows * stride].reshape(rows, stride)
