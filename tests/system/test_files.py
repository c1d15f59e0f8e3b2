"""Files and links are replaced in one step; a lock keeps a second holder out until it is released or its time is over."""

import os
import threading
import time
from pathlib import Path

import pytest

from edge.system.files import locked, replace_link, replacement, sync, write_atomically


@pytest.fixture
def synced(monkeypatch):
    """Paths in the order in which they were flushed to the disk."""
    paths = []
    fsync = os.fsync

    def note(descriptor):
        paths.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    return paths


def names(folder):
    return [entry.name for entry in folder.iterdir()]


@pytest.mark.parametrize("content", ["zażółć", "zażółć".encode()])
def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path, content):
    path = tmp_path / "list.json"
    path.write_text("old")
    write_atomically(path, content)
    assert path.read_text(encoding="utf-8") == "zażółć"
    assert names(tmp_path) == ["list.json"]


def test_content_is_on_the_disk_before_its_name(tmp_path, synced):
    write_atomically(tmp_path / "a", "new")
    assert synced == [str(tmp_path / ".a.new"), str(tmp_path)]


def test_what_need_not_survive_a_power_cut_is_not_flushed(tmp_path, synced):
    write_atomically(tmp_path / "a", "new", durable=False)
    assert synced == []
    assert (tmp_path / "a").read_text() == "new"


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(TypeError), replacement(path) as temporary, temporary.open("wb") as file:
        file.write("half of it")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_a_leftover_of_a_killed_process_is_overwritten(tmp_path):
    (tmp_path / ".a.new").write_text("a longer leftover")
    write_atomically(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"


def test_a_link_is_replaced_and_flushed(tmp_path, synced):
    (tmp_path / ".current.new").symlink_to("leftover")
    replace_link(tmp_path / "current", "one")
    replace_link(tmp_path / "current", "two")
    assert (tmp_path / "current").readlink() == Path("two")
    assert names(tmp_path) == ["current"]
    assert synced == [str(tmp_path), str(tmp_path)]


def test_sync_raises_for_what_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "missing")


def test_a_lock_lasts_until_its_file_is_closed(tmp_path):
    path = tmp_path / ".lock"
    with locked(path, mode=0o640):
        assert path.stat().st_mode & 0o777 == 0o640
        with pytest.raises(BlockingIOError):
            locked(path)
    locked(path).close()


def test_a_lock_is_waited_for(tmp_path):
    held = locked(tmp_path / ".lock")
    timer = threading.Timer(0.2, held.close)
    timer.start()
    locked(tmp_path / ".lock", wait_s=30.0).close()
    timer.join()


def test_waiting_for_a_lock_ends(tmp_path):
    with locked(tmp_path / ".lock"):
        began_s = time.monotonic()
        with pytest.raises(BlockingIOError):
            locked(tmp_path / ".lock", wait_s=0.2)
        assert time.monotonic() - began_s >= 0.2


def test_a_link_is_not_followed_to_a_lock(tmp_path):
    (tmp_path / ".lock").symlink_to("elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        locked(tmp_path / ".lock")
    assert not (tmp_path / "elsewhere").exists()
