"""The card that the command ``index/add`` describes, with the image it brings or the camera's newest frame."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from edge.errors import CommandError
from edge.index.change import NewCard
from edge.vision.image_file import decode_untrusted

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.publishing.command import AddCardRequest
    from edge.vision.frame import RgbImage


def new_card(request: AddCardRequest, newest_frame: RgbImage | None) -> NewCard:
    """Return the card to add; without an image in the request its pixels are those of ``newest_frame``.

    An image is decoded when the pixels are read, not here in the daemon's loop; that may raise ``CommandError`` or ``ImageError``.
    Raises ``CommandError`` if there is neither an image nor a frame.
    """
    return NewCard(
        request.card_id,
        request.name,
        _pixels(request, newest_frame),
        rectified=request.rectified,
        set=request.set,
        number=request.number,
        rarity=request.rarity,
        language=request.language,
    )


def _pixels(request: AddCardRequest, newest_frame: RgbImage | None) -> Callable[[], RgbImage]:
    if (image := request.image) is not None:
        return lambda: _decode(image)
    if request.rectified:
        raise CommandError("index/add: image: send the rectified image, or leave `rectified` out to add what the camera sees")
    if newest_frame is None:
        raise CommandError("index/add: the camera has not delivered a frame yet; send an image, or try again")
    return lambda: newest_frame


def _decode(image: str) -> RgbImage:
    try:
        content = base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CommandError(f"index/add: image: not base64 ({error})") from error
    return decode_untrusted(content, "the image of index/add")
