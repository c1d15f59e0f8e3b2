"""Routes that change something or compute: identify an image, correct, add a card, edit the session list, execute a command."""

import asyncio
import base64
import json
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Body, Path, Query, Request
from fastapi.responses import JSONResponse, Response

from edge.errors import CommandError
from edge.identification.answer import ImageAnswer
from edge.lists.commands import Clear, TakeBack
from edge.web.downloads import download
from edge.web.models import CorrectionReply, CorrectionRequest, NewCardRequest, Refusal, Reply
from edge.web.session_view import SessionState
from edge.web.uploads import RefusedError

if TYPE_CHECKING:
    from edge.web.service import PageService

IDENTIFY: Final = "/api/identify"
REPLY_TIMEOUT_S: Final = 30.0
_IMAGE: Final = {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}


def action_routes(page: "PageService") -> APIRouter:
    """Return the router of these routes."""
    router = APIRouter(responses={status: {"model": Refusal} for status in (400, 401, 403, 408, 409, 413, 422, 429)})
    _add_identify(router, page)
    _add_corrections(router, page)
    _add_session(router, page)
    _add_commands(router, page)
    return router


def _add_identify(router: APIRouter, page: "PageService") -> None:
    @router.post(IDENTIFY, openapi_extra={"requestBody": _IMAGE})
    async def identify(request: Request, rectified: Annotated[int, Query(ge=0, le=1)] = 0) -> ImageAnswer:
        """Identify the cards in an image; the request body is the image file."""
        with page.uploads.open_upload():
            content = await request.body()
            return await asyncio.to_thread(page.uploads.identify, content, rectified=bool(rectified))


def _add_corrections(router: APIRouter, page: "PageService") -> None:
    @router.post("/api/corrections", response_model=CorrectionReply)
    async def correct(correction: CorrectionRequest) -> Response:
        """State which card an event was about."""
        status, reply = await execute(page, "correct", correction.model_dump())
        if status == 202:
            raise RefusedError(status, "the scanner is busy; try again", code="busy")
        if status != 200:
            raise RefusedError(status, reply["error"], code=reply.get("code"))
        return JSONResponse(reply["data"])

    @router.post("/api/cards", response_model=Reply, responses={202: {"model": Reply}})
    async def add_card(card: NewCardRequest) -> Response:
        """Add the card of an event to this device, with the image of the event."""
        event = page.live_state.event(card.event_id)
        if event is None or event.crop is None:
            raise RefusedError(404, "event_id: there is no image of this event any more; show the card again", code="image_gone")
        image = base64.b64encode(event.crop).decode()
        arguments = {**card.model_dump(exclude={"event_id"}, exclude_none=True), "image": image, "rectified": True}
        status, reply = await execute(page, "index/add", arguments)
        return JSONResponse(reply, status)


def _add_session(router: APIRouter, page: "PageService") -> None:
    session = page.live_state.session

    @router.get("/api/session")
    async def whole() -> SessionState:
        """Return the active list, counted by card."""
        return session.snapshot()

    @router.post("/api/session/undo")
    async def undo() -> SessionState:
        """Remove the card that the camera counted last."""
        with suppress(CommandError):  # there is none
            await page.change_list(page.lists.active_id, TakeBack(do="take_back"))
        return session.snapshot()

    @router.post("/api/session/clear")
    async def clear() -> SessionState:
        """Remove all cards of the active list."""
        await page.change_list(page.lists.active_id, Clear(do="clear"))
        page.live_state.post_lists()
        return session.snapshot()

    @router.get("/api/session.csv", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
    async def session_csv() -> Response:
        """Download the active list, counted by card, as CSV."""
        return download(session.to_csv().encode(), "text/csv; charset=utf-8", "cards.csv")

    @router.get("/api/session.json", response_model=SessionState)
    async def session_json() -> Response:
        """Download the active list, counted by card, as JSON."""
        return download(session.snapshot().to_json(), "application/json", "cards.json")


def _add_commands(router: APIRouter, page: "PageService") -> None:
    @router.post("/api/commands/{name:path}", response_model=Reply, responses={202: {"model": Reply}, 409: {"model": Reply}})
    async def command(name: Annotated[str, Path(max_length=64)], arguments: Annotated[dict[str, Any] | None, Body()] = None) -> Response:
        """Execute a command of docs/mqtt.md."""
        status, reply = await execute(page, name, arguments or {})
        return JSONResponse(reply, status)


async def execute(page: "PageService", name: str, arguments: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Send a command to the daemon; return HTTP status and reply. Raises ``CommandError`` for an invalid command."""
    reply: Future[bytes] = Future()
    page.commands.submit(name, json.dumps(arguments).encode(), reply.set_result)
    try:
        # without the shield the future would be cancelled, and could not take the reply of a slower command
        payload: bytes = await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(reply)), REPLY_TIMEOUT_S)
    except TimeoutError:
        return 202, {"status": "pending"}
    answer = json.loads(payload)
    return (200 if answer["status"] == "ok" else 409), answer
