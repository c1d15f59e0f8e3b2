"""Format of log lines at a terminal and in the journal."""

import logging
import os
import re
import tempfile

import pytest

from edge.logs import set_up_logging, writes_to_journal


@pytest.fixture
def stream(monkeypatch):
    """A file instead of standard error; the root logger is restored afterwards."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    with tempfile.TemporaryFile("w+") as file:
        yield file
        root.handlers[:], root.level = before
        logging.captureWarnings(capture=False)


def written(stream):
    stream.seek(0)
    return stream.read().splitlines()


def as_journal(stream, monkeypatch):
    status = os.fstat(stream.fileno())
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")


def test_a_terminal_gets_time_and_level(stream, monkeypatch):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    set_up_logging("info", stream=stream)
    logging.getLogger("edge.x").info("hello")
    logging.getLogger("edge.x").debug("not shown")
    (line,) = written(stream)
    assert re.fullmatch(r"\d\d:\d\d:\d\d INFO    edge\.x: hello", line)


def test_the_journal_gets_a_priority_on_every_line_of_a_traceback(stream, monkeypatch):
    as_journal(stream, monkeypatch)
    set_up_logging("debug", stream=stream)
    log = logging.getLogger("edge.x")
    log.debug("d")
    log.info("i")
    log.warning("w")
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        log.exception("e")
    lines = written(stream)
    assert lines[:3] == ["<7>edge.x: d", "<6>edge.x: i", "<4>edge.x: w"]
    assert len(lines) > 5
    assert all(line.startswith("<3>") for line in lines[3:])
    assert lines[-1] == "<3>ZeroDivisionError: division by zero"


def test_a_stream_that_systemd_did_not_connect_is_not_the_journal(stream, monkeypatch):
    """Programs whose output goes elsewhere inherit the variable."""
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")
    assert not writes_to_journal(stream)
    as_journal(stream, monkeypatch)
    assert writes_to_journal(stream)


def test_the_level_can_be_changed_while_running(stream, monkeypatch):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    set_up_logging("error", stream=stream)
    logging.getLogger("edge.x").warning("first")
    set_up_logging("warning", stream=stream)
    logging.getLogger("edge.x").warning("second")
    assert [line[-6:] for line in written(stream)] == ["second"]
