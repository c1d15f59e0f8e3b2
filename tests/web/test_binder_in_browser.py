"""A page of a binder in front of the camera, on the scanner's page in a real browser: nine outlines with the names of the cards."""

import subprocess
import sys

import cv2
import pytest

from edge.index import releases
from tests.support.mosquitto import Mosquitto, free_port, needs_mosquitto
from tests.support.paths import ROOT
from tests.web.test_page_in_browser import CHROMIUM, OPTIONS, playwright, screenshots, wait_for_answer
from tools.demo_video.binder import BinderPace, binder_frames
from tools.sample_bundle import SAMPLE_DIRECTORY, sample_video_cards

__all__ = ["screenshots"]

pytestmark = [
    pytest.mark.slow,
    needs_mosquitto,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed; `apt install chromium`"),
]


@pytest.fixture
def scanner(tmp_path):
    """A daemon that watches a still page; the addresses of its page, and the cards in the pockets."""
    cards = sample_video_cards(9)
    frame = next(binder_frames([[card.image for card in cards]], BinderPace()))
    stills = tmp_path / "stills"
    stills.mkdir()
    cv2.imwrite(str(stills / "page.png"), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    root = tmp_path / "index"
    root.mkdir()
    releases.activate(root, releases.install(root, SAMPLE_DIRECTORY).bundle_id)
    broker, port = Mosquitto(tmp_path).start(), free_port()
    config = tmp_path / "cardedge.toml"
    config.write_text(
        f"""
        [camera]
        kind = "stills"
        source = "{stills}"
        loop = true
        fps = 5
        [network]
        threads = 1
        [locate]
        method = "combined"
        [index]
        directory = "{root}"
        [mqtt]
        host = "127.0.0.1"
        port = {broker.port}
        [outbox]
        file = "{tmp_path / "outbox.sqlite"}"
        [http]
        enabled = true
        port = {port}
        review_dir = "{tmp_path / "review"}"
        """
    )
    with (tmp_path / "stderr").open("a") as errors:
        command = [sys.executable, "-m", "edge", "run", "--config", str(config)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=errors)
    yield f"http://127.0.0.1:{port}", cards
    process.terminate()
    process.wait(20)
    broker.stop()


def test_nine_outlines_with_their_names(scanner, screenshots):
    address, cards = scanner
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        page = browser.new_page(viewport={"width": 1280, "height": 800}, locale="en", reduced_motion="reduce")
        page.set_default_timeout(300_000)
        wait_for_answer(address)
        page.goto(address, wait_until="domcontentloaded")
        named = """names => {
            const shown = [...document.querySelectorAll(".preview .mark")].map((mark) => mark.textContent);
            return shown.length === 9 && names.every((name) => shown.some((text) => text.includes(name)));
        }"""
        page.wait_for_function(named, arg=[card.name for card in cards])
        assert page.locator(".preview .mark polygon").count() == 9
        page.screenshot(path=screenshots / "binder.png")
        browser.close()
