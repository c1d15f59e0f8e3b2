"""A real browser, and a real daemon with its page, a broker, and a video as its camera.

``CARDEDGE_SCREENSHOTS`` is a folder in which screenshots of all views are kept.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge.index import releases
from tests.support.mosquitto import Mosquitto, free_port, needs_mosquitto, wait_until
from tests.support.paths import ROOT

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed; `pip install playwright`")
CHROMIUM = shutil.which("chromium")
LONG_MS = 60_000
"""Timeout for what another process does."""

OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    # as on a kiosk: sounds need no click first
    "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip
OUTAGE = re.compile(r"net::ERR_(CONNECTION_REFUSED|INCOMPLETE_CHUNKED_ENCODING|EMPTY_RESPONSE|CONNECTION_RESET)")
"""Errors of the browser during an outage that the test causes."""

SIZES = {"7-inch": (800, 480), "phone": (390, 844), "laptop": (1280, 800), "desk": (1920, 1080)}
IN_BROWSER = [
    pytest.mark.slow,
    needs_mosquitto,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed; `apt install chromium`"),
]
"""Marks of tests that need the browser and a broker."""


class Scanner:
    """A daemon with its broker and the page, in front of a ``camera`` (keys of that section); it can be stopped and started again."""

    def __init__(self, folder, world, camera, *, settle_s=None):
        self.folder = folder
        self.broker = Mosquitto(folder, f"persistence_location {folder}/", persistent=True).start()
        self.address = f"http://127.0.0.1:{free_port()}"
        self.process = None
        self.cards = list(world.images)
        root = folder / "index"
        root.mkdir()
        releases.activate(root, releases.install(root, world.index).bundle_id)
        self.config = folder / "cardedge.toml"
        self.config.write_text(
            f"""
            [device]
            id = "counter"
            [camera]
            {camera}
            [network]
            model = "{world.model}"
            threads = 1
            [index]
            directory = "{root}"
            [track]
            removed_after_s = 0.3
            {"" if settle_s is None else f"settle_s = {settle_s}"}
            [mqtt]
            host = "127.0.0.1"
            port = {self.broker.port}
            [outbox]
            file = "{folder / "outbox.sqlite"}"
            [http]
            enabled = true
            port = {self.address.rsplit(":", 1)[1]}
            review_dir = "{folder / "review"}"
            """
        )

    def start(self):
        with (self.folder / "stderr").open("a") as errors:
            command = [sys.executable, "-m", "edge", "run", "--config", str(self.config)]
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=errors)
        return self

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self.broker.stop()


@contextmanager
def chromium():
    """Yield a running browser."""
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield started
        started.close()


@contextmanager
def opened_views(browser, scanner, expected=None):
    """Yield a function that opens a view. At the end no view may have written an error to its console but ``expected`` ones (a pattern)."""
    contexts, errors = [], []

    def open_page(path="/", size="desk", scheme="dark", *, outage_planned=False, locale="en"):
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True, locale=locale, reduced_motion="reduce"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(LONG_MS)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: line.type in ("error", "warning") and errors.append(f"{line.text} {line.location}"))
        page.outage_planned = outage_planned
        wait_for_answer(scanner.address)
        page.goto(scanner.address + path, wait_until="domcontentloaded")
        return page

    yield open_page
    planned = any(page.outage_planned for context in contexts for page in context.pages)
    known = [*([OUTAGE] if planned else []), *([re.compile(expected)] if expected else [])]
    unexpected = [text for text in errors if not any(each.search(text) for each in known)]  # before closing, which ends requests
    for context in contexts:
        context.close()
    assert not unexpected, "\n".join(unexpected)


def wait_for_answer(address):
    def answers():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(address.rsplit(":", 1)[1]))) == 0

    wait_until(answers, 60.0)


def link_word(page, word):
    page.wait_for_selector(f"#link[data-word={word}]")


def screenshot_folder(tmp_path_factory):
    """Return the folder of the screenshots."""
    folder = Path(os.environ.get("CARDEDGE_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def assert_fits(page, least=36):
    """Assert that nothing is wider than the screen, and that every button has a name and is at least so many pixels high and wide."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    buttons = page.evaluate("""() => [...document.querySelectorAll("button, a.quiet, a.button")].filter((each) => each.checkVisibility())
        .map((each) => [each.getBoundingClientRect(), each.getAttribute("aria-label") ?? each.textContent.trim()])
        .map(([box, name]) => [Math.round(Math.min(box.width, box.height)), name])""")
    assert buttons
    assert [each for each in buttons if not each[1] or each[0] < least] == []
