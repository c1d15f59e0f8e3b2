"""``index/add``: which images are decoded."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from edge.daemon.add_request import new_card
from edge.errors import CommandError, ImageError
from edge.publishing.command import AddCardRequest


def pixels_of(content, newest_frame=None):
    request = AddCardRequest(card_id="a", name="A", image=base64.b64encode(content).decode())
    return new_card(request, newest_frame).pixels()


def encoded(image, kind):
    content = io.BytesIO()
    image.save(content, kind)
    return content.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_the_image_of_a_request_is_decoded(kind):
    assert pixels_of(encoded(Image.new("RGB", (30, 40), "red"), kind)).shape == (40, 30, 3)


@pytest.mark.parametrize("kind", ["ICO", "PPM", "TGA", "PCX"])
def test_rare_formats_are_refused_because_their_decoders_can_be_reached_by_anyone(kind):
    with pytest.raises(ImageError, match="the image of index/add: not an image in a supported format"):
        pixels_of(encoded(Image.new("RGB", (32, 32), "red"), kind))


def test_a_small_file_with_many_pixels_is_refused_before_it_is_decoded():
    with pytest.raises(ImageError, match=r"the image of index/add: .*24"):
        pixels_of(encoded(Image.new("1", (6000, 4200)), "PNG"))


def test_text_that_is_not_base64_is_refused():
    with pytest.raises(CommandError, match="index/add: image: not base64"):
        new_card(AddCardRequest(card_id="a", name="A", image="?"), None).pixels()


def test_without_an_image_the_newest_frame_is_used():
    frame = np.zeros((4, 4, 3), np.uint8)
    assert new_card(AddCardRequest(card_id="a", name="A"), frame).pixels() is frame
