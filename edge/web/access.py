"""Who may see the page, and from where: token, name in ``Host``, origin of what changes something, and the headers of every answer."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import os
import socket
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from edge.errors import SettingsError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from edge.settings.sections import HttpSection

CREDENTIAL: Final = "http-token"
MIN_TOKEN_CHARS: Final = 16
COOKIE: Final = "cardedge"
COOKIE_DAYS: Final = 30
FAILURES: Final = 10
FAILURES_WINDOW_S: Final = 60.0
_ADDRESSES: Final = 1000
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
    """Return the token, None where nobody needs one. Raises ``SettingsError`` for a bind that needs one and has none."""
    token = settings.token or _token_in_file(settings)
    if token is None and not is_loopback(settings.host):
        raise SettingsError(
            f"http.host = {settings.host!r}: whoever reaches this address could use the scanner; put a token of at least {MIN_TOKEN_CHARS} "
            "characters into a file and set http.token_file (or the systemd credential http-token), or listen on 127.0.0.1"
        )
    return token


def _token_in_file(settings: HttpSection) -> str | None:
    file = settings.token_file
    if file is None and (folder := os.environ.get("CREDENTIALS_DIRECTORY")):
        credential = Path(folder) / CREDENTIAL
        file = credential if credential.exists() else None
    if file is None:
        return None
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"http.token_file: {file}: {error}; it must hold the token alone and be readable here") from error
    if len(token) < MIN_TOKEN_CHARS or not token.isascii() or not token.isprintable():
        raise SettingsError(f"http.token_file: {file}: the token needs at least {MIN_TOKEN_CHARS} printable ASCII characters")
    return token


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine itself, whatever the network says of its name."""
    if host.lower() == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


class FailedTokens:
    """Counts wrong tokens per address (of IPv6: per /64) and says who has to wait."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    def must_wait(self, client: str) -> bool:
        """Say whether this address has tried too often."""
        recent = [at_s for at_s in self._failures.get(_who(client), ()) if self._monotonic_s() - at_s < FAILURES_WINDOW_S]
        return len(recent) >= FAILURES

    def note(self, client: str) -> None:
        """Count a wrong token."""
        times = self._failures.setdefault(_who(client), [])
        times.append(self._monotonic_s())
        del times[:-FAILURES]
        self._failures.move_to_end(_who(client))
        while len(self._failures) > _ADDRESSES:
            self._failures.popitem(last=False)


class Access:
    """What a request must bring. Without ``token`` there is none to bring."""

    def __init__(self, token: str | None, names: frozenset[str], failed: FailedTokens | None = None) -> None:
        self._token = token.encode() if token else None
        self._cookie = hmac.new(self._token, b"cardedge page", hashlib.sha256).hexdigest() if self._token else ""
        self._names = names
        self.failed = failed or FailedTokens()

    @property
    def cookie(self) -> str:
        """What a browser keeps instead of the token."""
        return f"{COOKIE}={self._cookie}; Path=/; Max-Age={COOKIE_DAYS * 86_400}; HttpOnly; SameSite=Strict"

    def is_token(self, given: str) -> bool:
        """Compare a token in constant time."""
        return self._token is None or hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._token)

    def refusal(self, method: str, path: str, client: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Return status and reason when a request is refused; ``headers`` have names in lower case."""
        if not self._is_our_name(headers.get("host", "")):
            return 421, "this name is not one of the scanner's; use its address, or add the name to http.names"
        if method not in _SAFE and not _from_here(headers):
            return 403, "requests from other pages are refused; open the scanner's own page"
        if self._token is None or path in _OPEN_PATHS or path.startswith("/static/"):
            return None
        if is_loopback(client) and not {"forwarded", "x-forwarded-for"} & headers.keys():
            return None
        return self._token_refusal(client, headers)

    def _token_refusal(self, client: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        bearer = headers.get("authorization", "")
        cookie = _cookie_in(headers.get("cookie", ""))
        if not bearer and not cookie:
            return 401, "a token is needed: sign in at /login, or send it as Authorization: Bearer"
        if self.failed.must_wait(client):
            return 429, "too many wrong tokens; wait a minute"
        kind, _, given = bearer.partition(" ")
        if kind.lower() == "bearer" and self.is_token(given.strip()):
            return None
        if cookie and hmac.compare_digest(cookie.encode("utf-8", "surrogateescape"), self._cookie.encode()):
            return None
        self.failed.note(client)
        return 401, "the token is wrong; see http.token_file on the scanner"

    def _is_our_name(self, host: str) -> bool:
        """Take any address (a name that somebody made to lead here is none), and of names the known ones."""
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        return name is not None and (_address(name) is not None or name.rstrip(".") in self._names)


def own_names(settings: HttpSection) -> frozenset[str]:
    """Return the names the page may be asked for by."""
    machine = socket.gethostname().lower()
    short = machine.partition(".")[0]
    names = {"localhost", machine, short, f"{short}.local", settings.host.lower(), *(name.lower() for name in settings.names)}
    return frozenset(names)


class AccessMiddleware:
    """The outermost layer: refuses what must not come in, and dresses every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message.get("headers", ())}
                cache = () if b"cache-control" in given else ((b"cache-control", b"no-store"),)
                message["headers"] = [*message.get("headers", ()), *HEADERS, *cache]
            await send(message)

        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        client = scope["client"][0] if scope.get("client") else ""
        refusal = self._access.refusal(scope["method"], scope["path"], client, headers)
        if refusal is None:
            await self._app(scope, receive, dressed)
        elif refusal[0] == 401 and scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            await _answer(dressed, 303, b"", (b"location", f"/login?next={_page(scope['path'])}".encode()))
        else:
            await _answer(dressed, refusal[0], json.dumps({"error": refusal[1]}).encode(), *_EXTRA.get(refusal[0], ()))


_EXTRA: Final = {401: ((b"www-authenticate", b"Bearer"),), 429: ((b"retry-after", b"60"),)}


async def _answer(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    shown = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": shown})
    await send({"type": "http.response.body", "body": body})


def _page(path: str) -> str:
    return path if path in ("/", "/status") else "/"


def _from_here(headers: Mapping[str, str]) -> bool:
    """Say whether a request comes from our own page: a browser names the page, what names none is no browser."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    if origin is None:
        return True
    try:
        return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    except ValueError:
        return False


def _cookie_in(header: str) -> str:
    try:
        cookie = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _who(client: str) -> str:
    address = _address(client)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return client
