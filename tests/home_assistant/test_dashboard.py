"""The dashboard of the documentation in Home Assistant's own pages. ``CARDEDGE_SCREENSHOTS`` names a folder for screenshots."""

import os
from pathlib import Path

import cv2
import pytest

from tests.web.browser import CHROMIUM, chromium
from tools.drawing.cards import over_white
from tools.drawing.layout import draw_card
from tools.drawing.spec import card_spec

pytestmark = [
    pytest.mark.home_assistant,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed; `apt install chromium`"),
]
LONG_MS = 180_000
SIZES = {"desk": (1280, 2000), "phone": (390, 1900)}
"""High enough for the whole dashboard: lists draw only what is in view."""


@pytest.mark.parametrize("size", SIZES)
def test_the_dashboard_of_the_documentation_shows_the_scanner(household, size):
    width, height = SIZES[size]
    spec = card_spec(1, 0)
    with chromium() as browser:
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(LONG_MS)
        page.add_init_script(household.home_assistant.browser_login())
        page.goto(f"http://127.0.0.1:{household.home_assistant.port}/lovelace")
        page.get_by_text("Scanner", exact=True).first.wait_for()
        card = {"name": spec.name, "set": spec.set_code, "number": f"{spec.number:03}", "printings": (spec.card_id, "P1-3")}
        picture = cv2.imencode(".jpg", cv2.cvtColor(over_white(draw_card(spec)), cv2.COLOR_RGB2BGR))[1].tobytes()
        household.scanner.show("X-1", name="Without a Number", set=None, number=None)
        page.get_by_role("heading", name="Without a Number").wait_for()
        assert "None" not in page.locator("home-assistant").inner_text()
        household.scanner.show(spec.card_id, picture=picture, **card)
        page.get_by_role("heading", name=spec.name).wait_for()
        page.get_by_text(f"{spec.set_code} {spec.number:03}, one of {spec.card_id}, P1-3").wait_for()
        page.get_by_text("identified", exact=False).first.wait_for()
        page.locator("hui-image img").first.wait_for()
        page.locator("hui-logbook-card").get_by_text(spec.name).first.wait_for()
        page.wait_for_timeout(2000)
        if folder := os.environ.get("CARDEDGE_SCREENSHOTS"):
            page.screenshot(path=Path(folder) / f"home-assistant-{size}.png")
        assert page.locator("hui-error-card, hui-warning, ha-alert[alert-type=error]").all_inner_texts() == []
