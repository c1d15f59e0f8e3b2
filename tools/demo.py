"""Run the demo: broker, video and daemon; print each MQTT event next to the correct answer, then a summary.

The daemon runs in its own process, and only events that came through the broker are counted.
"""

from __future__ import annotations

import json
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge.errors import DataError, EdgeError, ExitCode
from tools.demo_video.broker import LOCAL, DemoBroker, demo_broker
from tools.demo_video.cards import UNKNOWN_SEED, drawn_video_card
from tools.demo_video.render import write_video
from tools.demo_video.script import MIN_SECONDS, SECONDS, demo_script, truth
from tools.demo_video.tally import ReportedEvent, Truth, Verdict, appearance_of, tally
from tools.sample_bundle import SAMPLE_DIRECTORY, sample_video_cards

DEVICE: Final = "demo"
FILM_SEED: Final = 7
START_TIMEOUT_S: Final = 120.0
AFTER_FILM_S: Final = 3.0
"""The last card's events still come after the video's last frame."""
BUSY_S: Final = 1.0
"""Median time from capture to event above which a card may be gone before it was recognized; an idle machine needs 0.1 to 0.5 s."""

SETTINGS: Final = """\
[device]
id = "{device}"
name = "Demo scanner"

[camera]
kind = "film"
source = "{film}"
loop = {loop}

[index]
directory = "{index}"

[mqtt]
host = "{host}"
port = {port}
protocol = "{protocol}"

[outbox]
file = "{outbox}"

[home_assistant]
enabled = false
"""

PAGE: Final = """
[http]
enabled = true
host = "{host}"
port = {port}
review_dir = "{review}"
"""


@dataclass
class Inbox:
    """Messages received over MQTT: the events in order, and when the camera started."""

    events: queue.Queue[dict[str, Any]] = field(default_factory=queue.Queue)
    started_at: datetime | None = None

    def on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        """Store one message; called in the client's network thread."""
        payload = json.loads(message.payload)
        if message.topic.endswith("/event"):
            self.events.put(payload)
        elif self.started_at is None and payload.get("camera", {}).get("state") == "running":
            self.started_at = datetime.fromisoformat(payload["at"])


def main(seconds: float | None = None, http: tuple[str, int] | None = None) -> int:
    """Play the demo, with the scanner's page at ``http`` if given; then the video starts over until Ctrl+C.

    Return 0 only if every card was named right, every unknown one refused and nothing else named.
    """
    length_s = SECONDS if seconds is None else seconds
    if length_s < MIN_SECONDS:
        raise DataError(f"--seconds {length_s:g} is too short to show everything; give at least {MIN_SECONDS:g}")
    if not SAMPLE_DIRECTORY.is_dir():
        raise DataError(f"{SAMPLE_DIRECTORY}: no sample bundle; build it with: python -m tools.sample_bundle")
    with _ending_on_sigterm(), tempfile.TemporaryDirectory(prefix="cardedge-demo-") as directory, demo_broker() as broker:
        folder = Path(directory)
        _say(f"Broker: {broker.name}, port {broker.port}.")
        _say(f"Rendering a video of {length_s:.0f} s, which takes about half as long: drawn cards under a simulated camera ...")
        script = demo_script(sample_video_cards(24), [drawn_video_card(UNKNOWN_SEED, 0)], FILM_SEED, length_s)
        write_video(script, folder / "demo.mp4")
        return _play(truth(script), folder, broker, http)


def _play(story: Truth, folder: Path, broker: DemoBroker, http: tuple[str, int] | None) -> int:
    with _listener(broker) as inbox, _daemon(folder, broker, http) as daemon:
        _wait_until_running(inbox, daemon)
        if inbox.started_at is None:
            raise EdgeError(f"the daemon published nothing over MQTT within {START_TIMEOUT_S:g} s; its output is above")
        _say("The video runs. Each event as it arrives from MQTT, and what is true:\n")
        events = list(_follow(inbox, story, inbox.started_at, daemon))
        code = _summarize(story, events, inbox.started_at)
        if http is not None:
            _say(f"The video starts over; the page stays at http://{http[0]}:{http[1]}/ until you press Ctrl+C.")
            with suppress(KeyboardInterrupt):
                daemon.wait()
    return code


def _summarize(story: Truth, events: Sequence[Mapping[str, object]], started_at: datetime) -> int:
    """Print the tally and return the exit status."""
    result = tally(story, events, started_at)
    print(f"\n{result.summary()}", flush=True)
    for appearance, verdict in zip(story.appearances, result.verdicts, strict=True):
        if verdict in (Verdict.WRONG, Verdict.MISSED, Verdict.FALSE_ALARM):
            print(f"  {verdict}: {appearance.kind} {appearance.name} from {appearance.from_s:.1f} s", flush=True)
    print("The tally is right." if result.is_right else "The tally is NOT right.", flush=True)
    if not result.is_right and (note := busy_note(events)) is not None:
        print(note, flush=True)
    return int(ExitCode.OK if result.is_right else ExitCode.SOFTWARE)


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Leave the block on SIGTERM as by an exit, so that daemon and broker are ended too."""
    former = signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


@contextmanager
def _listener(broker: DemoBroker) -> Iterator[Inbox]:
    inbox = Inbox()
    version = MQTTProtocolVersion.MQTTv5 if broker.protocol == "5" else MQTTProtocolVersion.MQTTv311
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version)
    client.on_message = inbox.on_message
    client.on_connect = lambda client, *_: client.subscribe([(f"cardedge/{DEVICE}/event", 1), (f"cardedge/{DEVICE}/health", 1)])
    client.connect(LOCAL, broker.port)
    client.loop_start()
    try:
        yield inbox
    finally:
        client.disconnect()
        client.loop_stop()


@contextmanager
def _daemon(folder: Path, broker: DemoBroker, http: tuple[str, int] | None) -> Iterator[subprocess.Popen[bytes]]:
    settings = folder / "cardedge.toml"
    settings.write_text(
        SETTINGS.format(
            device=DEVICE,
            film=folder / "demo.mp4",
            loop="false" if http is None else "true",
            index=SAMPLE_DIRECTORY,
            host=LOCAL,
            port=broker.port,
            protocol=broker.protocol,
            outbox=folder / "outbox.sqlite",
        )
    )
    if http is not None:
        with settings.open("a") as file:
            file.write(PAGE.format(host=http[0], port=http[1], review=folder / "review"))
        _say(f"The page: http://{http[0]}:{http[1]}/")
    process = subprocess.Popen([sys.executable, "-m", "edge", "run", "--config", str(settings)], cwd=Path(__file__).resolve().parents[1])
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_running(inbox: Inbox, daemon: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while inbox.started_at is None and daemon.poll() is None and time.monotonic() < deadline_s:
        time.sleep(0.05)


def _follow(inbox: Inbox, story: Truth, started_at: datetime, daemon: subprocess.Popen[bytes]) -> Iterator[Mapping[str, object]]:
    """Yield and print the events until the video is over; it may have started over by then."""
    ends_at = started_at + timedelta(seconds=story.seconds + AFTER_FILM_S)
    while (left_s := (ends_at - datetime.now(ends_at.tzinfo)).total_seconds()) > 0 and daemon.poll() is None:
        try:
            event = inbox.events.get(timeout=min(left_s, 0.5))
        except queue.Empty:
            continue
        if _at_s(event, started_at) <= story.seconds:
            print(_line(event, story, started_at), flush=True)
            yield event


def _at_s(event: Mapping[str, Any], started_at: datetime) -> float:
    return (datetime.fromisoformat(event["at"]) - started_at).total_seconds()


def busy_note(events: Iterable[Mapping[str, Any]]) -> str | None:
    """Return that this machine is too busy to follow a video in real time, or None if the events say otherwise."""
    # a removal is late on purpose
    delays_ms = [event["timing_ms"]["capture_to_event"] for event in events if event["type"] != "removed"]
    delay_s = statistics.median(delays_ms) / 1000.0 if delays_ms else 0.0
    if delay_s <= BUSY_S:
        return None
    return (
        f"This machine is too busy to follow the video: from a frame to its event it took {delay_s:.1f} s (median), and cards were gone"
        " before they were recognized. End other programs and run the demo again."
    )


def _line(event: Mapping[str, Any], story: Truth, started_at: datetime) -> str:
    at_s = _at_s(event, started_at)
    what = f"{event['card_id']} {event['name']}" if event["card_id"] else f"({event.get('reason') or '-'})"
    scores = f"verification {event['verification']:.2f}" if event["verification"] is not None and event["type"] != "removed" else ""
    place = appearance_of(story, ReportedEvent.model_validate(event), at_s)
    appearance = None if place is None else story.appearances[place]
    true = "nothing there" if appearance is None else f"{appearance.kind} {appearance.card_id or ''} {appearance.name}"
    return f"{at_s:6.1f} s  {event['type']:<10}  {what:<34}  {scores:<17}  truth: {' '.join(true.split())}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except EdgeError as error:
        print(f"demo: {error}", file=sys.stderr)
        raise SystemExit(int(error.exit_code)) from None
