"""Routes that do something: look at a picture, correct, add a card, keep the list, carry out a command."""

import asyncio
import base64
import json
from concurrent.futures import Future
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Body, Path, Query, Request
from fastapi.responses import JSONResponse, Response

from edge.identification.answer import ImageAnswer
from edge.web.models import Corrected, Correction, NewCard, Refusal, Reply
from edge.web.session_list import Session
from edge.web.uploads import RefusedError

if TYPE_CHECKING:
    from edge.web.service import PageService

IDENTIFY: Final = "/api/identify"
REPLY_TIMEOUT_S: Final = 30.0
_PICTURE: Final = {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}


def action_routes(page: "PageService") -> APIRouter:
    """Return the routes."""
    router = APIRouter(responses={status: {"model": Refusal} for status in (400, 401, 403, 408, 409, 413, 422, 429)})
    _add_pictures(router, page)
    _add_corrections(router, page)
    _add_session(router, page)
    _add_commands(router, page)
    return router


def _add_pictures(router: APIRouter, page: "PageService") -> None:
    @router.post(IDENTIFY, openapi_extra={"requestBody": _PICTURE})
    async def identify(request: Request, rectified: Annotated[int, Query(ge=0, le=1)] = 0) -> ImageAnswer:
        """Which cards a picture shows; the body is the picture."""
        content = await request.body()
        return await asyncio.to_thread(page.identifier.identify, content, rectified=bool(rectified))


def _add_corrections(router: APIRouter, page: "PageService") -> None:
    @router.post("/api/corrections", response_model=Corrected)
    async def correct(correction: Correction) -> Response:
        """Say which card an event was truly about."""
        status, reply = await _carry_out(page, "correct", correction.model_dump())
        if status != 200:
            raise RefusedError(status, reply.get("error") or "the scanner is busy; try again")
        return JSONResponse(reply["data"])

    @router.post("/api/cards", response_model=Reply, responses={202: {"model": Reply}})
    async def add_card(card: NewCard) -> Response:
        """Add the card of an event to this device, with its picture."""
        shown = page.live_state.event(card.event_id)
        if shown is None or shown.crop is None:
            raise RefusedError(404, "event_id: no picture of this event is kept; show the card again")
        image = base64.b64encode(shown.crop).decode()
        arguments = {**card.model_dump(exclude={"event_id"}, exclude_none=True), "image": image, "rectified": True}
        status, reply = await _carry_out(page, "index/add", arguments)
        return JSONResponse(reply, status)


def _add_session(router: APIRouter, page: "PageService") -> None:
    @router.get("/api/session")
    async def session() -> Session:
        """The list of this session."""
        return page.session.shown()

    @router.post("/api/session/undo")
    async def undo() -> Session:
        """Take the last card off the list."""
        page.session.undo()
        page.live_state.show_session()
        return page.session.shown()

    @router.post("/api/session/clear")
    async def clear() -> Session:
        """Begin a new list."""
        page.session.clear()
        page.live_state.show_session()
        return page.session.shown()

    @router.get("/api/session.csv", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
    async def session_csv() -> Response:
        """The list as CSV."""
        return _saved(page.session.as_csv().encode(), "text/csv; charset=utf-8", "cards.csv")

    @router.get("/api/session.json", response_model=Session)
    async def session_json() -> Response:
        """The list as JSON."""
        return _saved(page.session.shown().to_json(), "application/json", "cards.json")


def _saved(content: bytes, media_type: str, name: str) -> Response:
    return Response(content, media_type=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _add_commands(router: APIRouter, page: "PageService") -> None:
    @router.post("/api/commands/{name:path}", response_model=Reply, responses={202: {"model": Reply}, 409: {"model": Reply}})
    async def command(name: Annotated[str, Path(max_length=64)], arguments: Annotated[dict[str, Any] | None, Body()] = None) -> Response:
        """Carry out a command of docs/mqtt.md."""
        status, reply = await _carry_out(page, name, arguments or {})
        return JSONResponse(reply, status)


async def _carry_out(page: "PageService", name: str, arguments: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Return status and reply of a command. Raises ``CommandError`` for a wrong one."""
    reply: Future[bytes] = Future()
    page.commands.submit(name, json.dumps(arguments).encode(), reply.set_result)
    try:
        payload: bytes = await asyncio.wait_for(asyncio.wrap_future(reply), REPLY_TIMEOUT_S)
    except TimeoutError:
        return 202, {"status": "pending"}
    answer = json.loads(payload)
    return (200 if answer["status"] == "ok" else 409), answer
