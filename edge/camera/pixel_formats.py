"""Conversion of camera buffers to RGB: the memory layouts of libcamera's pixel formats. Pure.

libcamera names 24 and 32-bit formats after the order in a little-endian word, so the bytes in memory are in reverse order:
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
"""The format to request: it needs no conversion."""

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
"""Format → number of color planes after the full-size luma plane, and OpenCV's conversion."""


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """Layout of an image in a buffer; ``stride`` is the number of bytes from one row to the next, including padding."""

    pixel_format: str
    size: Size
    stride: int


def to_rgb(buffer: NDArray[np.uint8], layout: PixelLayout) -> RgbImage:
    """Return the image in ``buffer``, uint8 (n,), as RGB uint8 (height, width, 3).

    YUV is converted as BT.601 with limited range, as in OpenCV; another color space shifts the colors slightly. Raises
    ``CameraGarbageError`` for a buffer that is too short or cannot be decoded, ``CameraError`` for an unsupported format.
    """
    if layout.pixel_format in _PACKED:
        return _from_packed(buffer, layout)
    if layout.pixel_format in _PLANAR:
        return _from_planar(buffer, layout)
    if layout.pixel_format == "MJPEG":
        return _from_jpeg(buffer)
    known = ", ".join([*_PACKED, *_PLANAR, "MJPEG"])
    raise CameraError(f"the camera delivers {layout.pixel_format}, which is not supported; supported formats: {known}")


def _from_packed(buffer: NDArray[np.uint8], layout: PixelLayout) -> RgbImage:
    bytes_per_pixel, conversion = _PACKED[layout.pixel_format]
    width, height = layout.size
    rows = _rows(buffer, height, layout.stride)[:, : width * bytes_per_pixel]
    image = np.ascontiguousarray(rows).reshape(height, width, bytes_per_pixel)
    return image if conversion is None else np.asarray(cv2.cvtColor(image, conversion), dtype=np.uint8)


def _from_planar(buffer: NDArray[np.uint8], layout: PixelLayout) -> RgbImage:
    # OpenCV requires the planes without padding or gaps
    color_planes, conversion = _PLANAR[layout.pixel_format]
    width, height = layout.size
    luma = _rows(buffer, height, layout.stride)[:, :width]
    rest = buffer[height * layout.stride :]
    color = _rows(rest, height // 2 * color_planes, layout.stride // color_planes)[:, : width // color_planes]
    planes = np.concatenate((luma.ravel(), color.ravel())).reshape(height * 3 // 2, width)
    return np.asarray(cv2.cvtColor(planes, conversion), dtype=np.uint8)


def _from_jpeg(buffer: NDArray[np.uint8]) -> RgbImage:
    image = cv2.imdecode(buffer, cv2.IMREAD_COLOR) if buffer.size else None
    if image is None:
        raise CameraGarbageError("the camera delivers JPEG that cannot be decoded; check its cable")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _rows(buffer: NDArray[np.uint8], rows: int, stride: int) -> NDArray[np.uint8]:
    if buffer.size < rows * stride:
        raise CameraGarbageError(f"the camera delivers {buffer.size} bytes instead of {rows} rows of {stride}; check its cable")
    return buffer[: rows * stride].reshape(rows, stride)
