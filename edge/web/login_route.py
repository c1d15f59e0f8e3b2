"""Signing in: the token, typed once, becomes a cookie."""

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from edge.web.models import Done, Login, Refusal

if TYPE_CHECKING:
    from edge.web.service import PageService


def login_route(page: "PageService") -> APIRouter:
    """Return the route that takes the token."""
    router = APIRouter()

    @router.post("/login", response_model=Done, responses={status: {"model": Refusal} for status in (403, 422, 429)})
    async def login(request: Request, given: Login) -> Response:
        """Sign in with the token; sets a cookie."""
        client = request.client.host if request.client else ""
        if page.access.failed.must_wait(client):
            return JSONResponse({"error": "too many wrong tokens; wait a minute"}, 429, {"Retry-After": "60"})
        if not page.access.is_token(given.token):
            page.access.failed.note(client)
            return JSONResponse({"error": "the token is wrong; it is in the file http.token_file names on the scanner"}, 403)
        return JSONResponse({"status": "ok"}, headers={"Set-Cookie": page.access.cookie})

    return router
