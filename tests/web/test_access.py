"""Access control of the page."""

import socket

import httpx
import pytest

from edge.adapters.http import HttpServer
from edge.errors import DeviceError, ExitCode, SettingsError
from edge.settings.sections import HttpSection
from edge.web import access as access_module
from edge.web.access import (
    FAILURES,
    FAILURES_BEHIND_PROXY,
    FAILURES_WINDOW_S,
    Access,
    FailedTokens,
    own_names,
    read_token,
)
from edge.web.forwarding import Sender, is_loopback, sender_of
from tests.web.served import serve

TOKEN = "correct-horse-battery"  # noqa: S105 - for this test only
MACHINE = socket.gethostname().lower()
FAR = {"X-Forwarded-For": "192.0.2.9"}
"""A request that came through a proxy is not from this machine."""


class ManualClock:
    now_s = 100.0

    def __call__(self):
        return self.now_s


def status_of(access, method="GET", path="/", client="192.0.2.1", **headers):
    sent = {"host": "192.0.2.7:8080"} | {name.replace("_", "-"): value for name, value in headers.items()}
    refusal = access.refusal(method, path, client, sent, port=8080)
    return refusal and refusal[0]


def local_status(access, http_version="1.1", port=8080, **headers):
    """Status of a request from a loopback address."""
    sent = {"host": "127.0.0.1:8080"} | {name.replace("_", "-"): value for name, value in headers.items()}
    refusal = access.refusal("GET", "/", "127.0.0.1", sent, http_version=http_version, port=port)
    return refusal and refusal[0]


@pytest.fixture
def locked():
    return Access(TOKEN, frozenset({"localhost", "scanner.local"}))


# --- the token: where it comes from -------------------------------------------------------------------------------------------------


ANYWHERE = "0.0.0.0"  # noqa: S104 - nothing is bound here


@pytest.mark.parametrize("host", [ANYWHERE, "192.0.2.7", "::", "scanner.local"])
def test_an_address_that_other_machines_reach_needs_a_token(host):
    with pytest.raises(SettingsError, match=r"http\.token_file") as refused:
        read_token(HttpSection(host=host))
    assert refused.value.exit_code == ExitCode.CONFIG
    assert read_token(HttpSection(host=host, token=TOKEN)) == TOKEN


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.9.9.9"])
def test_loopback_needs_no_token(host):
    assert is_loopback(host)
    assert read_token(HttpSection(host=host)) is None


def test_the_token_is_read_from_a_file_or_a_credential(tmp_path, monkeypatch):
    (tmp_path / "http-token").write_text(f"{TOKEN}\n")
    assert read_token(HttpSection(host=ANYWHERE, token_file=tmp_path / "http-token")) == TOKEN
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_token(HttpSection(host=ANYWHERE)) == TOKEN
    (tmp_path / "http-token").write_text("short\n")
    with pytest.raises(SettingsError, match="16"):
        read_token(HttpSection())
    with pytest.raises(SettingsError, match="nowhere"):
        read_token(HttpSection(token_file=tmp_path / "nowhere"))


def test_the_token_is_not_in_the_repr_of_the_settings():
    assert TOKEN not in repr(HttpSection(token=TOKEN))


# --- the token: who needs it --------------------------------------------------------------------------------------------------------


def test_another_machine_needs_the_token_and_this_machine_does_not(locked):
    assert status_of(locked) == 401
    assert status_of(locked, authorization=f"Bearer {TOKEN}") is None
    assert status_of(locked, authorization="Bearer wrong") == 401
    assert status_of(locked, authorization=f"Basic {TOKEN}") == 401
    assert status_of(locked, cookie=locked.new_cookie().partition(";")[0]) is None
    assert status_of(locked, cookie=f"cardedge={TOKEN}") == 401
    assert local_status(locked) is None
    assert [status_of(locked, path=path) for path in ("/healthz", "/login", "/static/page.css")] == [None] * 3


@pytest.mark.parametrize(
    "headers",
    [
        {"forwarded": "for=192.0.2.9"}, {"x_forwarded_for": "192.0.2.9"}, {"x_forwarded_host": "localhost"}, {"x_forwarded_proto": "http"},
        {"x_forwarded_port": "80"}, {"x_forwarded_server": "proxy"}, {"x_real_ip": "192.0.2.9"}, {"via": "1.1 proxy"},
        {"cf_connecting_ip": "192.0.2.9"}, {"host": "192.0.2.7:8080"}, {"host": "counter.example"}, {"http_version": "1.0"},
        {"host": MACHINE}, {"host": f"{MACHINE}:443"},
    ],
)  # fmt: skip
def test_a_forwarded_request_is_not_from_this_machine(headers):
    names = own_names(HttpSection(names=("counter.example",)))
    assert local_status(Access(TOKEN, names), **headers) == 401
    assert local_status(Access(TOKEN, names), authorization=f"Bearer {TOKEN}", **headers) is None
    # without a token there is no access through a proxy at all
    assert local_status(Access(None, names), **headers) == 403


@pytest.mark.parametrize(
    "headers", [{}, {"host": "localhost:8080"}, {"host": "[::1]:8080"}, {"host": f"{MACHINE}:8080"}, {"host": MACHINE, "port": 80}]
)
def test_a_request_of_a_program_on_this_machine_needs_no_token(headers):
    names = own_names(HttpSection())
    assert [local_status(Access(token, names), **headers) for token in (TOKEN, None)] == [None, None]


def test_tokens_are_compared_in_constant_time(locked, monkeypatch):
    compared = []
    real = access_module.hmac.compare_digest
    monkeypatch.setattr(access_module.hmac, "compare_digest", lambda given, kept: compared.append(given) or real(given, kept))
    assert status_of(locked, authorization="Bearer wröng") == 401
    assert status_of(locked, cookie="cardedge=wrong") == 401
    assert compared == ["wröng".encode(), b"wrong"]


def test_wrong_tokens_block_their_address_and_no_other():
    clock = ManualClock()
    access = Access(TOKEN, frozenset(), FailedTokens(clock))
    assert [status_of(access, authorization="Bearer wrong") for _ in range(FAILURES + 1)] == [401] * FAILURES + [429]
    assert status_of(access, authorization=f"Bearer {TOKEN}") == 429
    assert status_of(access, client="192.0.2.2", authorization=f"Bearer {TOKEN}") is None
    clock.now_s += FAILURES_WINDOW_S
    assert status_of(access, authorization=f"Bearer {TOKEN}") is None


@pytest.mark.parametrize(
    "cookies", ["foo[bar]=1; {}", '{}; name="unfinished', "a,b=\xff; {}", "=; {}", "cardedge=of another scanner; {}", "{}; cardedge=stale"]
)
def test_cookies_of_other_servers_on_the_same_host_do_not_matter(locked, cookies):
    assert status_of(locked, cookie=cookies.format(locked.new_cookie().partition(";")[0])) is None


def test_a_request_cannot_try_many_cookies(locked):
    own = locked.new_cookie().partition(";")[0]
    assert status_of(locked, cookie="; ".join([*["cardedge=wrong"] * 100, own])) == 401
    answers = [status_of(locked, cookie="; ".join(["cardedge=wrong"] * 5)) for _ in range(3)]
    assert answers == [401, 401, 429]


def test_wrong_tokens_behind_a_proxy_block_their_client_and_no_other(locked):
    def guess(client, **headers):
        return status_of(locked, client="127.0.0.1", authorization="Bearer wrong", x_forwarded_for=f"10.9.9.9, {client}", **headers)

    assert [guess("192.0.2.9") for _ in range(FAILURES + 1)] == [401] * FAILURES + [429]
    assert guess("192.0.2.8") == 401
    assert guess("[2001:db8::1]:4711") == 401
    # a client may invent addresses if the proxy passes its headers on
    answers = [guess(f"198.51.100.{place}") for place in range(FAILURES_BEHIND_PROXY)]
    assert (answers[0], answers[-1]) == (401, 429)
    # only a proxy on this machine is believed
    answers = [status_of(locked, authorization="Bearer wrong", x_forwarded_for=f"198.51.100.{place}") for place in range(FAILURES + 1)]
    assert answers[-1] == 429


def test_a_signed_in_browser_is_not_locked_out_by_the_wrong_tokens_of_others(locked):
    proxied = {"client": "127.0.0.1", "via": "1.1 proxy", "x_forwarded_for": "unknown"}
    signed_in = locked.new_cookie().partition(";")[0]
    after_restart = signed_in[:-1] + ("A" if signed_in[-1] != "A" else "B")
    for _ in range(FAILURES):
        assert status_of(locked, authorization="Bearer wrong", **proxied) == 401
    assert status_of(locked, cookie=signed_in, **proxied) is None
    assert status_of(locked, cookie=after_restart, **proxied) == 429
    assert status_of(locked, cookie=signed_in.partition(".")[0], **proxied) == 429


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        ({"x-forwarded-for": "10.0.0.1, 192.0.2.9"}, "192.0.2.9"),
        ({"x-forwarded-for": "192.0.2.9:1234"}, "192.0.2.9"),
        ({"x-real-ip": "2001:db8::1"}, "2001:db8::1"),
        ({"forwarded": 'for=10.0.0.1, proto=http;For="[2001:db8::1]:4711"'}, "2001:db8::1"),
        ({"x-forwarded-for": "unknown"}, "127.0.0.1"),
        ({}, "127.0.0.1"),
    ],
)
def test_the_client_behind_a_proxy_is_the_last_address(headers, client):
    assert sender_of("127.0.0.1", headers).client == client
    assert sender_of("192.0.2.1", headers) == Sender("192.0.2.1")


def test_a_network_of_ipv6_addresses_counts_as_one():
    access = Access(TOKEN, frozenset(), FailedTokens(ManualClock()))
    answers = [status_of(access, client=f"2001:db8::{place:x}", authorization="Bearer wrong") for place in range(FAILURES + 1)]
    assert answers[-1] == 429


def test_a_request_without_a_token_does_not_count_as_a_wrong_one(locked):
    assert [status_of(locked) for _ in range(3 * FAILURES)] == [401] * 3 * FAILURES
    assert status_of(locked, authorization=f"Bearer {TOKEN}") is None


# --- names and origins --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", None), ("[::1]:8080", None), ("localhost", None), ("LOCALHOST:1", None), ("192.0.2.7", None),
        ("scanner.local", None), ("scanner.local.", None), ("evil.example", 421), ("localhost.evil.example", 421), ("", 421),
        ("[::1", 421),
    ],
)  # fmt: skip
def test_an_unknown_host_name_is_refused(host, status):
    access = Access(TOKEN, frozenset({"localhost", "scanner.local"}))
    assert status_of(access, path="/login", host=host) == status


def test_the_names_of_the_machine_and_of_the_settings_are_accepted():
    assert {"localhost", socket.gethostname().lower(), "counter.example"} <= own_names(HttpSection(names=("Counter.example",)))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, None),
        ({"origin": "http://192.0.2.7:8080"}, None),
        ({"origin": "http://192.0.2.7:9090"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://[evil"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "same-origin"}, None),
    ],
)
def test_requests_that_change_something_must_come_from_the_scanners_own_page(headers, status):
    access = Access(TOKEN, frozenset())
    headers = headers | {"authorization": f"Bearer {TOKEN}"}
    assert status_of(access, "POST", "/api/commands/scan", **headers) == status
    assert status_of(access, "GET", **headers) is None


# --- over the wire ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def locked_page(tmp_path):
    with serve(tmp_path, token=TOKEN) as served:
        yield served


def test_signing_in_returns_a_cookie_that_grants_access(locked_page):
    url = locked_page.server.url
    with httpx.Client(base_url=url, headers=FAR) as browser:
        redirect = browser.get("/status", headers={"Accept": "text/html"})
        assert (redirect.status_code, redirect.headers["location"]) == (303, "/login?next=/status")
        refused = browser.get("/api/state")
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert "default-src 'none'" in refused.headers["content-security-policy"]
        assert browser.post("/login", json={"token": "wrong"}).status_code == 403
        assert browser.get("/login").status_code == 200
        answer = browser.post("/login", json={"token": TOKEN})
        assert answer.status_code == 200
        assert {"HttpOnly", "SameSite=Strict"} <= set(answer.headers["set-cookie"].split("; "))
        assert TOKEN not in answer.headers["set-cookie"]
        assert browser.get("/api/state").status_code == 200


def test_guessing_tokens_is_slowed_down(locked_page):
    with httpx.Client(base_url=locked_page.server.url, headers=FAR) as browser:
        answers = [browser.post("/login", json={"token": f"guess {place}"}).status_code for place in range(FAILURES + 1)]
    assert answers == [403] * FAILURES + [429]


def test_another_host_name_and_another_origin_are_refused(served):
    assert served.client.get("/api/state", headers={"Host": "evil.example"}).status_code == 421
    assert served.client.post("/api/commands/scan", headers={"Origin": "http://evil.example"}).status_code == 403


def test_a_port_in_use_is_an_error_at_the_start(served, tmp_path):
    with pytest.raises(DeviceError, match=r"http\.port"):
        HttpServer(None, served.page.broadcaster.end, "127.0.0.1", served.server.port)
