"""The card that a command wants to add: from the picture it brings, or from what the camera sees."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from edge.errors import CommandError
from edge.index.change import NewCard
from edge.vision.image_file import decode_image

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.publishing.command import AddCardRequest
    from edge.vision.frame import RgbImage


def wanted_card(request: AddCardRequest, newest: RgbImage | None) -> NewCard:
    """Return what ``index/add`` asks for; ``newest`` is the newest frame. Raises ``CommandError`` when there is no picture at all.

    The picture is decoded by whoever asks for its pixels, which is not the daemon's loop.
    """
    return NewCard(
        request.card_id,
        request.name,
        _picture(request, newest),
        rectified=request.rectified,
        set=request.set,
        number=request.number,
        rarity=request.rarity,
        language=request.language,
    )


def _picture(request: AddCardRequest, newest: RgbImage | None) -> Callable[[], RgbImage]:
    if (image := request.image) is not None:
        return lambda: _decoded(image)
    if request.rectified:
        raise CommandError("index/add: image: send the rectified picture, or leave `rectified` out to add what the camera sees")
    if newest is None:
        raise CommandError("index/add: the camera has not delivered a frame yet; send an image, or try again")
    return lambda: newest


def _decoded(image: str) -> RgbImage:
    try:
        content = base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CommandError(f"index/add: image: no base64 ({error})") from error
    return decode_image(content, "the image of index/add")
