"""The counter in a real browser with a list of 20,000 lines: what a card costs, scrolling, filter, and the number of elements.

Times are printed, not asserted: they depend on the machine. Processor time is compared with that of a short list in the same run.
"""

import os
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from statistics import median

import pytest

from edge.lists.entry import Line
from tests.web.browser import CHROMIUM, chromium, opened_views, wait_for_answer

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed; `apt install chromium`")]

LINES = 20_000
CARDS = int(os.environ.get("CARDEDGE_LONG_LIST_CARDS", "12"))
"""Cards that are laid down for each measurement; more of them for a p95 that is not the maximum."""
MAX_ELEMENTS = 60
"""Lines that exist as elements: those in view and a few more."""


def long_list(lines):
    began = datetime(2026, 11, 28, 9, tzinfo=UTC)
    for number in range(lines):
        at = began + timedelta(seconds=number)
        yield Line(card_id=f"n{number}", name=f"Card number {number}", set="S9", number=str(number), first_at=at, at=at)


class Page:
    """The counter of a scanner whose active list has ``lines`` lines."""

    def __init__(self, served, open_page, lines):
        self.served = served
        served.client.post("/api/lists", json={}).raise_for_status()
        served.page.lists.add_lines(served.page.lists.active_id, tuple(long_list(lines)))
        self.page = open_page("/counter", "laptop")
        self.page.wait_for_function("lines => document.querySelector('#show-all .count').textContent == lines", arg=str(lines))
        self.browser = self.page.context.new_cdp_session(self.page)
        self.browser.send("Performance.enable", {"timeDomain": "threadTicks"})

    def task_ms(self):
        """Return the processor time of the page's main thread so far."""
        figures = {each["name"]: each["value"] for each in self.browser.send("Performance.getMetrics")["metrics"]}
        return figures["TaskDuration"] * 1000

    def lay(self, card):
        """Lay a card down and take it away; return the milliseconds from its event until the page shows its line."""
        self.page.evaluate("""() => {
            const number = document.querySelector("#quantity"), before = number.textContent;
            globalThis.shownAt = new Promise((resolve) => new MutationObserver((_, observer) => {
                if (number.textContent === before) return; // a removal changes no number
                observer.disconnect();
                requestAnimationFrame(() => resolve(Date.now()));
            }).observe(number, { childList: true, characterData: true, subtree: true }));
        }""")
        self.served.published_ms.clear()
        self.served.show({20: card})
        shown_ms = self.page.evaluate("globalThis.shownAt")
        self.served.show(frames=30)
        return shown_ms - self.served.published_ms[0]

    def measured(self):
        """Return the milliseconds until each of ``CARDS`` cards was shown, and the processor time of the page per card."""
        before_ms = self.task_ms()
        times = [self.lay("abc"[number % 3]) for number in range(CARDS)]
        return times, (self.task_ms() - before_ms) / CARDS


@pytest.fixture
def served_with_times(served):
    """A scanner that notes when it has an event, in milliseconds since 1970, which the browser's clock shows too."""
    served.published_ms = []
    count = served.page.live_state.count

    def noted(event):
        served.published_ms.append(time.time() * 1000)
        return count(event)

    served.page.live_state.count = noted
    served.show(frames=20)
    return served


@pytest.fixture
def open_page(served_with_times):
    served_with_times.address = served_with_times.server.url.rstrip("/")
    wait_for_answer(served_with_times.address)
    # the cards of the list are in no index, so there is no image of them
    with chromium() as browser, opened_views(browser, served_with_times, expected="404.*/api/pictures/") as open_page:
        yield open_page


@contextmanager
def closing(page):
    yield page
    page.page.close()


def test_a_card_costs_the_page_the_same_in_a_long_list(served_with_times, open_page, record_property, capsys):
    with closing(Page(served_with_times, open_page, 20)) as short:
        _, short_ms = short.measured()
    with closing(Page(served_with_times, open_page, LINES)) as long:
        times, long_ms = long.measured()
        assert long.page.locator("#lines .line").count() <= MAX_ELEMENTS
    p95_ms = sorted(times)[int(0.95 * len(times))]
    record_property("event_to_line_ms_p95", p95_ms)
    with capsys.disabled():
        print(  # noqa: T201 - a figure to read
            f"\nevent to line at {LINES} lines: p50 {median(times):.0f} ms, p95 {p95_ms:.0f} ms; "
            f"main thread per card {long_ms:.1f} ms, at 20 lines {short_ms:.1f} ms"
        )
    assert long_ms < 3 * short_ms + 10


def test_a_long_list_scrolls_and_filters_without_dropping_input(served_with_times, open_page):
    with closing(Page(served_with_times, open_page, LINES)) as long:
        page = long.page
        page.keyboard.press("End")
        page.wait_for_selector("#lines .line:has-text('Card number 0')")
        for _ in range(40):
            page.keyboard.press("ArrowUp")
        page.wait_for_selector("#lines .line[data-current]:has-text('Card number 40')")
        assert page.locator("#lines .line").count() <= MAX_ELEMENTS
        page.evaluate("document.querySelector('#lines').scrollTop = 0")
        page.wait_for_selector(f"#lines .line:has-text('Card number {LINES - 1}')")
        page.keyboard.press("/")
        page.keyboard.type("number 12345")
        assert page.input_value("#filter") == "number 12345"
        page.wait_for_function("() => document.querySelectorAll('#lines .line').length === 1")
        served_with_times.show({20: "a"})
        page.fill("#filter", "")
        page.wait_for_selector("#lines .line:has-text('Card A')")
