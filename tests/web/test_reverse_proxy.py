"""The page behind nginx and Caddy, configured as docs/web.md says. Each is skipped if it is not installed."""

import re
import shutil
import subprocess
from contextlib import contextmanager, suppress

import httpx
import pytest

from edge.web.access import FAILURES
from tests.support.mosquitto import free_port
from tests.support.paths import ROOT
from tests.web.served import TIMEOUT_S, serve, until

TOKEN = "correct-horse-battery"  # noqa: S105 - for this test only
NAME = "scanner.example"
GUIDE = (ROOT / "docs" / "web.md").read_text(encoding="utf-8")
BARE_NGINX = "server {{ listen {port}; location / {{ {options} proxy_pass http://127.0.0.1:8080; }} }}"


def documented(language):
    return re.search(rf"```{language}\n(.*?)```", GUIDE, re.DOTALL)[1]


def nginx(folder, server):
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/log; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;\n"
        f"uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n{server}\n}}\n"
    )
    return ["nginx", "-p", str(folder), "-e", str(folder / "log"), "-c", str(folder / "nginx.conf")]


def caddy(folder, site):
    (folder / "Caddyfile").write_text(f"{{\n admin off\n auto_https off\n}}\n{site}")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


@contextmanager
def running(program, folder, config, port):
    """Run a proxy on ``port`` until the end of the block."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed; `apt install {program}`")
    command = {"nginx": nginx, "caddy": caddy}[program](folder, config)
    process = subprocess.Popen(command, env={"HOME": str(folder), "PATH": "/usr/sbin:/usr/bin"}, executable=shutil.which(program))

    def answers():
        assert process.poll() is None
        with suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{port}/healthz", headers={"Host": NAME}).status_code
        return None

    try:
        until(answers, program)
        yield
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)


def configured(language, port, page_port):
    text = documented(language).replace("127.0.0.1:8080", f"127.0.0.1:{page_port}")
    return text.replace("listen 80;", f"listen {port};").replace(f"http://{NAME}", f"http://{NAME}:{port}")


@pytest.fixture
def page(tmp_path):
    with serve(tmp_path, token=TOKEN, names=(NAME,)) as served:
        yield served


@pytest.mark.parametrize(("program", "language"), [("nginx", "nginx"), ("caddy", "caddyfile")])
def test_the_documented_configuration_requires_the_token_and_serves_the_page(page, tmp_path, program, language):
    port = free_port()
    headers = {"Host": f"{NAME}:{port}", "Origin": f"http://{NAME}:{port}"}
    with (
        running(program, tmp_path, configured(language, port, page.server.port), port),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=TIMEOUT_S) as browser,
    ):
        assert browser.get("/api/state").status_code == 401
        assert browser.get("/api/state", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
        login = browser.post("/login", json={"token": TOKEN})
        signed_in = {"Cookie": login.headers["set-cookie"].partition(";")[0]}
        with browser.stream("GET", "/api/stream", headers=signed_in) as stream:
            assert any(line.startswith("event: ") for line in stream.iter_lines())
        guesses = [browser.post("/login", json={"token": f"guess {place}"}).status_code for place in range(FAILURES + 1)]
        assert guesses == [403] * FAILURES + [429]
        assert browser.get("/api/state", headers=signed_in).status_code == 200
    assert page.client.get("/api/state").status_code == 200


@pytest.mark.parametrize(
    "options", ["", "proxy_set_header Host $host;", "proxy_set_header X-Real-IP $remote_addr; proxy_http_version 1.1;"]
)
def test_a_proxy_that_sets_other_headers_or_none_does_not_lift_the_need_of_a_token(page, tmp_path, options):
    port = free_port()
    config = BARE_NGINX.format(port=port, options=options).replace("127.0.0.1:8080", f"127.0.0.1:{page.server.port}")
    with running("nginx", tmp_path, config, port):
        assert httpx.get(f"http://127.0.0.1:{port}/api/state", headers={"Host": NAME}).status_code == 401
