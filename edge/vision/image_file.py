"""Reading pictures from files: the one road for every command and tool, so that they cannot disagree about pixels."""

from __future__ import annotations

import re
import warnings
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from edge.errors import ImageError
from edge.vision.frame import RgbImage

MAX_PIXELS: Final = 100_000_000
"""Larger pictures are refused before decoding: 100 megapixels already take 300 MB as RGB."""

MAX_FILE_BYTES: Final = 500_000_000
"""Larger files are not taken into memory: more than an uncompressed picture of ``MAX_PIXELS`` in RGBA needs."""

# Pillow has the same guard for pictures inside pictures (icons); above the limit it only warns, and the warning is made an error here
# once for the process, because changing warning filters around each call is not safe with threads.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.simplefilter("error", Image.DecompressionBombWarning)

_SIXTEEN_BIT_MODES: Final = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_MOSTLY_OPAQUE: Final = [0] * 128 + [255] * 128
"""Alpha to opaque or not: what is mostly see-through is no picture."""

COMMON_FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
"""What people upload; every further decoder is one more that a crafted file can reach."""

_PROGRAM_FORMATS: Final = frozenset({"EPS"})
"""Formats that Pillow decodes by running a program on the file."""


def read_image(path: Path, *, max_side: int | None = None, trim_transparent: bool = False) -> RgbImage:
    """Return the picture in ``path`` as upright RGB.

    The first picture of an animation, rotated as its EXIF data says, transparency composed over white, 16 bits reduced to 8. With
    ``max_side`` the picture is averaged down until its longer side is at most that many pixels; JPEG is then decoded at a fraction of
    its size, which is several times faster. ``trim_transparent`` cuts away a border that is see-through
    all along. Raises ``ImageError`` naming the file and the reason.
    """
    _refuse_non_file(path)
    return _decoded(path, path, max_side, trim_transparent=trim_transparent)


def read_image_bytes(path: Path) -> bytes:
    """Return the content of a picture's file. Raises ``ImageError`` naming the file and the reason."""
    _refuse_non_file(path)
    if (size_bytes := path.stat().st_size) > MAX_FILE_BYTES:
        raise ImageError(f"{path}: too large ({size_bytes / 1e6:.0f} MB; the limit is {MAX_FILE_BYTES // 10**6}); scale it down")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}); check the name and the permissions") from error


def decode_image(content: bytes, path: Path | str, *, max_side: int | None = None, trim_transparent: bool = False) -> RgbImage:
    """Do the same as ``read_image`` with a file's content; ``path`` names it in errors."""
    if not content:
        raise _empty(path)
    return _decoded(BytesIO(content), path, max_side, trim_transparent=trim_transparent)


def decode_untrusted(content: bytes, path: str, *, max_pixels: int) -> RgbImage:
    """Do the same with a picture from somebody we do not know: common formats alone, and no more than ``max_pixels``."""
    if not content:
        raise _empty(path)
    return _decoded(BytesIO(content), path, None, trim_transparent=False, formats=COMMON_FORMATS, max_pixels=max_pixels)


def _decoded(
    source: Path | BytesIO,
    path: Path | str,
    max_side: int | None,
    *,
    trim_transparent: bool,
    formats: tuple[str, ...] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> RgbImage:
    try:
        with Image.open(source, formats=formats) as image:
            _refuse_unwanted(image, path, max_pixels)
            if max_side is not None:
                image.draft(None, (max_side, max_side))
            upright = ImageOps.exif_transpose(image)
            if trim_transparent and upright.has_transparency_data:
                upright = _without_transparent_border(upright, path)
            rgb = _to_rgb(upright, path)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: not a picture in any known format; check the file or leave it out") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(path, _pixels_in_message(str(error))) from error
    except Exception as error:  # Pillow's plugins raise whatever their parser meets: struct.error, SyntaxError, ValueError, …
        raise ImageError(f"{path}: damaged picture ({error or type(error).__name__}); replace the file or leave it out") from error
    return _within(rgb, max_side)


def _refuse_non_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise ImageError(f"{path}: is a folder, not a picture")
        size_bytes = path.stat().st_size
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}); check the name and the permissions") from error
    if size_bytes == 0:
        raise _empty(path)


def _empty(path: Path | str) -> ImageError:
    return ImageError(f"{path}: is empty (0 bytes); copy the file again or leave it out")


def _refuse_unwanted(image: Image.Image, path: Path | str, max_pixels: int) -> None:
    """Refuse by what the header says, before a pixel is decoded."""
    if image.width * image.height > max_pixels:
        raise _too_large(path, image.width * image.height, f"{image.width}x{image.height}, ", max_pixels)
    if image.format in _PROGRAM_FORMATS:
        raise ImageError(f"{path}: {image.format} is a program, not a picture; convert it to PNG")


def _too_large(path: Path | str, pixels: int, size: str = "", limit: int = MAX_PIXELS) -> ImageError:
    return ImageError(f"{path}: too large ({size}{pixels / 1e6:.0f} megapixels; the limit is {limit // 10**6}); scale it down")


def _pixels_in_message(message: str) -> int:
    """Return the pixel count that Pillow's decompression bomb message names."""
    found = re.search(r"\((\d+) pixels\)", message)
    return int(found[1]) if found else MAX_PIXELS


def _to_rgb(image: Image.Image, path: Path | str) -> Image.Image:
    if image.mode in _SIXTEEN_BIT_MODES or image.mode == "I":
        return Image.fromarray(_eight_bits(np.asarray(image), path)).convert("RGB")
    if image.mode == "F":
        raise ImageError(f"{path}: floating-point pixels have no agreed range; convert it to 8-bit PNG")
    if image.has_transparency_data:
        rgba = _as_rgba(image)
        white = Image.new("RGB", rgba.size, "white")
        # the same pixels as an alpha composite with opaque white, in less than half of its time
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return image.convert("RGB")


def _without_transparent_border(image: Image.Image, path: Path | str) -> Image.Image:
    rgba = _as_rgba(image)
    box = rgba.getchannel("A").point(_MOSTLY_OPAQUE).getbbox()
    if box is None:
        raise ImageError(f"{path}: transparent all over; replace the file or leave it out")
    return rgba if box == (0, 0, *rgba.size) else rgba.crop(box)


def _as_rgba(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGBA" else image.convert("RGBA")  # converting to the same mode would copy


def _eight_bits(
    grey: np.ndarray[tuple[int, ...], np.dtype[np.integer]], path: Path | str
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Reduce 16-bit grey, which older Pillow hands out as 32-bit integers, to 8 bits."""
    if grey.min() < 0 or grey.max() > np.iinfo(np.uint16).max:
        raise ImageError(f"{path}: 32-bit pixels have no agreed range; convert it to 8-bit PNG")
    return (grey.astype(np.uint16) >> 8).astype(np.uint8)


def _within(image: Image.Image, max_side: int | None) -> RgbImage:
    """Return the pixels, averaged down to ``max_side`` where larger."""
    longest = max(image.size)
    if max_side is not None and longest > max_side:
        scale = max_side / longest
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BOX if scale < 0.25 else Image.Resampling.LANCZOS)
    return np.array(image, dtype=np.uint8)
