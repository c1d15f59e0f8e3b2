"""The live camera image: encoded in a worker thread, once for all viewers, at a limited rate, and only while there is a viewer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np

from edge.publishing.event import wire_quad
from edge.web.broadcast import Broadcaster, Message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.vision.frame import RgbImage
    from edge.web.live_state import AnnotatedFrame, LiveState

QUALITY: Final = 75
WIDTH_STEP: Final = 160
"""Widths are rounded down to a multiple of this, so that few different ones are encoded."""
WAIT_S: Final = 3.0
_CLIPPED: Final = 250
_SHARPNESS_UNIT: Final = 6.0
"""Variance of the Laplacian per unit of the sharpness shown. Cards in focus, 480 pixels wide, have a variance of 600 and more."""
_SHARPNESS_WIDTH: Final = 480


class Preview:
    """Only the server's event loop may call the methods. ``encoded`` counts the encoded images."""

    def __init__(self, live_state: LiveState, broadcaster: Broadcaster, workers: Executor, *, fps: float, max_width: int) -> None:
        self._live_state = live_state
        self._broadcaster = broadcaster
        self._workers = workers
        self._interval_s = 1.0 / fps
        self._max_width = max_width
        self._shown: AnnotatedFrame | None = None
        self._next_s = 0.0
        self._jpegs: dict[int, asyncio.Future[bytes]] = {}
        self._task: asyncio.Task[None] | None = None
        self._new_shown = asyncio.Event()
        self.encoded = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count as a viewer of the camera for the duration of the block."""
        self._live_state.watchers += 1
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        try:
            yield
        finally:
            self._live_state.watchers -= 1
            if not self._live_state.watched:
                self._task.cancel()
                self._task = self._shown = None
                self._jpegs.clear()

    def width(self, wanted: int | None) -> int:
        """Return the image width to use for a requested one (null: the largest)."""
        return max(WIDTH_STEP, min(wanted or self._max_width, self._max_width) // WIDTH_STEP * WIDTH_STEP)

    async def jpegs(self, width: int) -> AsyncGenerator[bytes, None]:
        """Yield JPEG images as they arrive, skipping those that a slow viewer misses, until the server ends. Requires ``watching``."""
        shown = None
        while not self._broadcaster.closed:
            if self._shown is None or self._shown is shown:
                new_shown = self._new_shown
                try:
                    async with asyncio.timeout(WAIT_S):
                        await new_shown.wait()
                except TimeoutError:
                    continue
            if self._shown is not None and self._shown is not shown:
                shown = self._shown
                yield await self._jpeg(shown, width)

    async def one(self, width: int) -> bytes | None:
        """Return one JPEG image, or ``None`` if the camera delivers no frame in time."""
        with self.watching():
            images = self.jpegs(width)
            try:
                return await asyncio.wait_for(anext(images), WAIT_S)
            except (TimeoutError, StopAsyncIteration):
                return None
            finally:
                await images.aclose()

    async def _run(self) -> None:
        """Show new frames at the rate of the preview, and post the outlines of each."""
        loop = asyncio.get_running_loop()
        while not self._broadcaster.closed:
            if not await self._broadcaster.next_frame(WAIT_S) or self._live_state.newest is None:
                continue
            await asyncio.sleep(max(0.0, self._next_s - loop.time()))
            self._next_s = loop.time() + self._interval_s
            self._shown = self._live_state.newest
            self._jpegs = {}
            self._new_shown.set()
            self._new_shown = asyncio.Event()
            if self._broadcaster.has_subscriber_for("outlines"):
                outlines = await loop.run_in_executor(self._workers, _outlines, self._shown, self._live_state.state("cards"))
                self._broadcaster.post(Message("outlines", outlines))

    async def _jpeg(self, annotated: AnnotatedFrame, width: int) -> bytes:
        """Return a frame as JPEG; viewers of the same width share one encoding."""
        if annotated is not self._shown or width not in self._jpegs:
            encoding = asyncio.get_running_loop().run_in_executor(self._workers, _encode, annotated.frame.pixels, width)
            self.encoded += 1
            if annotated is not self._shown:
                return await encoding
            self._jpegs[width] = encoding
        return await asyncio.shield(self._jpegs[width])


def _encode(pixels: RgbImage, width: int) -> bytes:
    if pixels.shape[1] > width:
        height = max(1, round(pixels.shape[0] * width / pixels.shape[1]))
        # area averaging takes several times as long and is visible only at strong reduction
        method = cv2.INTER_AREA if pixels.shape[1] > 2 * width else cv2.INTER_LINEAR
        pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=method), dtype=np.uint8)
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return encoded.tobytes()


def _outlines(annotated: AnnotatedFrame, cards: dict[str, Any] | None) -> bytes:
    """Return the outlines of a frame with the published names, and the image quality where the cards are, as JSON."""
    published = {card["track_id"]: card for card in (cards or {}).get("cards", ())}
    outlines = []
    for outline in annotated.outlines:
        card = published.get(outline.track_id, {})
        outlines.append(
            {
                "track_id": outline.track_id,
                "quad": wire_quad(outline.quad),
                "status": card.get("status", "tentative"),
                "card_id": card.get("card_id"),
                "name": card.get("name"),
            }
        )
    frame = {"width": annotated.frame.width, "height": annotated.frame.height}
    return json.dumps({"frame": frame, **_image_quality(annotated), "outlines": outlines}, ensure_ascii=False).encode()


def _image_quality(annotated: AnnotatedFrame) -> dict[str, float]:
    """Return sharpness, brightness (0 to 1) and the share of clipped pixels at the first card, or in the middle of the frame."""
    pixels = annotated.frame.pixels
    height, width = pixels.shape[:2]
    left, top, right, bottom = width // 4, height // 4, width * 3 // 4, height * 3 // 4
    if annotated.outlines:
        corners = wire_quad(annotated.outlines[0].quad)
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        left, top = max(0, min(width - 2, int(min(xs)))), max(0, min(height - 2, int(min(ys))))
        right, bottom = max(left + 2, min(width, int(max(xs)) + 1)), max(top + 2, min(height, int(max(ys)) + 1))
    region = pixels[top:bottom, left:right]
    if region.shape[1] > _SHARPNESS_WIDTH:
        scale = _SHARPNESS_WIDTH / region.shape[1]
        size = (_SHARPNESS_WIDTH, max(2, round(region.shape[0] * scale)))
        region = np.asarray(cv2.resize(region, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    luma = cv2.cvtColor(region, cv2.COLOR_RGB2GRAY)
    sharpness = float(cv2.Laplacian(luma, cv2.CV_32F).var()) / _SHARPNESS_UNIT
    return {
        "sharpness": round(sharpness, 1),
        "brightness": round(float(luma.mean()) / 255.0, 3),
        "clipped": round(float((luma >= _CLIPPED).mean()), 3),
    }
