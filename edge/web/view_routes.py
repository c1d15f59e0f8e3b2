"""Routes that only show: state, events, streams, pictures, search, health, logs."""

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
_ALWAYS: Final = frozenset({"card", "cards", "last_card", "health", "index", "model", "controls", "session"})

Width = Annotated[int | None, Query(ge=1, le=8192, description="Widest picture wanted, pixels.")]
CardIdInPath = Annotated[str, Path(min_length=1, max_length=128)]


def view_routes(page: "PageService") -> APIRouter:
    """Return the routes."""
    router = APIRouter(responses={401: {"model": Refusal}, 422: {"model": Refusal}})
    _add_states(router, page)
    _add_streams(router, page)
    _add_pictures(router, page)
    _add_health(router, page)
    return router


def _add_states(router: APIRouter, page: "PageService") -> None:
    @router.get("/api/state", response_model=State)
    async def state() -> Response:
        """The newest payload of every state."""
        known = page.live_state.states()
        missing = dict.fromkeys(State.model_fields, b"null")
        body = b",".join(f'"{name}":'.encode() + payload for name, payload in {**missing, **known}.items())
        return Response(b"{" + body + b"}", media_type="application/json")

    @router.get("/api/events", response_model=list[CardEvent])
    async def last_events(limit: Annotated[int, Query(ge=1, le=KEPT_EVENTS)] = 50) -> Response:
        """The last card events, newest first."""
        newest = [shown.event.to_json() for shown in reversed(page.live_state.events()[-limit:])]
        return Response(b"[" + b",".join(newest) + b"]", media_type="application/json")

    @router.get("/api/search")
    def search(
        q: Annotated[str, Query(max_length=200, description="Beginnings of words of the name or id, or a collector number.")],
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
    ) -> list[FoundCard]:
        """Cards of the index by name or number."""
        found = page.catalogue.search(q, limit)
        return [FoundCard(card_id=card.card_id, name=card.name, set=card.set, number=card.number) for card in found]

    @router.get("/api/logs")
    async def logs(limit: Annotated[int, Query(ge=1, le=500)] = 200) -> list[LogLine]:
        """The last log lines, oldest first."""
        return [LogLine(**line) for line in page.logs.lines(limit)]


def _add_streams(router: APIRouter, page: "PageService") -> None:
    @router.get("/api/stream", response_class=Response, responses={200: {"content": {"text/event-stream": {}}}})
    async def stream(
        outlines: Annotated[int, Query(ge=0, le=1)] = 0,
        log: Annotated[int, Query(ge=0, le=1)] = 0,
        last_event_id: Annotated[str | None, Header(max_length=64, description="The last event a reconnecting viewer has seen.")] = None,
        after: Annotated[str | None, Query(max_length=64, description="The same, for viewers that cannot set a header.")] = None,
    ) -> Response:
        """Everything that happens, as server-sent events."""
        wants = _ALWAYS | ({"outlines"} if outlines else set()) | ({"log"} if log else set())
        seen = last_event_id or after

        def first() -> Sequence[bytes]:
            return _missed(page.live_state, seen) + [Message(name, data).encoded() for name, data in page.live_state.states().items()]

        parts = events(page.broadcaster, wants, first, page.preview.watching) if outlines else events(page.broadcaster, wants, first)
        return BoundedStream(parts, "text/event-stream; charset=utf-8")

    @router.get("/api/preview.mjpg", response_class=Response, responses={200: {"content": {"multipart/x-mixed-replace": {}}}})
    async def live_preview(width: Width = None) -> Response:
        """What the camera sees, live."""
        return BoundedStream(motion_jpeg(page.preview, page.preview.width(width)), f"multipart/x-mixed-replace; boundary={BOUNDARY}")


def _missed(showcase: LiveState, seen: str | None) -> list[bytes]:
    """Return the card events after the one that was seen last; all that are kept when that one is too old to be known."""
    if not seen:
        return []
    shown = showcase.events()
    place = next((place for place, one in enumerate(shown) if one.event.event_id == seen), -1)
    return [Message("card", one.event.to_json(), one.event.event_id).encoded() for one in shown[place + 1 :]]


def _add_pictures(router: APIRouter, page: "PageService") -> None:
    @router.get("/api/preview.jpg", response_class=Response, responses=JPEG)
    async def preview(width: Width = None) -> Response:
        """What the camera sees now."""
        jpeg = await page.preview.one(page.preview.width(width))
        return _jpeg(jpeg, "the camera has not delivered a frame for seconds; see /healthz", "no-store")

    @router.get("/api/crops/{event_id}.jpg", response_class=Response, responses=JPEG)
    async def crop(event_id: Annotated[str, Path(max_length=64)]) -> Response:
        """A card as the camera saw it."""
        shown = page.live_state.event(event_id)
        return _jpeg(shown.crop if shown else None, "no picture of this event is kept", "private, max-age=86400, immutable")

    @router.get("/api/pictures/{card_id:path}.jpg", response_class=Response, responses=JPEG)
    def picture(card_id: CardIdInPath) -> Response:
        """The reference picture of a card."""
        return _jpeg(page.catalogue.picture(card_id), "the index has no picture of this card", "private, max-age=300")


def _jpeg(content: bytes | None, otherwise: str, cache: str) -> Response:
    if content is None:
        raise RefusedError(404, otherwise)
    return Response(content, media_type="image/jpeg", headers={"Cache-Control": cache})


def _add_health(router: APIRouter, page: "PageService") -> None:
    @router.get("/healthz", response_model=Condition, responses={503: {"model": Condition}})
    async def healthz() -> Response:
        """Whether the scanner works."""
        status, reasons = condition(*page.newest_health())
        return JSONResponse({"status": status, "reasons": reasons}, 503 if status == "failed" else 200)

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def metrics(request: Request) -> Response:
        """Figures for Prometheus."""
        if request.query_params:
            raise HTTPException(422, "/metrics takes no parameters")
        return Response(page.metrics.render(), headers={"Content-Type": CONTENT_TYPE})
