"""Read image files. Every command and tool uses this module, so that all of them get the same pixels."""

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
"""Larger images are rejected before decoding: 100 megapixels take 300 MB as RGB."""

MAX_FILE_BYTES: Final = 500_000_000
"""Larger files are not read: this is more than an uncompressed RGBA image of ``MAX_PIXELS`` takes."""

MAX_UNTRUSTED_PIXELS: Final = 24_000_000
"""The same for an image that came over the network: those of a phone's camera are smaller."""

# Pillow applies the same limit to images inside images (icons), but only warns. The warning is turned into an error once for the process,
# because changing warning filters around each call is not thread-safe.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
warnings.simplefilter("error", Image.DecompressionBombWarning)

_SIXTEEN_BIT_MODES: Final = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_MOSTLY_OPAQUE: Final = [0] * 128 + [255] * 128
"""Maps alpha to opaque or transparent: mostly transparent pixels are not part of the image."""

COMMON_FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
"""Formats accepted from untrusted sources; every further decoder is one that a crafted file can reach."""

_HEIC_BRANDS: Final = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})

_PROGRAM_FORMATS: Final = frozenset({"EPS"})
"""Formats that Pillow decodes by running an external program on the file."""


def read_image(path: Path, *, max_side: int | None = None, trim_transparent: bool = False) -> RgbImage:
    """Return the image in ``path`` as RGB uint8 (height, width, 3).

    Uses the first image of an animation, applies the EXIF orientation, composes transparency over white and reduces 16 bits to 8. With
    ``max_side`` the image is averaged down until its longer side has at most that many pixels; JPEG is then decoded at a fraction of its
    size, which is several times faster. ``trim_transparent`` removes a border that is entirely transparent. Raises ``ImageError`` naming
    the file and the reason.
    """
    _require_file(path)
    return _decoded(path, path, max_side, trim_transparent=trim_transparent)


def read_image_bytes(path: Path) -> bytes:
    """Return the content of an image file. Raises ``ImageError`` naming the file and the reason."""
    _require_file(path)
    if (size_bytes := path.stat().st_size) > MAX_FILE_BYTES:
        raise ImageError(f"{path}: too large ({size_bytes / 1e6:.0f} MB; the limit is {MAX_FILE_BYTES // 10**6}); scale it down")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}); check the name and the permissions") from error


def decode_image(content: bytes, path: Path | str, *, max_side: int | None = None, trim_transparent: bool = False) -> RgbImage:
    """Return the image in a file's content, as ``read_image`` does; ``path`` names it in errors. Raises ``ImageError``."""
    if not content:
        raise _empty(path)
    return _decoded(BytesIO(content), path, max_side, trim_transparent=trim_transparent)


def decode_untrusted(content: bytes, path: str) -> RgbImage:
    """Return the image in untrusted content, of ``COMMON_FORMATS`` and at most ``MAX_UNTRUSTED_PIXELS``.

    Raises ``ImageError`` naming ``path``.
    """
    if not content:
        raise _empty(path)
    return _decoded(BytesIO(content), path, None, trim_transparent=False, formats=COMMON_FORMATS, max_pixels=MAX_UNTRUSTED_PIXELS)


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
            _check_header(image, path, max_pixels)
            if max_side is not None:
                image.draft(None, (max_side, max_side))
            upright = ImageOps.exif_transpose(image)
            if trim_transparent and upright.has_transparency_data:
                upright = _without_transparent_border(upright, path)
            rgb = _to_rgb(upright, path)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        if _is_heic(source):
            raise ImageError(
                f"{path}: is a HEIC photo, which is not supported; save it as JPEG (iPhone: Camera, Formats, Most Compatible)"
            ) from error
        raise ImageError(f"{path}: not an image in a supported format; check the file or leave it out") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(path, _pixels_in_message(str(error))) from error
    except Exception as error:  # Pillow's plugins raise the errors of their parsers: struct.error, SyntaxError, ValueError, …
        raise ImageError(f"{path}: damaged image ({error or type(error).__name__}); replace the file or leave it out") from error
    return _within(rgb, max_side)


def _is_heic(source: Path | BytesIO) -> bool:
    """Return whether a file begins like HEIF with HEVC images (ISO/IEC 23008-12): a box ``ftyp`` with one of its brands."""
    try:
        start = source.read_bytes()[:12] if isinstance(source, Path) else source.getvalue()[:12]
    except OSError:
        return False
    return start[4:8] == b"ftyp" and start[8:12] in _HEIC_BRANDS


def _require_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise ImageError(f"{path}: is a folder, not an image file")
        size_bytes = path.stat().st_size
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}); check the name and the permissions") from error
    if size_bytes == 0:
        raise _empty(path)


def _empty(path: Path | str) -> ImageError:
    return ImageError(f"{path}: is empty (0 bytes); copy the file again or leave it out")


def _check_header(image: Image.Image, path: Path | str, max_pixels: int) -> None:
    """Raise ``ImageError`` for an image that is not accepted, from its header alone."""
    if image.width * image.height > max_pixels:
        raise _too_large(path, image.width * image.height, f"{image.width}x{image.height}, ", max_pixels)
    if image.format in _PROGRAM_FORMATS:
        raise ImageError(f"{path}: {image.format} is a program, not an image; convert it to PNG")


def _too_large(path: Path | str, pixels: int, size: str = "", limit: int = MAX_PIXELS) -> ImageError:
    return ImageError(f"{path}: too large ({size}{pixels / 1e6:.0f} megapixels; the limit is {limit // 10**6}); scale it down")


def _pixels_in_message(message: str) -> int:
    """Return the number of pixels in Pillow's decompression bomb message."""
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
        # gives the same pixels as alpha_composite with opaque white, in less than half the time
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return image.convert("RGB")


def _without_transparent_border(image: Image.Image, path: Path | str) -> Image.Image:
    rgba = _as_rgba(image)
    box = rgba.getchannel("A").point(_MOSTLY_OPAQUE).getbbox()
    if box is None:
        raise ImageError(f"{path}: entirely transparent; replace the file or leave it out")
    return rgba if box == (0, 0, *rgba.size) else rgba.crop(box)


def _as_rgba(image: Image.Image) -> Image.Image:
    return image if image.mode == "RGBA" else image.convert("RGBA")  # converting to the same mode would copy


def _eight_bits(
    gray: np.ndarray[tuple[int, ...], np.dtype[np.integer]], path: Path | str
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return 16-bit gray, which older Pillow returns as 32-bit integers, reduced to 8 bits."""
    if gray.min() < 0 or gray.max() > np.iinfo(np.uint16).max:
        raise ImageError(f"{path}: 32-bit pixels have no agreed range; convert it to 8-bit PNG")
    return (gray.astype(np.uint16) >> 8).astype(np.uint8)


def _within(image: Image.Image, max_side: int | None) -> RgbImage:
    """Return the pixels, averaged down to ``max_side`` if larger."""
    longest = max(image.size)
    if max_side is not None and longest > max_side:
        scale = max_side / longest
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BOX if scale < 0.25 else Image.Resampling.LANCZOS)
    return np.array(image, dtype=np.uint8)
