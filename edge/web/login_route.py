"""Sign in: exchange the token for a cookie."""

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from edge.web.forwarding import joined_headers, sender_of
from edge.web.models import LoginReply, LoginRequest, Refusal
from edge.web.uploads import RefusedError

if TYPE_CHECKING:
    from edge.web.service import PageService


def login_route(page: "PageService") -> APIRouter:
    """Return the router of the login route."""
    router = APIRouter()

    @router.post("/login", response_model=LoginReply, responses={status: {"model": Refusal} for status in (403, 422, 429)})
    async def login(request: Request, body: LoginRequest) -> Response:
        """Sign in with the token; sets a cookie."""
        sender = sender_of(request.client.host if request.client else "", joined_headers(request.scope["headers"]))
        if page.access.failed.is_blocked(sender):
            raise RefusedError(429, "too many wrong tokens; wait a minute", retry_after_s=60, code="too_many_tokens")
        if not page.access.is_token(body.token):
            page.access.failed.record(sender)
            raise RefusedError(403, "the token is wrong; it is in the file that http.token_file names on the scanner", code="wrong_token")
        return JSONResponse({"status": "ok"}, headers={"Set-Cookie": page.access.new_cookie()})

    return router
