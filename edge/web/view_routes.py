"""Routes that only read: states, events, streams, images, search, health, logs."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Header, HTTPException, Path, Query, Request
from fastapi.responses import JSONResponse, Response

from edge.publishing.event import KEPT_EVENTS, CardEvent
from edge.web.broadcast import Message
from edge.web.live_state import LiveState
from edge.web.metrics import CONTENT_TYPE, condition
from edge.web.models import Condition, FoundCard, LogLine, Refusal, State
from edge.web.streaming import BOUNDARY, BoundedStream, events, motion_jpeg
from edge.web.uploads import RefusedError

if TYPE_CHECKING:
    from edge.web.service import PageService

JPEG: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"image/jpeg": {}}}, 404: {"model": Refusal}}
_ALWAYS: Final = frozenset(
    {"card", "cards", "last_card", "health", "index", "model", "controls", "session", "session_change", "list_change", "lists"}
)

Width = Annotated[int | None, Query(ge=1, le=8192, description="Largest width of the image in pixels.")]
CardIdInPath = Annotated[str, Path(min_length=1, max_length=128)]


def view_routes(page: "PageService") -> APIRouter:
    """Return the router of these routes."""
    router = APIRouter(responses={401: {"model": Refusal}, 422: {"model": Refusal}})
    _add_states(router, page)
    _add_streams(router, page)
    _add_images(router, page)
    _add_health(router, page)
    return router


def _add_states(router: APIRouter, page: "PageService") -> None:
    @router.get("/api/state", response_model=State)
    async def state() -> Response:
        """Return the latest payload of every state."""
        known = page.live_state.states()
        missing = dict.fromkeys(State.model_fields, b"null")
        body = b",".join(f'"{name}":'.encode() + payload for name, payload in {**missing, **known}.items())
        return Response(b"{" + body + b"}", media_type="application/json")

    @router.get("/api/events", response_model=list[CardEvent])
    async def last_events(limit: Annotated[int, Query(ge=1, le=KEPT_EVENTS)] = 50) -> Response:
        """Return the latest card events, newest first."""
        newest = [kept.event.to_json() for kept in reversed(page.live_state.events()[-limit:])]
        return Response(b"[" + b",".join(newest) + b"]", media_type="application/json")

    @router.get("/api/search")
    def search(
        q: Annotated[str, Query(max_length=200, description="Prefixes of words of the name or id, or a collector number.")],
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> list[FoundCard]:
        """Find cards of the index by name or number."""
        found = page.card_search.search(q, limit)
        return [FoundCard(card_id=card.card_id, name=card.name, set=card.set, number=card.number) for card in found]

    @router.get("/api/logs")
    async def logs(limit: Annotated[int, Query(ge=1, le=500)] = 200) -> list[LogLine]:
        """Return the latest log lines, oldest first."""
        return [LogLine(**line) for line in page.logs.lines(limit)]


def _add_streams(router: APIRouter, page: "PageService") -> None:
    @router.get("/api/stream", response_class=Response, responses={200: {"content": {"text/event-stream": {}}}})
    async def stream(
        outlines: Annotated[int, Query(ge=0, le=1)] = 0,
        log: Annotated[int, Query(ge=0, le=1)] = 0,
        last_event_id: Annotated[
            str | None, Header(max_length=64, description="Id of the last event that a reconnecting client received.")
        ] = None,
        after: Annotated[str | None, Query(max_length=64, description="The same for clients that cannot set a header.")] = None,
    ) -> Response:
        """Stream states and events as server-sent events."""
        wants = _ALWAYS | ({"outlines"} if outlines else set()) | ({"log"} if log else set())
        seen = last_event_id or after

        def first() -> Sequence[bytes]:
            return _missed(page.live_state, seen) + [Message(name, data).encoded() for name, data in page.live_state.states().items()]

        parts = events(page.broadcaster, wants, first, page.preview.watching) if outlines else events(page.broadcaster, wants, first)
        return BoundedStream(parts, "text/event-stream; charset=utf-8")

    @router.get("/api/preview.mjpg", response_class=Response, responses={200: {"content": {"multipart/x-mixed-replace": {}}}})
    async def live_preview(width: Width = None) -> Response:
        """Stream the camera image as motion JPEG."""
        return BoundedStream(motion_jpeg(page.preview, page.preview.width(width)), f"multipart/x-mixed-replace; boundary={BOUNDARY}")


def _missed(live_state: LiveState, seen: str | None) -> list[bytes]:
    """Return the card events after the event with the id ``seen``; all that are kept if that one is not among them."""
    if not seen:
        return []
    kept = live_state.events()
    place = next((place for place, one in enumerate(kept) if one.event.event_id == seen), -1)
    return [Message("card", one.event.to_json(), one.event.event_id).encoded() for one in kept[place + 1 :]]


def _add_images(router: APIRouter, page: "PageService") -> None:
    @router.get("/api/preview.jpg", response_class=Response, responses=JPEG)
    async def preview(width: Width = None) -> Response:
        """Return the current camera image."""
        jpeg = await page.preview.one(page.preview.width(width))
        return _jpeg(jpeg, "the camera has delivered no frame for several seconds; see /healthz", "no-store")

    @router.get("/api/crops/{event_id}.jpg", response_class=Response, responses=JPEG)
    async def crop(event_id: Annotated[str, Path(max_length=64)]) -> Response:
        """Return the camera image of a card, rectified."""
        kept = page.live_state.event(event_id)
        image = kept.crop if kept else await asyncio.to_thread(page.pictures.get, event_id)
        return _jpeg(image, "there is no image of this event any more", "private, max-age=86400, immutable")

    @router.get("/api/pictures/{card_id:path}.jpg", response_class=Response, responses=JPEG)
    def reference_image(card_id: CardIdInPath) -> Response:
        """Return the reference image of a card."""
        return _jpeg(page.card_search.reference_image(card_id), "the index has no image of this card", "private, max-age=300")


def _jpeg(content: bytes | None, otherwise: str, cache: str) -> Response:
    if content is None:
        raise RefusedError(404, otherwise)
    return Response(content, media_type="image/jpeg", headers={"Cache-Control": cache})


def _add_health(router: APIRouter, page: "PageService") -> None:
    @router.get("/healthz", response_model=Condition, responses={503: {"model": Condition}})
    async def healthz() -> Response:
        """Return the condition of the scanner."""
        status, reasons = condition(*page.live_state.newest_health())
        return JSONResponse({"status": status, "reasons": reasons}, 503 if status == "failed" else 200)

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def metrics(request: Request) -> Response:
        """Return metrics for Prometheus."""
        if request.query_params:
            raise HTTPException(422, "/metrics takes no parameters")
        return Response(page.metrics.render(), headers={"Content-Type": CONTENT_TYPE})
