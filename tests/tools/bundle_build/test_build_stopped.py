"""A build that cannot write, is one of two, or is interrupted: one line, a documented exit status, and nothing half-written."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from edge.adapters.hnsw import write_graph
from edge.bundles.manifest import GraphParameters
from edge.bundles.writer import claimed
from edge.errors import DataError, ExitCode
from tests.tools.bundle_build.test_build_index import images as images  # noqa: PLC0414 - a fixture
from tests.tools.bundle_build.test_build_index import numbered, run, write_list
from tools import build_index as tool


@pytest.fixture
def options(tmp_path, images):
    return ["--images", images, "--cards", write_list(tmp_path, numbered(3)), "--out", tmp_path / "out"]


def left_behind(tmp_path):
    return sorted(entry.name for entry in tmp_path.iterdir() if entry.name not in ("cards.csv", "images", "cache"))


def fails_with(error):
    def fail(*_arguments, **_options):
        raise error

    return fail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_takes_no_more_is_65_and_leaves_nothing(tmp_path, options, capsys, monkeypatch, number):
    monkeypatch.setattr(
        "tools.bundle_build.build.proposal_writer", lambda form, previous, chunks: fails_with(OSError(number, os.strerror(number)))
    )
    status, printed, errors = run(capsys, monkeypatch, *options)
    assert (status, printed, len(errors.splitlines())) == (ExitCode.BAD_DATA, "", 1)
    assert f"out: cannot be written ({os.strerror(number)}); nothing was kept of it" in errors
    assert left_behind(tmp_path) == []


def test_a_graph_cut_short_by_a_full_disk_is_noticed():
    vectors = np.eye(8, dtype=np.float16)
    with pytest.raises(OSError, match="No space left on device"):
        write_graph(vectors, GraphParameters(), Path("/dev/full"))


def test_a_parent_that_cannot_be_written_is_refused_before_any_work(options, capsys, monkeypatch):
    monkeypatch.setattr(tool, "build_index", fails_with(AssertionError("the network ran")))
    status, _, errors = run(capsys, monkeypatch, *options[:-1], "/proc/out")
    assert (status, len(errors.splitlines())) == (ExitCode.BAD_DATA, 1)
    assert "/proc/out: cannot be written" in errors


def test_the_second_of_two_builds_stops_at_once(tmp_path, options, capsys, monkeypatch):
    monkeypatch.setattr(tool, "build_index", fails_with(AssertionError("the network ran")))
    with claimed(tmp_path / "out"):
        status, _, errors = run(capsys, monkeypatch, *options)
    assert status == ExitCode.BAD_DATA
    assert "out: another build is writing it" in errors
    assert left_behind(tmp_path) == []


def test_a_claim_is_over_after_a_failure(tmp_path):
    with pytest.raises(DataError, match="bad list"), claimed(tmp_path / "out"):
        raise DataError("bad list")
    with claimed(tmp_path / "out"):
        pass
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(("more", "kept"), [((), "the same command resumes"), (("--no-cache",), "")])
def test_ctrl_c_is_130_and_says_what_is_kept(tmp_path, options, capsys, monkeypatch, more, kept):
    monkeypatch.setattr(tool, "build_index", fails_with(KeyboardInterrupt()))
    status, _, errors = run(capsys, monkeypatch, *options, "--cache", tmp_path / "cache", *more)
    assert status == ExitCode.INTERRUPTED
    assert f"interrupted, nothing was written to {tmp_path / 'out'}" in errors
    assert kept in errors
    assert ("resumes" in errors) is bool(kept)
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(("missing", "status"), [("--images", ExitCode.USAGE), ("--cards", ExitCode.BAD_DATA)])
def test_a_missing_input_has_its_documented_status(tmp_path, options, capsys, monkeypatch, missing, status):
    options[options.index(missing) + 1] = tmp_path / "absent"
    found, _, errors = run(capsys, monkeypatch, *options)
    assert found == status
    assert str(tmp_path / "absent") in errors
