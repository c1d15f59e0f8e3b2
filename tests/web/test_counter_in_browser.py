"""The counter in a real browser, with the real daemon, a broker, and a camera above a table on which cards are dealt.

``CARDEDGE_COUNTER_CARDS`` deals more cards, ``CARDEDGE_COUNTER_RATE`` (cards per minute) deals them by the clock instead of as fast as the
machine counts them: for a run by hand. ``CARDEDGE_AXE`` is ``axe.min.js`` of the npm package axe-core.
"""

import csv
import io
import json
import os
import random
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest

from tests.support.mjpeg_server import encoded, mjpeg_server
from tests.support.mosquitto import Listener, wait_until
from tests.support.small_scanner import on_table
from tests.web.browser import IN_BROWSER, Scanner, assert_fits, chromium, link_word, opened_views, screenshot_folder, wait_for_answer
from tools.demo_video.cards import UNKNOWN_SEED, drawn_video_card

CARDS = int(os.environ.get("CARDEDGE_COUNTER_CARDS", "8"))
RATE = float(os.environ.get("CARDEDGE_COUNTER_RATE", "0"))
pytestmark = [*IN_BROWSER, pytest.mark.timeout(300 + (CARDS * 90 / RATE if RATE else 0))]
LAID_SHARE = 0.7
"""Share of the time per card for which it lies on the table."""
VIEWS = ("7-inch", "phone", "laptop")
UNKNOWN = None


def dealt(world):
    """Return the cards in the order in which they are dealt: with repeats, never twice in a row, and two that no index has."""
    names, choice = list(world.images), random.Random(5)
    cards = [names[0]]
    while len(cards) < CARDS:
        cards.append(choice.choice([name for name in names if name != cards[-1]]))
    for place in (CARDS // 3, CARDS - 2):
        cards[place] = UNKNOWN
    return cards


def noisy(scene):
    """Return images of a scene that differ as those of a camera do; identical ones are a frozen camera."""
    noise = np.random.default_rng(0)
    return [np.clip(scene + noise.integers(-6, 7, scene.shape, dtype=np.int16), 0, 255).astype(np.uint8) for _ in range(3)]


class Table:
    """The table under the camera."""

    def __init__(self, server, scanner, world):
        self.server, self.scanner = server, scanner
        foreign = cv2.resize(drawn_video_card(UNKNOWN_SEED, 0).image, (252, 352), interpolation=cv2.INTER_AREA)
        # made before anything is dealt, so that a card lies and is absent for as long as the rate says
        self.scenes = {card: encoded(noisy(on_table(image))) for card, image in {**world.images, UNKNOWN: foreign}.items()}
        self.empty = encoded(noisy(on_table()))
        self.client = httpx.Client(base_url=scanner.address, timeout=60)

    def list(self):
        """Return the active list as the scanner has it."""
        return self.client.get("/api/lists/active").json()

    def lines(self):
        return self.list()["update"]["put"]

    def begin_list(self):
        """Count into a new list from now on."""
        self.client.post("/api/lists", json={}).raise_for_status()

    def counted(self):
        """Return the number of cards that are in the list, also of those without a name."""
        return sum(line["quantity"] for line in self.lines())

    def is_empty(self):
        return self.client.get("/api/state").json()["cards"]["count"] == 0

    def deal(self, card):
        """Lay a card down and take it away: by the clock, or when it is counted and when it is gone."""
        if RATE:
            self.server.jpegs = self.scenes[card]
            time.sleep(LAID_SHARE * 60 / RATE)
            self.server.jpegs = self.empty
            time.sleep((1 - LAID_SHARE) * 60 / RATE)
            return
        before = self.counted()
        self.server.jpegs = self.scenes[card]
        wait_until(lambda: self.counted() > before, 60.0)
        self.server.jpegs = self.empty
        wait_until(self.is_empty, 60.0)


@pytest.fixture(scope="module")
def table(small_scanner, tmp_path_factory):
    with mjpeg_server(noisy(on_table()), fps=10) as server:
        camera = f'kind = "stream"\nsource = "{server.url}"'
        scanner = Scanner(tmp_path_factory.mktemp("counter"), small_scanner, camera, settle_s=0.6).start()
        wait_for_answer(scanner.address)
        table = Table(server, scanner, small_scanner)
        wait_until(lambda: table.client.get("/healthz").json()["status"] != "failed", 60.0)
        yield table
        table.client.close()
        scanner.close()


@pytest.fixture
def counted(table, small_scanner):
    """The table after all cards were dealt: by the test that deals them, or here if that test has not run yet."""
    if not table.lines():
        for card in dealt(small_scanner):
            table.deal(card)
    return table


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def open_page(table, browser):
    with opened_views(browser, table.scanner, expected="422.*/import") as open_page:  # a test imports a wrong file
        yield open_page


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory):
    return screenshot_folder(tmp_path_factory)


def shown_lines(page):
    """Return what the page shows of each line: its words and its number of copies."""
    rows = page.locator("#lines .line").all()
    return sorted((row.locator("b").inner_text(), row.locator(".line-times").inner_text()) for row in rows)


def test_dealt_cards_are_counted_without_touching_the_page(open_page, table, small_scanner):
    """In the middle the page is loaded again, the broker is gone, and the daemon is killed; one run of cards is foil.

    Only the finish is set by a key, for the run of foil cards.
    """
    table.begin_list()
    begun_at = datetime.now(UTC)
    received = [listener(table.scanner)]
    cards = dealt(small_scanner)
    foil = range(CARDS // 2, CARDS // 2 + max(2, CARDS // 6))
    first, second = (open_page("/counter", size, outage_planned=True) for size in ("laptop", "phone"))
    link_word(first, "ready")
    before = {
        1: table.scanner.broker.stop,
        2: first.reload,
        CARDS // 2: table.scanner.broker.start,
        CARDS - 3: lambda: restart(table.scanner, first),
    }
    expected = Counter()
    for number, card in enumerate(cards):
        before.get(number, lambda: None)()
        press_finish(first, table, "foil" if number in foil else "normal")
        table.deal(card)
        expected[(card, "foil" if number in foil and card is not UNKNOWN else "normal")] += 1
    with suppress(AssertionError):  # what is missing is named below
        wait_until(lambda: table.counted() >= CARDS, 30.0)
    found = Counter()
    for line in table.lines():
        found[(line["card_id"], line["finish"] if line["card_id"] else "normal")] += line["quantity"]
    assert found == expected
    received.append(listener(table.scanner))
    with suppress(AssertionError):  # what differs is named below
        wait_until(lambda: published_cards(received, begun_at) == Counter(cards), 60.0)
    assert published_cards(received, begun_at) == Counter(cards)
    for page in (first, second):
        page.wait_for_function("total => document.querySelector('#quantity').textContent.startsWith(`${total} `)", arg=CARDS - 2)
    assert shown_lines(first) == shown_lines(second)


def listener(scanner):
    """Return a client of the broker for which events are kept while it, or the broker, is away."""
    return Listener(scanner.broker.port, topic="cardedge/counter/event", client_id="till")


def published_cards(listeners, begun_at):
    """Return how often each card was published: the last event of every track.

    Events of cards that another test dealt before ``begun_at`` may have waited in the outbox for Home Assistant, and arrive as well.
    """
    events = [json.loads(payload) for each in listeners for _, payload, _ in list(each.messages)]
    named = [event for event in events if event["type"] != "removed" and datetime.fromisoformat(event["at"]) >= begun_at]
    return Counter({event["track_id"]: event["card_id"] for event in named}.values())


def press_finish(page, table, wanted):
    """Press the key for the finish of the next cards until it is the wanted one."""
    while (finish := table.list()["header"]["defaults"]["finish"]) != wanted:
        page.keyboard.press("Shift+F")
        wait_until(lambda finish=finish: table.list()["header"]["defaults"]["finish"] != finish, 20.0)


def restart(scanner, page):
    """Kill the daemon, so that nothing can be saved at its end, and start it again."""
    time.sleep(0.5)  # a card is on the disk 0.2 seconds after it was counted
    scanner.process.kill()
    scanner.process.wait(20)
    link_word(page, "lost")
    scanner.start()
    link_word(page, "ready")


def test_a_person_settles_edits_merges_and_undoes_by_keyboard_alone(open_page, counted):
    page = open_page("/counter")
    page.wait_for_selector("#lines .line")
    before = {line["id"]: (line["quantity"], line["finish"]) for line in counted.lines()}
    press = page.keyboard.press

    def undone():
        """Wait until the page names another change to undo, and return its name."""
        page.wait_for_function("text => document.querySelector('#undo span').textContent !== text", arg=undone.text)
        undone.text = page.locator("#undo span").text_content()
        return undone.text

    undone.text = page.locator("#undo span").text_content()
    press("v")
    page.wait_for_function("() => document.querySelectorAll('#lines .line').length === 2")
    press("1")
    assert "naming" in undone()
    press("Delete")
    assert "removal" in undone()
    page.wait_for_selector(".book.none .empty")
    press("v")
    press("Home")
    press("+")
    assert "+1" in undone()
    press("f")
    assert "change" in undone()
    press("e")
    page.wait_for_selector("#edit-dialog[open]")
    page.fill("#edit input[name=note]", "torn")
    press("Enter")
    page.wait_for_selector("#edit-dialog:not([open])", state="attached")
    press("m")
    assert "merging" in undone()
    for _ in range(6):
        press("u")
    wait_until(lambda: {line["id"]: (line["quantity"], line["finish"]) for line in counted.lines()} == before, 20.0)
    press("?")
    page.wait_for_selector("#keys-dialog[open] kbd")


DIALOGS = {"v": None, "o": "lists", "g": "settings", "s": "export", "?": "keys", "a": "search", "e": "edit"}
"""The dialog that a key opens; v shows the cards to check."""


def views(page):
    """Open every view of the page in turn; yield its name."""
    page.wait_for_selector("#lines .line")
    page.wait_for_function("() => document.querySelector('#now-picture img')?.naturalWidth > 0")
    yield "list"
    for key, dialog in DIALOGS.items():
        if key == "e":
            page.click("#lines .line:not([data-waiting])")
        page.keyboard.press(key)
        if dialog is not None:
            page.wait_for_selector(f"#{dialog}-dialog[open]")
        yield dialog or "waiting"
        page.keyboard.press("Escape" if dialog else key)
        page.wait_for_function("() => !document.querySelector('dialog[open]')")


@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("size", VIEWS)
def test_the_counter_fits_the_screen(open_page, screenshots, counted, size, scheme):
    page = open_page("/counter", size, scheme, locale="de" if scheme == "light" else "en")
    for name in views(page):
        page.screenshot(path=screenshots / f"counter-{name}-{size}-{scheme}.png")
        assert_fits(page, least=44)
    page.goto(f"{counted.scanner.address}/print")
    page.wait_for_selector("tbody tr")
    page.screenshot(path=screenshots / f"print-{size}-{scheme}.png")
    assert_fits(page, least=44)


@pytest.mark.skipif("CARDEDGE_AXE" not in os.environ, reason="CARDEDGE_AXE is not axe.min.js; `npm install axe-core`")
@pytest.mark.parametrize("scheme", ["dark", "light"])
@pytest.mark.parametrize("size", VIEWS)
def test_axe_finds_no_violation(open_page, counted, size, scheme):
    page = open_page("/counter", size, scheme, locale="de" if scheme == "light" else "en")
    script = Path(os.environ["CARDEDGE_AXE"]).read_text()

    def violations(name):
        page.evaluate(script)
        found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
        return [(name, one["id"], one["nodes"][0]["html"]) for one in found]

    for name in views(page):
        assert violations(name) == []
    for path, shown in {"/print": "tbody tr", "/": "#link[data-word=ready]", "/status": "#link[data-word=ready]", "/login": "form"}.items():
        page.goto(counted.scanner.address + path)
        page.wait_for_selector(shown)
        assert violations(path) == []


def test_the_list_is_exported_for_manabox(open_page, counted, tmp_path):
    page = open_page("/counter", "laptop")
    page.wait_for_selector("#lines .line")
    page.click("#open-export")
    page.wait_for_function("() => document.getElementById('profile').value === 'manabox'")
    page.wait_for_selector(".gaps .gap")
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "manabox.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "manabox.csv").read_text())))
    assert sum(int(row["Quantity"]) for row in rows) == sum(line["quantity"] for line in counted.lines() if not line["waiting"])


def test_a_file_becomes_a_list_of_wanted_cards(open_page, counted, tmp_path):
    """A file without a card of the index begins no list."""
    wanted, other = tmp_path / "Anna.csv", tmp_path / "other.csv"
    line = next(line for line in counted.lines() if line["card_id"])
    wanted.write_text(f"Name,Set code,Collector number,Quantity\n{line['name']},{line['set']},{line['number']},3\n")
    other.write_text("Name,Quantity\nNo such card,1\n")
    page = open_page("/counter", "laptop")
    page.wait_for_selector("#lines .line")
    page.keyboard.press("s")
    page.wait_for_selector(".gaps p")
    page.select_option("#import-into", "wanted")
    page.set_input_files("#import-file", wanted)
    page.wait_for_selector("#import-into option:has-text('Anna')", state="attached")
    page.select_option("#import-into", "owned")
    page.set_input_files("#import-file", other)
    page.wait_for_function("() => document.querySelector('#toast').textContent.includes('none of the 1 rows')")

    def others():
        lists = counted.client.get("/api/lists").json()
        return [(each["name"], each["kind"], each["quantity"]) for each in lists if each["kind"] != "counted"]

    wait_until(lambda: others() == [("Anna", "wanted", 3)], 20.0)
