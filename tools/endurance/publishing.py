"""Publish events through the product's outbox and publisher, and write down each one that was committed.

    python -m tools.endurance.publishing FOLDER PORT EVENTS_PER_S

A start of this program writes its own file ``commits-<n>.txt`` in FOLDER: a line with the event's id and the SHA-256 of its payload as soon
as ``publish`` has returned. Ids grow with every event and every start. With a rate of 0 only events that wait in the outbox are sent.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edge.app.broker import mqtt_sink
from edge.errors import OutboxError
from edge.publishing.discovery import Device
from edge.publishing.event import CardEvent, WireSize
from edge.settings.mqtt import HomeAssistantSettings, MqttSettings, OutboxSettings

DEVICE_ID: Final = "chaos"
OUTBOX_FILE: Final = "outbox.sqlite"
CLOSE_S: Final = 5.0


def main(folder: Path, port: int, events_per_s: float) -> None:
    """Publish until SIGTERM."""
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ending.set())
    start = len(list(folder.glob("commits-*.txt"))) + 1
    commits = os.open(folder / f"commits-{start:06}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sink = mqtt_sink(
        MqttSettings(host="127.0.0.1", port=port),
        HomeAssistantSettings(enabled=False),
        OutboxSettings(file=folder / OUTBOX_FILE),
        device_id=DEVICE_ID,
        device=Device("Chaos", "none", "0"),
        images=False,
    )
    sink.start()
    number = 0
    while not ending.wait(1.0 / events_per_s if events_per_s else None):
        event = made_event(start, number)
        number += 1
        try:
            sink.publish(event)
        except OutboxError as error:
            print(error, file=sys.stderr)
            continue
        os.write(commits, f"{event.event_id} {hashlib.sha256(event.to_json()).hexdigest()}\n".encode())
    sink.close(CLOSE_S)


def made_event(start: int, number: int) -> CardEvent:
    """Return the event ``number`` of a start: its id grows with both, its other values do not matter."""
    return CardEvent(
        type="identified",
        event_id=f"{start:06}{number:020}",
        device_id=DEVICE_ID,
        boot_id=f"start-{start}",
        seq=number,
        at=datetime.now(UTC),
        track_id=f"T{start}-{number}",
        card_id=f"card-{number % 500}",
        name="A card",
        set="B1",
        number=str(number % 500),
        similarity=0.9,
        margin=0.2,
        verification=0.95,
        printings=(f"card-{number % 500}",),
        candidates=(),
        reason=None,
        quad=((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)),
        frame=WireSize(width=1280, height=720),
        index_id="none",
        model_id="none",
        timing_ms={},
        image_id=None,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
