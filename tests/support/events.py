"""Events for tests that do not depend on their contents."""

from datetime import UTC, datetime

from ulid import ULID

from edge.publishing.event import CardEvent, WireCandidate, WireSize

AT = datetime(2026, 11, 20, 9, 0, 0, 123456, tzinfo=UTC)


def make_event(seq: int = 0, **changes) -> CardEvent:
    fields = {
        "type": "identified",
        "event_id": str(ULID()),
        "device_id": "scanner-1",
        "boot_id": "boot-1",
        "seq": seq,
        "at": AT,
        "track_id": f"track-{seq}",
        "card_id": "B1-7",
        "name": "Ember Fox",
        "set": "B1",
        "number": "7",
        "similarity": 0.91,
        "margin": 0.22,
        "verification": 0.97,
        "printings": ("B1-7",),
        "candidates": (WireCandidate(card_id="B1-7", name="Ember Fox", similarity=0.91, verification=0.97),),
        "reason": None,
        "quad": ((10.0, 20.0), (110.0, 20.0), (110.0, 160.0), (10.0, 160.0)),
        "frame": WireSize(width=1280, height=720),
        "index_id": "index-1",
        "model_id": "model-1",
        "timing_ms": {"capture_to_event": 61.2},
        "image_id": None,
    }
    return CardEvent(**(fields | changes))
