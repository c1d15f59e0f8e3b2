"""Routes of the counter's lists."""

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import Response

from edge.lists.commands import Edit, ListCommand, Settle
from edge.lists.store import ListSummary, ListUpdate, WholeList
from edge.web.action_routes import execute
from edge.web.models import NewListRequest, Refusal

if TYPE_CHECKING:
    from edge.web.service import PageService

ListId = Annotated[str, Path(max_length=64, description="Id of a list, or `active`.")]


def list_routes(page: "PageService") -> APIRouter:
    """Return the router of these routes."""
    router = APIRouter(responses={status: {"model": Refusal} for status in (401, 403, 409, 413, 422)})
    _add_lists(router, page)
    _add_changes(router, page)
    return router


def _add_lists(router: APIRouter, page: "PageService") -> None:
    @router.get("/api/lists")
    async def lists() -> tuple[ListSummary, ...]:
        """Return the overview of all lists, the one resumed last first."""
        return page.lists.summaries()

    @router.post("/api/lists")
    async def create(wanted: NewListRequest) -> tuple[ListSummary, ...]:
        """Begin a list; a counted one becomes active. Returns the overview."""
        page.lists.create(wanted.name, wanted.kind)
        return await _changed(page)

    @router.post("/api/lists/{list_id}/resume")
    async def resume(list_id: ListId) -> tuple[ListSummary, ...]:
        """Make a list the active one. Returns the overview."""
        page.lists.resume(resolved(page, list_id))
        return await _changed(page)

    @router.post("/api/lists/active/pause")
    async def pause() -> tuple[ListSummary, ...]:
        """Count nothing until a list is resumed. Returns the overview."""
        page.lists.pause()
        return await _changed(page)

    @router.post("/api/lists/{list_id}/delete")
    async def delete(list_id: ListId) -> tuple[ListSummary, ...]:
        """Delete a list for good. Returns the overview."""
        page.lists.delete(resolved(page, list_id))
        return await _changed(page)


def _add_changes(router: APIRouter, page: "PageService") -> None:
    @router.get("/api/lists/{list_id}", response_model=WholeList)
    def whole(list_id: ListId) -> Response:
        """Return a list with all its lines."""
        return Response(page.lists.whole(resolved(page, list_id)).to_json(), media_type="application/json")

    @router.post("/api/lists/{list_id}/commands")
    async def command(list_id: ListId, command: ListCommand) -> ListUpdate:
        """Change a list; returns the change when it is on the disk."""
        list_id = resolved(page, list_id)
        if (correction := _correction(page, list_id, command)) is not None:
            status, _ = await execute(page, "correct", correction)
            if status == 200:  # the correction has changed the list
                return page.lists.current(list_id)
        return await page.change_list(list_id, command)


def _correction(page: "PageService", list_id: str, command: Any) -> dict[str, Any] | None:
    """Return the correction that a command is, so that it is published and kept for review; None if its event is too old, or it is none."""
    if not isinstance(command, Settle | Edit) or command.card_id is None or list_id != page.lists.active_id:
        return None
    line = page.lists.line(list_id, command.line)
    if line is None or line.event_id is None or page.live_state.event(line.event_id) is None:
        return None
    is_one_copy = line.waiting or 1 in (line.quantity, getattr(command, "copies", None))
    return {"event_id": line.event_id, "card_id": command.card_id} if is_one_copy else None


def resolved(page: "PageService", list_id: str) -> str:
    """Return the id of a list that may be given as ``active``."""
    return page.lists.active_id if list_id == "active" else list_id


async def _changed(page: "PageService") -> tuple[ListSummary, ...]:
    await page.save_lists()
    page.live_state.post_lists()
    return page.lists.summaries()
