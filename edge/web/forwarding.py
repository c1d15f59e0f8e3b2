"""Requests that a reverse proxy forwarded: whether one was, and the address of the client behind it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

_SEPARATORS: Final = {"cookie": "; "}
_PROXY_HEADERS: Final = frozenset(
    {"forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip", "cf-connecting-ip"}
)
_PROXY_PREFIXES: Final = ("x-forwarded", "x-original-", "x-envoy-")


class Sender(NamedTuple):
    """Who sent a request: the client's address, and the address of the proxy on this machine that forwarded it, empty without one."""

    client: str
    proxy: str = ""


def joined_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers of an ASGI scope with lower-case names; the values of repeated headers are joined."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = headers[name] + _SEPARATORS.get(name, ", ") + value if name in headers else value
    return headers


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, without a name lookup."""
    if host.lower() == "localhost":
        return True
    address = parse_address(host)
    return address is not None and address.is_loopback


def is_forwarded(headers: Mapping[str, str], http_version: str, machine: frozenset[str], port: int | None) -> bool:
    """Return whether a request from a loopback address shows any sign that a program forwarded it for another machine.

    Signs are a header that proxies add, HTTP/1.0 (the default of nginx, used by no browser), and a ``Host`` that is neither loopback nor a
    name of ``machine`` with the ``port`` of the server. A proxy that shows none of these cannot be recognized.
    """
    if http_version == "1.0" or any(name in _PROXY_HEADERS or name.startswith(_PROXY_PREFIXES) for name in headers):
        return True
    try:
        host = urlsplit(f"//{headers.get('host', '')}")
        name, given_port = host.hostname or "", host.port
    except ValueError:
        return True
    if is_loopback(name):
        return False
    return name.rstrip(".") not in machine or not (given_port == port or (port == 80 and given_port is None))


def sender_of(peer: str, headers: Mapping[str, str]) -> Sender:
    """Return the sender of a request from the address ``peer``.

    Only a proxy on this machine is believed, and of its headers only the last address, which it has added itself.
    """
    address = parse_address(peer)
    if address is None or not address.is_loopback:
        return Sender(peer)
    last_hop = headers.get("forwarded", "").rpartition(",")[2].lower()
    hop = next((part.partition("=")[2] for part in last_hop.split(";") if part.strip().startswith("for=")), "")
    for named in (headers.get("x-forwarded-for", "").rpartition(",")[2], headers.get("x-real-ip", ""), hop):
        client = parse_address(_without_port(named.strip().strip('"')))
        if client is not None:
            return Sender(str(client), peer)
    return Sender(peer)


def parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an IP address, or ``None`` if the text is none. A zone is ignored."""
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text
