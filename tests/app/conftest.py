"""``cardedge run`` as a process, with a video as its camera."""

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from edge.index import releases
from tests.support.paths import ROOT
from tests.support.small_scanner import on_table


@pytest.fixture
def config(small_scanner, broker, tmp_path):
    """Settings of a scanner that sees one card all the time; its index is installed as on a device."""
    video = cv2.VideoWriter(str(tmp_path / "video.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (1280, 720))
    noise = np.random.default_rng(0)
    table = on_table(next(iter(small_scanner.images.values())))
    for _ in range(20):
        video.write(cv2.cvtColor(np.clip(table + noise.normal(0, 3, table.shape), 0, 255).astype(np.uint8), cv2.COLOR_RGB2BGR))
    video.release()
    root = tmp_path / "index"
    root.mkdir()
    releases.activate(root, releases.install(root, small_scanner.index).bundle_id)
    path = tmp_path / "cardedge.toml"
    path.write_text(
        f"""
        [device]
        id = "bench"
        [camera]
        kind = "film"
        source = "{tmp_path / "video.avi"}"
        loop = true
        [network]
        model = "{small_scanner.model}"
        threads = 1
        [index]
        directory = "{root}"
        [mqtt]
        host = "127.0.0.1"
        port = {broker.port}
        [outbox]
        file = "{tmp_path / "outbox.sqlite"}"
        [home_assistant]
        birth_wait_s = 0
        [image]
        enabled = true
        """
    )
    return path


@pytest.fixture
def start(config, tmp_path):
    """Return a function that starts the daemon, with standard error in a file; running daemons are killed after the test."""
    started = []

    def start(**environment):
        errors = (tmp_path / "stderr").open("w")
        command = [sys.executable, "-m", "edge", "run", "--config", str(config)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, env=os.environ | environment)
        errors.close()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=60)


@pytest.fixture
def busy(config, small_scanner, tmp_path):
    """The same scanner with a video in which two cards alternate, so that events never end."""
    video = cv2.VideoWriter(str(tmp_path / "busy.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (1280, 720))
    noise = np.random.default_rng(1)
    cards = list(small_scanner.images.values())
    for table in (on_table(cards[0]), on_table(), on_table(cards[1]), on_table()):
        for _ in range(8):
            video.write(cv2.cvtColor(np.clip(table + noise.normal(0, 3, table.shape), 0, 255).astype(np.uint8), cv2.COLOR_RGB2BGR))
    video.release()
    config.write_text(config.read_text().replace("video.avi", "busy.avi") + "[track]\nremoved_after_s = 0.3\n")
    return config
