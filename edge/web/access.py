"""Access control of the page: the token, the host name, the origin of requests that change something, and the security headers."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import secrets
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from edge.errors import SettingsError
from edge.settings.secret import read_secret
from edge.web.forwarding import Sender, is_forwarded, is_loopback, joined_headers, parse_address, sender_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from edge.settings.sections import HttpSection

CREDENTIAL: Final = "http-token"
MIN_TOKEN_CHARS: Final = 16
COOKIE: Final = "cardedge"
COOKIE_DAYS: Final = 30
FAILURES: Final = 10
FAILURES_WINDOW_S: Final = 60.0
FAILURES_BEHIND_PROXY: Final = 100
"""Wrong tokens of all clients of one proxy, whose headers a client may have invented."""
MAX_COOKIES: Final = 4
"""Cookies with the page's name that are compared per request; other servers on the same host may have set some."""
_ADDRESSES: Final = 1000
_SESSIONS: Final = 1000
_OPEN_PATHS: Final = ("/login", "/healthz")
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})

HEADERS: Final = (
    (
        b"content-security-policy",
        (
            b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; font-src 'self'; "
            b"connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        ),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)


def read_token(settings: HttpSection) -> str | None:
    """Return the token, or ``None`` if none is needed. Raises ``SettingsError`` if the address needs a token and there is none."""
    token = settings.token or _token_in_file(settings)
    if token is None and not is_loopback(settings.host):
        raise SettingsError(
            f"http.host = {settings.host!r}: any machine that reaches this address could use the scanner; write a token of at least "
            f"{MIN_TOKEN_CHARS} characters to a file and set http.token_file (or the systemd credential http-token), or listen on 127.0.0.1"
        )
    return token


def _token_in_file(settings: HttpSection) -> str | None:
    token = read_secret(settings.token_file, credential=CREDENTIAL, key="http.token_file")
    if token is None:
        return None
    token = token.strip()
    if len(token) < MIN_TOKEN_CHARS or not token.isascii() or not token.isprintable():
        raise SettingsError(f"http.token_file: the token must have at least {MIN_TOKEN_CHARS} printable ASCII characters")
    return token


class FailedTokens:
    """Counts wrong tokens per client address (IPv6: per /64 network) to slow down guessing."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def is_blocked(self, sender: Sender) -> bool:
        """Return whether this client, or all clients of its proxy together, have sent too many wrong tokens in the last minute."""
        return any(self._recent(key) >= limit for key, limit in _counters(sender))

    def record(self, sender: Sender) -> None:
        """Count a wrong token of this client."""
        for key, limit in _counters(sender):
            times = self._failures.setdefault(key, [])
            times.append(self._monotonic_s())
            del times[:-limit]
            self._failures.move_to_end(key)
        while len(self._failures) > _ADDRESSES:
            self._failures.popitem(last=False)

    def _recent(self, key: str) -> int:
        now_s = self._monotonic_s()
        return sum(now_s - at_s < FAILURES_WINDOW_S for at_s in self._failures.get(key, ()))


def _counters(sender: Sender) -> Iterator[tuple[str, int]]:
    """Yield the counters of a sender and their limits."""
    yield _client_key(sender.client), FAILURES
    if sender.proxy:
        yield f"proxy {sender.proxy}", FAILURES_BEHIND_PROXY


class Access:
    """Decides which requests are refused. ``token`` is null if none is needed; ``names`` are the accepted host names."""

    def __init__(self, token: str | None, names: frozenset[str], failed: FailedTokens | None = None) -> None:
        self._token = token.encode() if token else None
        self._proof = hmac.new(self._token, b"cardedge page", hashlib.sha256).hexdigest() if self._token else ""
        self._names = names
        self._sessions: OrderedDict[str, None] = OrderedDict()
        self.failed = failed or FailedTokens()

    def new_cookie(self) -> str:
        """Return the value of ``Set-Cookie`` after a login: the cookie replaces the token.

        It has a proof of the token and a random session. A known session remains signed in while its address is blocked.
        """
        session = secrets.token_urlsafe(16)
        self._remember(session)
        return f"{COOKIE}={self._proof}.{session}; Path=/; Max-Age={COOKIE_DAYS * 86_400}; HttpOnly; SameSite=Strict"

    def is_token(self, given: str) -> bool:
        """Compare a token with the right one in constant time."""
        return self._token is None or hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._token)

    def refusal(
        self, method: str, path: str, client: str, headers: Mapping[str, str], *, http_version: str = "1.1", port: int | None = None
    ) -> tuple[int, str] | None:
        """Return HTTP status and reason if a request is refused, else ``None``.

        ``headers`` have lower-case names; ``port`` is the server's.
        """
        if not self._is_own_name(headers.get("host", "")):
            return 421, "this is not a name of the scanner; use its IP address, or add the name to http.names"
        if method not in _SAFE and not _is_same_origin(headers):
            return 403, "requests from other web pages are refused; open the scanner's own page"
        if path in _OPEN_PATHS or path.startswith("/static/"):
            return None
        if is_loopback(client) and not is_forwarded(headers, http_version, _machine_names(), port):
            return None
        if self._token is None:
            return 403, "requests from other machines, forwarded by a proxy or tunnel, need a token; set http.token_file on the scanner"
        return self._token_refusal(client, headers)

    def _token_refusal(self, client: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        bearer = headers.get("authorization", "")
        cookies = [cookie.partition(".") for cookie in _cookies_in(headers.get("cookie", ""))]
        if not bearer and not cookies:
            return 401, "a token is required: sign in at /login, or send it as Authorization: Bearer"
        sender = sender_of(client, headers)
        if self.failed.is_blocked(sender):
            # only a random session is compared: a cookie without one would be a way to continue guessing tokens
            if any(session in self._sessions and self._is_proof(proof) for proof, _, session in cookies):
                return None
            return 429, "too many wrong tokens; wait a minute"
        kind, _, given = bearer.partition(" ")
        if kind.lower() == "bearer" and self.is_token(given.strip()):
            return None
        for proof, _, session in cookies:
            if self._is_proof(proof):
                self._remember(session)
                return None
        for _ in range(max(1, len(cookies))):
            self.failed.record(sender)
        return 401, "the token is wrong; see http.token_file on the scanner"

    def _is_proof(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._proof.encode())

    def _remember(self, session: str) -> None:
        if session:
            self._sessions[session] = None
            self._sessions.move_to_end(session)
            while len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)

    def _is_own_name(self, host: str) -> bool:
        """Accept any IP address and the known names; refuse other names, which could be made to resolve to this machine."""
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        return name is not None and (parse_address(name) is not None or name.rstrip(".") in self._names)


def own_names(settings: HttpSection) -> frozenset[str]:
    """Return the host names under which the page may be requested."""
    return _machine_names() | {settings.host.lower(), *(name.lower() for name in settings.names)}


def _machine_names() -> frozenset[str]:
    machine = socket.gethostname().lower()
    short = machine.partition(".")[0]
    return frozenset({"localhost", machine, short, f"{short}.local"})


class AccessMiddleware:
    """The outermost ASGI layer: refuses requests without access and adds the security headers to every response."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message.get("headers", ())}
                cache = () if b"cache-control" in present else ((b"cache-control", b"no-store"),)
                message["headers"] = [*message.get("headers", ()), *HEADERS, *cache]
            await send(message)

        headers = joined_headers(scope["headers"])
        client = scope["client"][0] if scope.get("client") else ""
        port = scope["server"][1] if scope.get("server") else None
        refusal = self._access.refusal(scope["method"], scope["path"], client, headers, http_version=scope["http_version"], port=port)
        if refusal is None:
            await self._app(scope, receive, send_with_headers)
        elif refusal[0] == 401 and scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            await _respond(send_with_headers, 303, b"", (b"location", f"/login?next={_redirect_target(scope['path'])}".encode()))
        else:
            await _respond(send_with_headers, refusal[0], json.dumps({"error": refusal[1]}).encode(), *_EXTRA.get(refusal[0], ()))


_EXTRA: Final = {401: ((b"www-authenticate", b"Bearer"),), 429: ((b"retry-after", b"60"),)}


async def _respond(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    shown = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": shown})
    await send({"type": "http.response.body", "body": body})


def _redirect_target(path: str) -> str:
    return path if path in ("/", "/status") else "/"


def _is_same_origin(headers: Mapping[str, str]) -> bool:
    """Return whether a request comes from the scanner's own page. Browsers always name the origin; other programs need not."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    except ValueError:
        return False


def _cookies_in(header: str) -> list[str]:
    """Return the values of the first cookies with the page's name, whatever other servers on the same host have set beside them."""
    pairs = (part.partition("=") for part in header.split(";"))
    return [value.strip().strip('"') for name, _, value in pairs if name.strip() == COOKIE and value.strip()][:MAX_COOKIES]


def _client_key(client: str) -> str:
    address = parse_address(client)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return client
