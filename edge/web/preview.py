"""The live picture: encoded in a thread of the server, once for all who watch, at a bounded rate, and only while somebody watches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import cv2

from edge.publishing.event import wire_quad
from edge.web.broadcast import Broadcaster, Message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.vision.frame import RgbImage
    from edge.web.live_state import AnnotatedFrame, LiveState

QUALITY: Final = 75
WIDTH_STEP: Final = 160
"""Widths are rounded down to multiples of it, so that few different ones are encoded."""
WAIT_S: Final = 3.0
_CLIPPED: Final = 250
_GOOD_SHARPNESS: Final = 6.0
"""Variance of the Laplacian per 100 of our scale: drawn cards in focus, at 480 pixels across the looked-at place, have 600 and more."""
_SHARPNESS_WIDTH: Final = 480


class Preview:
    """For the server's loop only. ``encoded`` counts the pictures that were made."""

    def __init__(self, showcase: LiveState, hub: Broadcaster, workers: Executor, *, fps: float, max_width: int) -> None:
        self._showcase = showcase
        self._hub = hub
        self._workers = workers
        self._interval_s = 1.0 / fps
        self._max_width = max_width
        self._shown: AnnotatedFrame | None = None
        self._next_s = 0.0
        self._jpegs: dict[int, asyncio.Future[bytes]] = {}
        self._task: asyncio.Task[None] | None = None
        self._turned = asyncio.Event()
        self.encoded = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the camera for as long as the block lasts."""
        self._showcase.watchers += 1
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._turn())
        try:
            yield
        finally:
            self._showcase.watchers -= 1
            if not self._showcase.watched:
                self._task.cancel()
                self._task = self._shown = None
                self._jpegs.clear()

    def width(self, wanted: int | None) -> int:
        """Return the width of the pictures for somebody who wants this one."""
        return max(WIDTH_STEP, min(wanted or self._max_width, self._max_width) // WIDTH_STEP * WIDTH_STEP)

    async def jpegs(self, width: int) -> AsyncIterator[bytes]:
        """Return pictures as they come, each the newest when the one before was taken; ends with the server. Within ``watching``."""
        shown = None
        while not self._hub.closed:
            if self._shown is None or self._shown is shown:
                turned = self._turned
                try:
                    async with asyncio.timeout(WAIT_S):
                        await turned.wait()
                except TimeoutError:
                    continue
            if self._shown is not None and self._shown is not shown:
                shown = self._shown
                yield await self._jpeg(shown, width)

    async def one(self, width: int) -> bytes | None:
        """Return one picture, None when the camera delivers none in time."""
        with self.watching():
            pictures = self.jpegs(width)
            try:
                return await asyncio.wait_for(anext(pictures), WAIT_S)
            except (TimeoutError, StopAsyncIteration):
                return None
            finally:
                await pictures.aclose()  # type: ignore[attr-defined]  # an async generator

    async def _turn(self) -> None:
        """Take up new frames at the rate of the preview, and tell the outlines of each."""
        loop = asyncio.get_running_loop()
        while not self._hub.closed:
            if not await self._hub.next_frame(WAIT_S) or self._showcase.newest is None:
                continue
            await asyncio.sleep(max(0.0, self._next_s - loop.time()))
            self._next_s = loop.time() + self._interval_s
            self._shown = self._showcase.newest
            self._jpegs = {}
            self._turned.set()
            self._turned = asyncio.Event()
            if self._hub.wanted("outlines"):
                told = await loop.run_in_executor(self._workers, _outlines, self._shown, self._showcase.state("cards"))
                self._hub.post(Message("outlines", told))

    async def _jpeg(self, seen: AnnotatedFrame, width: int) -> bytes:
        """Return a frame as JPEG; whoever asks second gets the first one's."""
        if seen is not self._shown or width not in self._jpegs:
            picture = asyncio.get_running_loop().run_in_executor(self._workers, _encode, seen.frame.pixels, width)
            self.encoded += 1
            if seen is not self._shown:
                return await picture
            self._jpegs[width] = picture
        return await asyncio.shield(self._jpegs[width])


def _encode(pixels: RgbImage, width: int) -> bytes:
    if pixels.shape[1] > width:
        height = max(1, round(pixels.shape[0] * width / pixels.shape[1]))
        # averaging costs several times as much, and shows only where much is left out
        how = cv2.INTER_AREA if pixels.shape[1] > 2 * width else cv2.INTER_LINEAR
        pixels = cv2.resize(pixels, (width, height), interpolation=how)  # type: ignore[assignment]  # its stub forgets the dtype
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return encoded.tobytes()


def _outlines(seen: AnnotatedFrame, cards: dict[str, Any] | None) -> bytes:
    """Return the outlines of a frame with the names that were told, and how good the picture is where the cards lie."""
    told = {card["track_id"]: card for card in (cards or {}).get("cards", ())}
    outlines = []
    for outline in seen.outlines:
        card = told.get(outline.track_id, {})
        outlines.append(
            {
                "track_id": outline.track_id,
                "quad": wire_quad(outline.quad),
                "status": card.get("status", "tentative"),
                "card_id": card.get("card_id"),
                "name": card.get("name"),
            }
        )
    frame = {"width": seen.frame.width, "height": seen.frame.height}
    return json.dumps({"frame": frame, **_picture_quality(seen), "outlines": outlines}, ensure_ascii=False).encode()


def _picture_quality(seen: AnnotatedFrame) -> dict[str, float]:
    """Return sharpness, brightness and the share of glare of the first card's place, or of the middle of the picture."""
    pixels = seen.frame.pixels
    height, width = pixels.shape[:2]
    left, top, right, bottom = width // 4, height // 4, width * 3 // 4, height * 3 // 4
    if seen.outlines:
        corners = wire_quad(seen.outlines[0].quad)
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        left, top = max(0, min(width - 2, int(min(xs)))), max(0, min(height - 2, int(min(ys))))
        right, bottom = max(left + 2, min(width, int(max(xs)) + 1)), max(top + 2, min(height, int(max(ys)) + 1))
    place = pixels[top:bottom, left:right]
    if place.shape[1] > _SHARPNESS_WIDTH:
        scale = _SHARPNESS_WIDTH / place.shape[1]
        size = (_SHARPNESS_WIDTH, max(2, round(place.shape[0] * scale)))
        place = cv2.resize(place, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]  # its stub forgets the dtype
    luma = cv2.cvtColor(place, cv2.COLOR_RGB2GRAY)
    sharpness = float(cv2.Laplacian(luma, cv2.CV_32F).var()) / _GOOD_SHARPNESS
    return {
        "sharpness": round(sharpness, 1),
        "brightness": round(float(luma.mean()) / 255.0, 3),
        "clipped": round(float((luma >= _CLIPPED).mean()), 3),
    }
