"""A real Home Assistant of PyPI in a Debian root, driven over its REST interface as its own pages do.

The root is made once, in a few minutes, in the folder that ``CARDEDGE_APPLIANCE_CACHE`` names or, without it, for one session.
"""

import contextlib
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.debian_root import DebianRoot, architecture_of, debian_root
from tests.support.mosquitto import free_port

ONBOARDED = {"version": 4, "minor_version": 1, "key": "onboarding", "data": {"done": ["user", "core_config", "analytics", "integration"]}}
"""Tells Home Assistant's pages that the questions of the first start were answered."""
VERSION = "2026.2.3"
"""The newest that runs on Debian 13's Python."""
PYTHON = "3.13"
PACKAGES = ("python3", "python3-venv", "python3-dev", "g++", "ca-certificates", "libturbojpeg0")
INTEGRATIONS = ("mqtt", "frontend", "stream", "history", "logbook", "logger", "assist_pipeline", "media_source", "image")
"""What the configuration names and what the pages, which stay empty without it, need; beside the default integrations."""
REQUIREMENTS = """
import json, sys
from pathlib import Path
from homeassistant import bootstrap, components
folder, wanted, found = Path(components.__path__[0]), {*bootstrap.DEFAULT_INTEGRATIONS, *sys.argv[1:]}, {}
while wanted:
    name = wanted.pop()
    found[name] = json.loads((folder / name / "manifest.json").read_text())
    wanted |= set(found[name].get("dependencies", [])) - set(found)
print("\\n".join(sorted({each for manifest in found.values() for each in manifest.get("requirements", [])})))
"""
"""Lists the packages of integrations, which Home Assistant would install when it starts."""
START_S = 180.0
STOP_S = 300.0
"""The limits that it sets itself for the stages of a shutdown, in homeassistant/core.py, are 210 s together."""
USER, PASSWORD = "tester", "only-for-this-test"

CONFIGURATION = """\
homeassistant:
  name: Test
  time_zone: UTC
frontend:
config:
history:
logbook:
recorder:
  commit_interval: 1
http:
  server_host: 127.0.0.1
  server_port: {port}
logger:
  default: warning
  logs:
    homeassistant.components.mqtt: info
automation: !include automations.yaml
lovelace:
  mode: yaml
"""


def home_assistant_root(session_folder: Path) -> DebianRoot:
    """Return a root with Home Assistant in /opt/ha, made now where it is not in the cache."""
    root = debian_root(session_folder, "trixie", architecture_of(), PACKAGES, name=f"home-assistant-{VERSION}")
    stamp = root.at("/opt/ha-installed")
    if not stamp.exists() or stamp.read_text() != REQUIREMENTS + repr(INTEGRATIONS):
        root.run("/usr/bin/python3", "-m", "venv", "--clear", "/opt/ha")
        pip = ("/opt/ha/bin/python", "-m", "pip", "install", "--quiet", "--progress-bar=off")
        root.run(*pip, "--no-deps", f"homeassistant=={VERSION}")
        constraints = f"/opt/ha/lib/python{PYTHON}/site-packages/homeassistant/package_constraints.txt"
        root.run(*pip, "-c", constraints, f"homeassistant=={VERSION}")
        requirements = root.run("/opt/ha/bin/python", "-c", REQUIREMENTS, *INTEGRATIONS).split()
        root.run(*pip, "-c", constraints, *requirements)
        stamp.write_text(REQUIREMENTS + repr(INTEGRATIONS))
    return root


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
    """Return the first true value of the condition, asked for four times a second."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.25)
    return found


class HomeAssistant:
    """One installation: its configuration folder and, while it runs, its process. ``files`` are files of the configuration."""

    def __init__(self, root: DebianRoot, name: str, **files: str) -> None:
        self._root = root
        self._folder = f"/srv/{name}"
        self.config = root.at(self._folder)
        shutil.rmtree(self.config, ignore_errors=True)
        self.config.mkdir(parents=True)
        self.port = free_port()
        written = {
            "configuration.yaml": CONFIGURATION.format(port=self.port),
            "automations.yaml": "[]\n",
            "ui-lovelace.yaml": "views: []\n",
            ".storage/onboarding": json.dumps(ONBOARDED),
        }
        for file, text in (written | files).items():
            self.write(file, text)
        root.run("/opt/ha/bin/hass", "--script", "auth", "-c", self._folder, "add", USER, PASSWORD)
        self._process: subprocess.Popen[str] | None = None
        self._token = self._refresh_token = ""

    def write(self, file: str, text: str) -> None:
        """Write a file of the configuration."""
        (self.config / file).parent.mkdir(parents=True, exist_ok=True)
        (self.config / file).write_text(text)

    def boot(self) -> None:
        """Start the process."""
        command = ("/opt/ha/bin/hass", "-c", self._folder, "--skip-pip", "--log-no-color")
        with (self.config / "console.log").open("a") as console:
            self._process = self._root.start(*command, stdin=subprocess.DEVNULL, stdout=console, stderr=console)

    def start(self) -> "HomeAssistant":
        """Start the process and wait until it has started and can be asked."""
        self.boot()
        self.wait_started()
        return self

    def wait_started(self) -> None:
        wait_for(self._answers, "Home Assistant answers", START_S)
        if not self._token:
            self._log_in()
        wait_for(lambda: self.get("/api/config")["state"] == "RUNNING", "Home Assistant runs", START_S)

    def kill(self) -> None:
        """End the process without a chance to say goodbye."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def stop(self) -> None:
        """Stop it as a person would."""
        assert self._process is not None
        with contextlib.suppress(OSError, urllib.error.URLError):
            self.call("homeassistant.stop")
        try:
            self._process.wait(STOP_S)
        finally:
            self.kill()

    def add_broker(self, port: int) -> None:
        """Add the MQTT integration as a person does: through its form."""
        flow = self.post("/api/config/config_entries/flow", {"handler": "mqtt", "show_advanced_options": False})
        answer = self.post(f"/api/config/config_entries/flow/{flow['flow_id']}", {"broker": "127.0.0.1", "port": port})
        assert answer["type"] == "create_entry", answer

    def states(self, start: str = "") -> dict[str, dict[str, Any]]:
        """Return state and attributes by entity id, of those whose id begins like this."""
        return {each["entity_id"]: each for each in self.get("/api/states") if each["entity_id"].startswith(start)}

    def state(self, entity_id: str) -> dict[str, Any] | None:
        try:
            return self.get(f"/api/states/{entity_id}")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def value(self, entity_id: str) -> str | None:
        found = self.state(entity_id)
        return None if found is None else found["state"]

    def render(self, template: str) -> str:
        """Return what a template gives."""
        return self._request("POST", "/api/template", json.dumps({"template": template}).encode()).decode()

    def call(self, service: str, **data: Any) -> Any:
        """Call a service, as a click on a page does."""
        domain, _, name = service.partition(".")
        return self.post(f"/api/services/{domain}/{name}", data)

    def image(self, entity_id: str) -> bytes:
        """Return the bytes of an image entity, as a dashboard loads them."""
        found = self.state(entity_id)
        assert found is not None
        return self._request("GET", f"/api/image_proxy/{entity_id}?token={found['attributes']['access_token']}")

    def log(self) -> str:
        """Return the log so far."""
        file = self.config / "home-assistant.log"
        return (file.read_text() if file.exists() else "") + (self.config / "console.log").read_text()

    def browser_login(self) -> str:
        """Return a script with which a browser is logged in before it opens a page."""
        address = f"http://127.0.0.1:{self.port}"
        known = {"hassUrl": address, "clientId": f"{address}/", "access_token": self._token, "refresh_token": self._refresh_token}
        tokens = known | {"token_type": "Bearer", "expires_in": 1800, "expires": int((time.time() + 1800) * 1000)}
        return f"localStorage.setItem('hassTokens', {json.dumps(json.dumps(tokens))})"

    def get(self, path: str) -> Any:
        return json.loads(self._request("GET", path))

    def post(self, path: str, data: Any) -> Any:
        return json.loads(self._request("POST", path, json.dumps(data).encode()))

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"Home Assistant ended:\n{(self.config / 'console.log').read_text()[-3000:]}"
        try:
            self._request("GET", "/manifest.json", login=False)
        except (OSError, urllib.error.URLError):
            return False
        return True

    def _log_in(self) -> None:
        client = f"http://127.0.0.1:{self.port}/"
        flow = {"client_id": client, "handler": ["homeassistant", None], "redirect_uri": client}
        flow_id = json.loads(self._request("POST", "/auth/login_flow", json.dumps(flow).encode(), login=False))["flow_id"]
        login = {"client_id": client, "username": USER, "password": PASSWORD}
        code = json.loads(self._request("POST", f"/auth/login_flow/{flow_id}", json.dumps(login).encode(), login=False))["result"]
        form = urllib.parse.urlencode({"client_id": client, "grant_type": "authorization_code", "code": code}).encode()
        answer = json.loads(self._request("POST", "/auth/token", form, login=False, form=True))
        self._token, self._refresh_token = answer["access_token"], answer["refresh_token"]

    def _request(self, method: str, path: str, data: bytes | None = None, *, login: bool = True, form: bool = False) -> bytes:
        headers = {"Content-Type": "application/x-www-form-urlencoded" if form else "application/json"}
        if login:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=20.0) as answer:  # noqa: S310
            return bytes(answer.read())
