"""The daemon itself plays a video of two cards of the sample bundle; Home Assistant shows and controls it."""

import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from edge.index import releases
from edge.vision.card_jpeg import image_id
from tests.appliance.debian import make_video
from tests.receiving.scanner import change_manifest
from tests.support.home_assistant import wait_for
from tests.support.paths import ROOT

pytestmark = [pytest.mark.home_assistant, pytest.mark.timeout(1800)]

SETTINGS = """\
[device]
id = "till"
name = "Till"

[camera]
kind = "film"
source = "{folder}/film.mp4"
loop = true

[track]
removed_after_s = 0.5

[index]
directory = "{index}"

[mqtt]
host = "127.0.0.1"
port = {port}

[outbox]
file = "{folder}/outbox.sqlite"

[image]
enabled = true
"""
SAMPLE = ROOT / "index" / "sample"
LAST, EVENT, IMAGE = "sensor.cardedge_till_last_card", "event.cardedge_till_card_event", "image.cardedge_till_image"
PROBLEM, UPDATE = "binary_sensor.cardedge_till_problem", "update.cardedge_till_index"
VIDEO_S = 600.0
"""Far more than the seven seconds of the video, because the host may be slow."""


@contextmanager
def daemon(household, folder, index):
    """Run the daemon on a video of two cards with an index folder or a bundle; yield the ids of the cards."""
    shown = make_video(folder / "film.mp4")
    (folder / "cardedge.toml").write_text(SETTINGS.format(folder=folder, index=index, port=household.broker.port))
    command = [sys.executable, "-m", "edge", "run", "--config", str(folder / "cardedge.toml")]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        yield shown
    finally:
        process.send_signal(signal.SIGTERM)
        status = process.wait(60)
    assert status == 0
    wait_for(lambda: household.home_assistant.value(EVENT) == "unavailable", "a stopped scanner is unavailable")


@pytest.fixture
def card_ids(household, tmp_path):
    with daemon(household, tmp_path, SAMPLE) as shown:
        yield shown


def test_a_daemon_that_plays_a_video_is_shown_and_controlled(household, card_ids):
    home = household.home_assistant
    for card_id in card_ids:
        wait_for(lambda card_id=card_id: attribute(home, LAST, "card_id") == card_id, f"{card_id} is the last card", VIDEO_S)
    wait_for(lambda: image_id(home.image(IMAGE)) == attribute(home, IMAGE, "image_id"), "the picture is that of the id", VIDEO_S)
    wait_for(lambda: home.value("binary_sensor.cardedge_till_card_present") == "on", "a card is present", VIDEO_S)
    home.call("switch.turn_off", entity_id="switch.cardedge_till_enabled")
    wait_for(lambda: home.value("switch.cardedge_till_enabled") == "off", "recognition is paused")
    wait_for(lambda: home.value("binary_sensor.cardedge_till_card_present") == "off", "no card is present")
    assert attribute(home, EVENT, "event_type") == "removed"
    wrong, right = attribute(home, LAST, "card_id"), next(each for each in card_ids if each != attribute(home, LAST, "card_id"))
    home.call("text.set_value", entity_id="text.cardedge_till_correction", value=right)
    wait_for(lambda: attribute(home, LAST, "card_id") == right, f"{wrong} is corrected")
    wait_for(lambda: attribute(home, EVENT, "event_type") == "corrected", "as an event too")
    home.call("number.set_value", entity_id="number.cardedge_till_threshold", value=0.9)
    wait_for(lambda: home.value("number.cardedge_till_threshold") == "0.9", "the threshold")
    home.call("switch.turn_on", entity_id="switch.cardedge_till_enabled")
    wait_for(lambda: home.value("switch.cardedge_till_enabled") == "on", "recognition goes on")


def test_an_expired_bundle_is_reported_and_stays_in_use_until_another_is_activated(household, tmp_path):
    home, root = household.home_assistant, tmp_path / "index"
    root.mkdir()
    expired = shutil.copytree(SAMPLE, tmp_path / "expired")
    change_manifest(expired, expires=datetime(2026, 1, 2, tzinfo=UTC))
    releases.activate(root, releases.install(root, expired).bundle_id)
    with daemon(household, tmp_path, root) as card_ids:
        wait_for(lambda: home.value(PROBLEM) == "on", "the problem is shown", VIDEO_S)
        wait_for(lambda: "expired at 2026-01-02" in str(attribute(home, PROBLEM, "problems")), "with its reason")
        wait_for(lambda: (attribute(home, UPDATE, "release_summary") or "").startswith("the bundle expired"), "at the index too")
        for card_id in card_ids:
            wait_for(lambda card_id=card_id: attribute(home, LAST, "card_id") == card_id, f"{card_id} is the last card", VIDEO_S)
        newer = shutil.copytree(SAMPLE, tmp_path / "newer")
        change_manifest(newer, name="A newer one")
        releases.activate(root, releases.install(root, newer).bundle_id)
        wait_for(lambda: "expired" not in str(attribute(home, PROBLEM, "problems")), "the problem is over", VIDEO_S)
        wait_for(lambda: not attribute(home, UPDATE, "release_summary"), "at the index too")


def attribute(home, entity_id, name):
    found = home.state(entity_id)
    return None if found is None else found["attributes"].get(name)
