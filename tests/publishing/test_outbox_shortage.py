"""An outbox that is damaged while the process has no free descriptors: nothing readable is lost."""

import os
import resource
from contextlib import contextmanager, suppress

import pytest

from edge.errors import OutboxError
from edge.publishing.outbox import Outbox
from edge.settings.mqtt import OutboxSettings

EVENTS = 500


@contextmanager
def no_free_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def damage_one_page(outbox, file):
    """Overwrite a page in the middle of the file, and make the outbox read it again."""
    for pragma in ("wal_checkpoint(TRUNCATE)", "cache_size = 0", "shrink_memory"):
        outbox._database.execute(f"PRAGMA {pragma}")
    with file.open("r+b") as content:
        content.seek(file.stat().st_size // 2 // 4096 * 4096)
        content.write(b"\xff" * 4096)


def test_events_are_saved_from_a_damaged_file_once_there_are_descriptors_again(tmp_path):
    outbox = Outbox(OutboxSettings(file=tmp_path / "outbox.sqlite"))
    for number in range(EVENTS):
        outbox.put(f"e{number}", "topic", b"." * 1000)
    damage_one_page(outbox, tmp_path / "outbox.sqlite")
    with no_free_descriptors():
        for _ in range(3):
            with pytest.raises(OutboxError):
                outbox.peek(EVENTS)
    outbox.put("new", "topic", b".")
    saved = [row.event_id for row in outbox.peek(2 * EVENTS)]
    stats = outbox.stats()
    outbox.close()
    assert len(saved) > 0.9 * EVENTS
    assert saved[-1] == "new"
    assert (stats.corrupt_databases, stats.rows + stats.dropped["damage"]) == (1, EVENTS + 1)
