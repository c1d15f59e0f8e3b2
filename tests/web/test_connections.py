"""Idle and unfinished connections are closed, and /healthz is answered whatever other connections are open."""

import re
import socket
import time
from contextlib import ExitStack, contextmanager

import pytest

from edge.adapters import http
from tests.support.paths import ROOT
from tests.web.served import until

UNFINISHED = b"GET /api/state HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
BODY_MISSING = b"POST /api/corrections HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{"
WHOLE = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@contextmanager
def connections(served, count, sent=b"", source="127.0.0.1"):
    """Open connections that each send some bytes and no more."""
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", served.server.port), 10.0, (source, 0)))
            client.sendall(sent)
            opened.append(client)
        yield opened


def is_closed(client, wait_s=0.01):
    client.settimeout(wait_s)
    try:
        return client.recv(1 << 16) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def open_in_server(served):
    return len(served.server._server.server_state.connections)


@pytest.mark.parametrize("sent", [b"", UNFINISHED, BODY_MISSING], ids=["nothing", "half of the headers", "half of the body"])
def test_the_health_is_answered_beside_more_unfinished_requests_than_the_bound(served, sent):
    with connections(served, http.MAX_CONNECTIONS + 30, sent):
        until(lambda: open_in_server(served) >= http.MAX_CONNECTIONS, "the connections")
        assert served.client.get("/healthz").status_code in (200, 503)
        assert served.client.get("/api/state").status_code == 200
        assert open_in_server(served) <= http.MAX_CONNECTIONS


def test_the_health_is_answered_beside_as_many_streams_as_the_bound(served, monkeypatch):
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 4)
    with connections(served, 4, b"GET /api/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") as streams:
        until(lambda: len(served.page.broadcaster._subscribers) == 4, "the streams")
        monkeypatch.setattr(http, "_most_from", lambda _address: 100)
        assert "status" in served.client.get("/healthz").json()
        refused = served.client.get("/api/state")
        assert (refused.status_code, "too many" in refused.json()["error"]) == (503, True)
        assert not any(is_closed(stream) for stream in streams)


@pytest.mark.parametrize("sent", [b"", UNFINISHED], ids=["nothing", "half of the headers"])
def test_a_connection_without_complete_headers_is_closed(served, monkeypatch, sent):
    monkeypatch.setattr(http, "HEADER_TIMEOUT_S", 0.3, raising=False)
    with connections(served, 1, sent) as [client]:
        assert is_closed(client, 10.0)


def test_headers_that_arrive_byte_by_byte_have_the_same_time(served, monkeypatch):
    monkeypatch.setattr(http, "HEADER_TIMEOUT_S", 0.5, raising=False)
    with connections(served, 1, WHOLE) as [client]:  # a second request has it too
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 ")
        client.sendall(UNFINISHED)
        start_s = time.monotonic()
        while not is_closed(client, 0.05):
            assert time.monotonic() - start_s < 10.0
            try:
                client.sendall(b"x")
            except ConnectionError:
                break


def test_a_stream_and_an_idle_browser_outlast_the_time_for_headers(served, monkeypatch):
    monkeypatch.setattr(http, "HEADER_TIMEOUT_S", 0.3, raising=False)
    with connections(served, 1, WHOLE) as [idle], served.stream() as following:
        assert idle.recv(1 << 16).startswith(b"HTTP/1.1 ")
        following("model")
        time.sleep(1.0)
        assert not is_closed(idle)
        served.show({20: "a"})
        assert following("card").data["card_id"] == "a"


def test_one_address_may_open_only_some_connections(served, monkeypatch):
    monkeypatch.setattr(http, "_most_from", lambda address: 5 if address == "127.0.0.2" else 100, raising=False)
    with connections(served, 3) as others, connections(served, 12, source="127.0.0.2") as many:
        until(lambda: sum(is_closed(client) for client in many) == 7, "the bound")
        assert not any(is_closed(client) for client in others)


def test_addresses_are_counted_by_network():
    assert http._network("2001:db8::1") == http._network("2001:db8::2") != http._network("2001:db8:0:1::1")
    assert http._most_from(http._network("192.0.2.1")) == http._most_from(http._network("2001:db8::1")) == http.MAX_PER_ADDRESS
    assert http._most_from(http._network("127.0.0.1")) == http._most_from(http._network("::1")) == http.MAX_CONNECTIONS


def test_the_service_may_open_more_files_than_the_page_accepts_connections():
    unit = (ROOT / "systemd" / "cardedge.service").read_text(encoding="utf-8")
    limit = int(re.search(r"(?m)^LimitNOFILE=(\d+)$", unit)[1])
    assert limit >= 4 * (http.MAX_CONNECTIONS + http.HEALTH_CONNECTIONS)
