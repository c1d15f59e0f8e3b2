"""The ASGI application with all routes of ``docs/web.md``."""

import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from edge import __version__
from edge.errors import CommandError, DataError, EdgeError
from edge.web.access import AccessMiddleware
from edge.web.action_routes import IDENTIFY, action_routes
from edge.web.list_routes import list_routes
from edge.web.login_route import login_route
from edge.web.models import Refusal
from edge.web.request_limits import RequestLimits
from edge.web.transfer_routes import is_transfer, transfer_routes
from edge.web.uploads import RefusedError
from edge.web.view_routes import view_routes

if TYPE_CHECKING:
    from edge.web.service import PageService

_log = logging.getLogger(__name__)

STATIC: Final = Path(__file__).resolve().parent / "static"
_PAGES: Final = {"/": "kiosk.html", "/counter": "counter.html", "/print": "print.html", "/status": "status.html", "/login": "login.html"}


class _RevalidatedFiles(StaticFiles):
    """Static files that the browser revalidates on each use, so that an update takes effect at once."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Return the file, or status 304 if it has not changed."""
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response


def make_application(page: "PageService") -> ASGIApp:
    """Return the ASGI application of a page: its routes, with limits on request bodies and with access control."""
    bounded = RequestLimits(_make_routes(page), lambda path: path == IDENTIFY or is_transfer(path), page.settings.max_upload_mb * 1_000_000)
    return AccessMiddleware(bounded, page.access)


def _make_routes(page: "PageService") -> FastAPI:
    app = FastAPI(
        title="CardEdge",
        version=__version__,
        description="The scanner's page and HTTP API.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=page.lifespan,
    )
    for path, file in _PAGES.items():
        app.add_api_route(path, _show_file(STATIC / file), methods=["GET"], include_in_schema=False)
    app.mount("/static", _RevalidatedFiles(directory=STATIC))
    app.include_router(login_route(page))
    app.include_router(view_routes(page))
    app.include_router(action_routes(page))
    app.include_router(list_routes(page))
    app.include_router(transfer_routes(page))
    app.exception_handler(HTTPException)(_http_error)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(EdgeError)(_edge_error)
    app.exception_handler(ClientDisconnect)(_client_left)
    return app


def _show_file(file: Path) -> Callable[[], Coroutine[Any, Any, FileResponse]]:
    async def show() -> FileResponse:
        return FileResponse(file, media_type="text/html; charset=utf-8", headers={"Cache-Control": "no-cache"})

    return show


def _refusal(status: int, error: str | EdgeError, headers: dict[str, str] | None = None) -> JSONResponse:
    refusal = Refusal(error=str(error), **({"code": error.code, "values": error.values} if isinstance(error, EdgeError) else {}))
    return JSONResponse(refusal.model_dump(mode="json", exclude_defaults=True), status, headers)


async def _http_error(request: Request, error: HTTPException) -> Response:
    text = {404: f"there is no {request.url.path}; see /api/openapi.json", 405: f"the method {request.method} is not allowed here"}
    return _refusal(error.status_code, text.get(error.status_code, str(error.detail)), dict(error.headers or {}))


async def _invalid(_request: Request, error: RequestValidationError) -> Response:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    return _refusal(422, f"{place or 'request'}: {first['msg']}; see /api/openapi.json")


async def _client_left(_request: Request, _error: Exception) -> Response:
    return _refusal(400, "the request was not received completely")  # not sent: the connection is closed


async def _edge_error(_request: Request, error: EdgeError) -> Response:
    match error:
        case RefusedError(status=status, retry_after_s=retry_after_s):
            return _refusal(status, error, {"Retry-After": str(retry_after_s)} if retry_after_s else None)
        case DataError():
            return _refusal(422, error)
        case CommandError():
            return _refusal(409, error)
    _log.error("a request failed: %s", error)
    return _refusal(503, error)
