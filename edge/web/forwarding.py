"""Requests that a reverse proxy forwarded: the address of the client behind it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import NamedTuple

_SEPARATORS = {"cookie": "; "}


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
