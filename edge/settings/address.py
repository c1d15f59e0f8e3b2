"""Addresses of network cameras: how they are shown without secrets, and how a login is added.

An address may contain a login (``rtsp://user:password@camera/1``) or carry one in its parameters. Only ``redact_address`` of it may appear
in a log, a message or a published payload.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.:-]*", re.IGNORECASE)
_HOST: Final = re.compile(r"(\[[0-9a-f:.%]+\]|[\w.-]*)(:\d{1,5})?", re.IGNORECASE)
_PARTS: Final = re.compile(r"([^/?#]*)([^?#]*)(.*)", re.DOTALL)
"""Authority, path, and parameters with the fragment."""

_IN_TEXT: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^\s'\"<>]+", re.IGNORECASE)


def is_address(source: str) -> bool:
    """Return whether ``source`` is an address with a scheme, such as ``rtsp://camera/1``, not a file or device."""
    scheme, mark, _ = source.partition("://")
    return bool(mark) and _SCHEME.fullmatch(scheme) is not None


def has_login(address: str) -> bool:
    """Return whether an address contains a user name or a password before its host."""
    authority, _, _ = _split(address.partition("://")[2])
    return bool(authority.rpartition("@")[0])


def redact_address(address: str) -> str:
    """Return an address without its login and its parameters; files and devices are returned as they are.

    Path segments that look like parameters (``user=admin_password=1234``) are left out too. If it is not certain where the login ends,
    as with an unescaped ``/`` in a password, only the scheme remains.
    """
    if not is_address(address):
        is_path = address.startswith(("/", "."))
        return "…" if not is_path and re.search(r"@|[?=].*=|:.*=", address) else address
    scheme, _, rest = address.partition("://")
    authority, path, parameters = _split(rest)
    login, _, host = authority.rpartition("@")
    if "@" in path + parameters or _HOST.fullmatch(host) is None:
        return f"{scheme}://…"
    shown_path = "/".join("…" if re.search(r"[=:;&,%]", segment) else segment for segment in path.split("/"))
    return f"{scheme}://{'…@' if login else ''}{host}{shown_path}{'?…' if parameters else ''}"


def redact_addresses(text: str) -> str:
    """Return ``text`` with every address in it redacted."""
    return _IN_TEXT.sub(lambda found: redact_address(found[0]), text)


def with_login(address: str, username: str, password: str | None) -> str:
    """Return ``address`` with a login; special characters of user name and password are escaped."""
    scheme, _, rest = address.partition("://")
    login = quote(username, safe="") + ("" if password is None else f":{quote(password, safe='')}")
    return f"{scheme}://{login}@{rest}"


def _split(rest: str) -> tuple[str, str, str]:
    """Return authority, path and parameters of the part of an address behind its scheme."""
    parts = _PARTS.fullmatch(rest)
    return ("", rest, "") if parts is None else (parts[1], parts[2], parts[3])
