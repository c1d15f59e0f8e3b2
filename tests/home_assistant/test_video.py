"""The daemon itself plays a video of two cards of the sample bundle; Home Assistant shows and controls it."""

import signal
import subprocess
import sys

import pytest

from edge.vision.card_jpeg import image_id
from tests.appliance.debian import make_video
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
directory = "{root}/index/sample"

[mqtt]
host = "127.0.0.1"
port = {port}

[outbox]
file = "{folder}/outbox.sqlite"

[image]
enabled = true
"""
LAST, EVENT, IMAGE = "sensor.cardedge_till_last_card", "event.cardedge_till_card_event", "image.cardedge_till_image"
VIDEO_S = 600.0
"""Far more than the seven seconds of the video, because the host may be slow."""


@pytest.fixture
def card_ids(household, tmp_path):
    """Run the daemon; the ids are those of the cards in its video."""
    shown = make_video(tmp_path / "film.mp4")
    (tmp_path / "cardedge.toml").write_text(SETTINGS.format(folder=tmp_path, root=ROOT, port=household.broker.port))
    command = [sys.executable, "-m", "edge", "run", "--config", str(tmp_path / "cardedge.toml")]
    daemon = subprocess.Popen(command, cwd=ROOT)
    yield shown
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(60) == 0
    wait_for(lambda: household.home_assistant.value(EVENT) == "unavailable", "a stopped scanner is unavailable")


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


def attribute(home, entity_id, name):
    found = home.state(entity_id)
    return None if found is None else found["attributes"].get(name)
