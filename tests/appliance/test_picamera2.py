"""The daemon with Picamera2 and libcamera's virtual camera: frames, colors, a disconnected cable, a camera without frames.

``tests/adapters/test_picamera.py`` uses a double for what this camera cannot do (a close that hangs, formats, focus).
"""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.appliance.virtual_pi_camera import ENVIRONMENT, FOLDER, NUMBER, PROGRAM, VirtualCamera, camera_root
from tests.support.debian_root import why_not
from tests.support.mosquitto import Listener, Mosquitto, needs_mosquitto, wait_until
from tools.demo_video.script import PX_PER_MM
from tools.sample_bundle import sample_video_cards
from tools.simulation.camera import CardPose, lay_card

DEVICE = "virtual"
TABLE = (52, 66, 58)
SETTINGS = """
[device]
id = "{device}"
[camera]
kind = "picamera2"
source = "{number}"
fps = 10
read_timeout_s = 1.0
frozen_after_s = 1.5
[network]
model = "/opt/source/hef/convnext-tiny-bn"
threads = 1
[locate]
model = "/opt/source/hef/card-locator"
[index]
directory = "/opt/index"
[mqtt]
host = "127.0.0.1"
port = {port}
[outbox]
file = "/run/outbox.sqlite"
[image]
enabled = true
"""
RECOVERY_S = 60.0
COLORS = {
    "red": (200, 40, 30), "green": (40, 170, 60), "blue": (35, 60, 190), "skin": (224, 172, 140),
    "white": (235, 235, 235), "gray": (120, 120, 120), "yellow": (220, 200, 40), "black": (20, 20, 20),
}  # fmt: skip

pytestmark = [pytest.mark.appliance, needs_mosquitto, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    reason = why_not()
    if reason is not None:
        pytest.skip(f"no Debian with Picamera2 can be made here: {reason}")
    return camera_root(tmp_path_factory.getbasetemp().parent / "cardedge-roots")


@pytest.fixture(scope="module")
def camera(root):
    return VirtualCamera(root)


@pytest.fixture(scope="module")
def cards():
    return sample_video_cards(2)


def on_the_table(card):
    scene = np.full((720, 1280, 3), TABLE, dtype=np.float32)
    return lay_card(scene, card.image, CardPose(640.0, 350.0, PX_PER_MM, roll_deg=4.0))


class Scanner:
    """The running daemon, observed over MQTT."""

    def __init__(self, process: "subprocess.Popen[str]", listener: Listener, errors: Path) -> None:
        self.process, self._listener, self._errors = process, listener, errors

    def heard(self, topic: str) -> list[bytes]:
        return self._listener.on(f"cardedge/{DEVICE}/{topic}")

    def identified(self, card_id: str) -> dict | None:
        """Return the first event that identifies a card, or None."""
        events = map(json.loads, self.heard("event"))
        return next((event for event in events if event["type"] == "identified" and event["card_id"] == card_id), None)

    def health(self) -> dict:
        reports = self.heard("health")
        return json.loads(reports[-1]) if reports else {"camera": {"state": None, "last_error": None}, "problems": []}

    def wait_for_camera(self, state: str, error: str = "") -> dict:
        """Wait for a health report with the camera in ``state`` and ``error`` in its message; the daemon must keep running."""

        def is_reached() -> bool:
            assert self.process.poll() is None, self._errors.read_text()[-3000:]
            camera = self.health()["camera"]
            return camera["state"] == state and error in (camera["last_error"] or "")

        try:
            wait_until(is_reached, RECOVERY_S)
        except AssertionError as late:
            raise AssertionError(f"camera: {self.health()['camera']}\n{self._errors.read_text()[-3000:]}") from late
        return self.health()


@pytest.fixture(scope="module")
def scanner(root, camera, cards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("broker")
    broker = Mosquitto(folder).start()
    listener = Listener(broker.port)
    root.run(PROGRAM, "-m", "edge", "index", "activate", "/opt/source/index/sample", "--index", "/opt/index")
    root.at("/opt/settings.toml").write_text(SETTINGS.format(device=DEVICE, number=NUMBER, port=broker.port))
    root.at("/run/outbox.sqlite").unlink(missing_ok=True)
    camera.show(on_the_table(cards[0]))
    camera.plug_in()
    command = (PROGRAM, f"{FOLDER}/cardedge_with_virtual_camera.py", "run", "--config", "/opt/settings.toml")
    with (folder / "stderr").open("w") as errors, root.start(*command, environment=ENVIRONMENT, stderr=errors) as process:
        yield Scanner(process, listener, folder / "stderr")
        process.kill()
    listener.close()
    broker.stop()


def test_colors_are_those_before_the_camera(root, camera):
    """Swapped red and blue would differ by 150 and more."""
    image = np.zeros((720, 1280, 3), dtype=np.uint8)
    for place, color in enumerate(COLORS.values()):
        row, column = divmod(place, 4)
        image[row * 360 : row * 360 + 360, column * 320 : column * 320 + 320] = color
    camera.show(image)
    camera.plug_in()
    report = json.loads(root.run(PROGRAM, f"{FOLDER}/frame_report.py", NUMBER, 4, 2, environment=ENVIRONMENT, timeout_s=60.0))
    assert report["properties"]["granted"] == "1280x720 NV12"
    for name, color in zip(COLORS, report["colors"], strict=True):
        assert color == pytest.approx(COLORS[name], abs=5), name


def test_a_card_before_the_camera_is_published_over_mqtt(scanner, cards):
    health = scanner.wait_for_camera("running")
    assert (health["camera"]["width"], health["camera"]["height"]) == (1280, 720)
    wait_until(lambda: scanner.identified(cards[0].card_id), RECOVERY_S)
    event = scanner.identified(cards[0].card_id)
    assert event["frame"] == {"width": 1280, "height": 720}
    assert 0 < event["timing_ms"]["capture_to_event"] < 60_000  # the sensor's time stamp is of the monotonic clock


def test_a_camera_without_frames_is_frozen_and_recovers(scanner, camera):
    scanner.wait_for_camera("running")
    camera.silence()
    health = scanner.wait_for_camera("frozen", "no frame for 1 s; check ribbon cable and power")
    assert [problem["part"] for problem in health["problems"]] == ["camera"]
    camera.plug_in()
    assert scanner.wait_for_camera("running")["problems"] == []


def test_a_camera_that_repeats_one_image_is_frozen_and_recovers(scanner, camera, cards):
    scanner.wait_for_camera("running")
    camera.show(on_the_table(cards[0]), images=1)
    camera.silence()  # the images are read by the next opening
    scanner.wait_for_camera("frozen", "no frame")
    camera.plug_in()
    scanner.wait_for_camera("frozen", "the image has not changed by a single bit for 1.5 s")
    camera.show(on_the_table(cards[0]))
    assert scanner.wait_for_camera("running")["problems"] == []


def test_a_disconnected_camera_is_named_and_found_again(scanner, camera, cards):
    scanner.wait_for_camera("running")
    camera.unplug()
    health = scanner.wait_for_camera("disconnected", f"camera {NUMBER}: not found (found: 0 wall); check the ribbon cable")
    assert [problem["part"] for problem in health["problems"]] == ["camera"]
    camera.show(on_the_table(cards[1]))
    camera.plug_in()
    assert scanner.wait_for_camera("running")["problems"] == []
    wait_until(lambda: scanner.identified(cards[1].card_id), RECOVERY_S)
