import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from edge.errors import ExitCode, ImageError
from edge.vision.image_file import decode_image, read_image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def save(image, path, **options):
    image.save(path, **options)
    return path


def left_red_right_blue(width=64, height=32):
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2], pixels[:, width // 2 :] = RED, BLUE
    return Image.fromarray(pixels)


def close_to(pixel, color, tolerance=12):
    return np.abs(pixel.astype(int) - color).max() <= tolerance


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp", "a.tif", "a.ppm", "a.tga", "a.jp2"])
def test_every_format_gives_rgb_in_the_same_order(tmp_path, name):
    pixels = read_image(save(left_red_right_blue(), tmp_path / name))
    assert (pixels.shape, pixels.dtype, pixels.flags.c_contiguous) == ((32, 64, 3), np.uint8, True)
    assert close_to(pixels[16, 4], RED)
    assert close_to(pixels[16, 60], BLUE)


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("L", 128, (128, 128, 128)),
        ("1", 1, WHITE),
        ("LA", (0, 0), WHITE),
        ("LA", (0, 255), (0, 0, 0)),
        ("RGBA", (255, 0, 0, 0), WHITE),
        ("RGBA", (0, 0, 255, 255), BLUE),
        ("RGBA", (0, 0, 0, 128), (127, 127, 127)),
    ],
)
def test_gray_and_transparent_images(tmp_path, mode, color, expected):
    pixels = read_image(save(Image.new(mode, (8, 6), color), tmp_path / "a.png"))
    assert pixels.shape == (6, 8, 3)
    assert close_to(pixels[3, 3], expected, 1)


def test_a_palette_with_a_transparent_entry_is_composed_over_white(tmp_path):
    image = Image.new("P", (4, 4), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((0, 0), 1)
    pixels = read_image(save(image, tmp_path / "a.png", transparency=0))
    assert tuple(pixels[0, 0]) == BLUE
    assert tuple(pixels[2, 2]) == WHITE


def test_a_palette_with_graded_transparency_is_composed_over_white(tmp_path):
    image = Image.new("P", (4, 4), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    pixels = read_image(save(image, tmp_path / "a.png", transparency=bytes([127, 255])))
    assert close_to(pixels[2, 2], (255, 128, 128), 1)


def test_a_color_key_is_transparent(tmp_path):
    pixels = read_image(save(Image.new("RGB", (4, 4), GREEN), tmp_path / "a.png", transparency=GREEN))
    assert tuple(pixels[0, 0]) == WHITE


def test_cmyk(tmp_path):
    pixels = read_image(save(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), tmp_path / "a.jpg"))
    assert close_to(pixels[8, 8], RED, 3)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit_gray_keeps_its_upper_bits(tmp_path, name):
    ramp = Image.fromarray(np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16))
    pixels = read_image(save(ramp, tmp_path / name))
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert pixels[15, 15].tolist() == [255, 255, 255]
    assert np.all(np.diff(pixels[:, :, 0].ravel().astype(int)) >= 0)
    assert np.unique(pixels).size > 200


def test_pixels_without_a_defined_range_are_rejected(tmp_path):
    with pytest.raises(ImageError, match=r"a\.tif.*floating-point"):
        read_image(save(Image.fromarray(np.ones((4, 4), np.float32)), tmp_path / "a.tif"))
    with pytest.raises(ImageError, match=r"b\.tif.*32-bit"):
        read_image(save(Image.fromarray(np.full((4, 4), 1 << 20, np.int32)), tmp_path / "b.tif"))


def test_the_first_image_of_an_animation(tmp_path):
    first, second = Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), BLUE)
    for name in ("a.gif", "a.webp", "a.png"):
        pixels = read_image(save(first, tmp_path / name, save_all=True, append_images=[second]))
        assert close_to(pixels[4, 4], RED), name


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.png"])
def test_every_exif_orientation_is_applied(tmp_path, orientation, name):
    upright = left_red_right_blue()
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = read_image(save(stored, tmp_path / name, exif=exif))
    assert pixels.shape == (32, 64, 3)
    assert close_to(pixels[16, 4], RED)
    assert close_to(pixels[16, 60], BLUE)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_a_reduced_image_keeps_its_shape_and_position(tmp_path, name):
    pixels = read_image(save(left_red_right_blue(1600, 800), tmp_path / name), max_side=200)
    assert pixels.shape == (100, 200, 3)
    assert close_to(pixels[50, 5], RED)
    assert close_to(pixels[50, 195], BLUE)


def test_a_small_image_is_never_enlarged(tmp_path):
    assert read_image(save(left_red_right_blue(), tmp_path / "a.png"), max_side=1000).shape == (32, 64, 3)


# --- images that cannot be read ---


def png_that_claims(width, height):
    """A few bytes whose header announces a huge image."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 64)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(("width", "height", "megapixels"), [(20_000, 20_000, 400), (15_000, 10_000, 150), (100_001, 1_000, 100)])
def test_a_huge_image_is_rejected_before_it_is_decoded(tmp_path, width, height, megapixels):
    path = tmp_path / "huge.png"
    path.write_bytes(png_that_claims(width, height))
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        warnings.simplefilter("error", Image.DecompressionBombWarning)  # as the module sets it
        with pytest.raises(ImageError, match=rf"huge\.png: too large \({megapixels} megapixels; the limit is 100\)"):
            read_image(path)
    assert leaked == []


def test_a_huge_image_is_rejected_with_any_warning_filters(tmp_path):
    path = tmp_path / "huge.png"
    path.write_bytes(png_that_claims(15_000, 10_000))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ImageError, match=r"too large \(15000x10000, 150 megapixels"):
            read_image(path)


def test_a_image_just_within_the_limit_is_decoded(tmp_path):
    path = save(Image.new("1", (10_000, 10_000)), tmp_path / "a.png")
    assert read_image(path, max_side=64).shape == (64, 64, 3)


def cut(data, share):
    return data[: int(len(data) * share)]


def encoded(name):
    buffer = io.BytesIO()
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 256, (120, 90, 3), dtype=np.uint8)).save(buffer, name)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_truncated_image_is_rejected_by_name(tmp_path, name, share):
    path = tmp_path / f"half.{name.lower()}"
    path.write_bytes(cut(encoded(name), share))
    with pytest.raises(ImageError, match=r"half\.\w+: (damaged image|not an image)"):
        read_image(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"hello, I am a text file\n" * 50, "not an image"),
        (b"\x89PNG\r\n\x1a\n", "not an image|damaged"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 100, "not an image|damaged"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n", "is a program"),
    ],
)
def test_a_file_that_is_not_an_image_is_named_with_the_reason(tmp_path, content, reason):
    path = tmp_path / "card.png"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=rf"card\.png: .*({reason})") as raised:
        read_image(path)
    assert raised.value.exit_code is ExitCode.BAD_DATA


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(ImageError, match=r"gone\.png: cannot be read \(No such file"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(ImageError, match="is a folder"):
        read_image(tmp_path)


@pytest.mark.parametrize("brand", [b"heic", b"mif1"])
def test_a_heic_photo_is_named_as_such(tmp_path, brand):
    content = b"\x00\x00\x00\x18ftyp" + brand + bytes(12)
    (tmp_path / "IMG_1.HEIC").write_bytes(content)
    with pytest.raises(ImageError, match="HEIC photo, which is not supported; save it as JPEG"):
        read_image(tmp_path / "IMG_1.HEIC")
    with pytest.raises(ImageError, match="HEIC photo"):
        decode_image(content, "IMG_1.HEIC")
