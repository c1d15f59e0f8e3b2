"""Fifty activations while frames arrive as fast as they are processed: no frame is lost, no error raised, no memory leaked."""

import gc
import json
import time
from types import SimpleNamespace

import numpy as np
import pytest

from edge.app.daemon import assemble
from edge.app.index import bundle_loader, load_gallery
from edge.app.model import load_model
from edge.app.replay import sequential_ids
from edge.bundles.manifest import read_manifest
from edge.camera.capture import CaptureState, CaptureStatus
from edge.daemon.supervision import NoSupervisor
from edge.index import releases
from edge.index.device_index import DeviceIndex
from edge.recognition.recognizer import LoadedGallery
from edge.settings.sections import IndexSection, NetworkSection, Settings
from edge.system.clock import Clock
from edge.system.machine import resident_mb
from edge.vision.frame import Frame
from edge.vision.locate import locate_cards
from tests.support.scripted_daemon import ListSink
from tests.support.small_scanner import on_table, write_index
from tests.support.stand_ins import write_vectors_bundle
from tools.benchmarks.vectors import random_vectors

SWAPS = 50
WARM_UP = 10
MAX_GROWTH_MB = 25.0
"""After the first ten swaps, when ONNX Runtime and OpenCV have allocated their buffers."""


class EndlessCamera:
    """Returns a new frame at every call: the scenes in turn."""

    over = False

    def __init__(self, scenes):
        self.scenes, self.taken, self.located = scenes, 0, 0

    def start(self):
        """Do nothing."""

    def get_frame(self, timeout_s):
        self.taken += 1
        return Frame(self.scenes[self.taken // 20 % len(self.scenes)], self.taken, time.monotonic_ns())

    def status(self):
        return CaptureStatus(
            CaptureState.RUNNING, None, frames=self.taken, dropped=0, reopens=0, hung_calls=0, last_frame_ns=time.monotonic_ns()
        )

    def stop(self, timeout_s):
        return True


class SwappingSink(ListSink):
    """Commands a change to the other release as soon as the last one was answered; calls ``done`` after the last one."""

    def __init__(self, ids):
        super().__init__(SimpleNamespace(now_ns=0))
        self.ids, self.done = ids, None
        self.memory_mb = []
        self.commanded = 0

    def poll_commands(self):
        self.script.now_ns = time.monotonic_ns()
        if self.commanded == len(self.replies):
            gc.collect()
            self.memory_mb.append(resident_mb())
            if self.commanded == SWAPS:
                self.done()
            else:
                self.commanded += 1
                self.command("index/activate", json.dumps({"index_id": self.ids[self.commanded % 2]}).encode())
        return super().poll_commands()


@pytest.mark.slow
@pytest.mark.long
def test_fifty_swaps_lose_no_frame_and_leak_no_memory(small_scanner, tmp_path):
    root = tmp_path / "index"
    root.mkdir()
    ids = []
    for count in (8, 5):
        source = write_index(tmp_path / f"of-{count}", small_scanner.model, dict(list(small_scanner.images.items())[:count]))
        ids.append(releases.install(root, source).bundle_id)
    releases.activate(root, ids[0])
    settings = Settings(index=IndexSection(directory=root), network=NetworkSection(model=small_scanner.model, threads=1))
    scenes = [on_table(image) for image in list(small_scanner.images.values())[:4]]
    with load_model(settings.network) as network:
        store = DeviceIndex(settings, bundle_loader(network.model, network.artifact_sha256), locate_cards)
        camera = EndlessCamera(scenes)
        sink = SwappingSink(ids)
        daemon = assemble(
            settings, sequential_ids(), network, store.open_active(), locate=locate_cards, camera=camera,
            store=store, sink=sink, supervisor=NoSupervisor(),
            clock=Clock(), read_text=None, page=None,
        )  # fmt: skip
        sink.done = daemon.stop
        locate = daemon._locator.locate

        def counted(frame):
            camera.located += 1
            return locate(frame)

        daemon._locator.locate = counted
        daemon.run()
    assert [reply["status"] for reply in sink.replies] == ["ok"] * SWAPS
    assert [reply["data"]["index_id"] for reply in sink.replies] == [ids[number % 2] for number in range(1, SWAPS + 1)]
    health = sink.of("health")[-1]
    assert (health["drops"]["recognitions"], health["drops"]["events"], health["problems"]) == (0, 0, [])
    assert camera.located == camera.taken, "every frame was processed"
    assert {event.index_id for event in sink.events} == set(ids)
    assert max(sink.memory_mb[WARM_UP:]) - max(sink.memory_mb[:WARM_UP]) < MAX_GROWTH_MB


@pytest.mark.slow
@pytest.mark.long
def test_the_memory_of_large_bundles_is_released(tmp_path):
    """Load a bundle of 4,000 entries fifty times beside the one before, as a swap does; the one swapped out is freed."""
    root = tmp_path / "index"
    ids = []
    for seed in range(2):
        write_vectors_bundle(tmp_path / f"source-{seed}", random_vectors(4000, 384, seed=seed))
        ids.append(releases.install(root, tmp_path / f"source-{seed}").bundle_id)
    serving: LoadedGallery | None = None
    memory_mb = []
    query = random_vectors(1, 384, seed=9).astype(np.float32)
    for number in range(SWAPS):
        serving = load_gallery(releases.open_release(root, ids[number % 2]), Settings())
        serving.index.search(query, 10)
        gc.collect()
        memory_mb.append(resident_mb())
    graph_mb = read_manifest(root / "releases" / ids[0]).entries * 4 * 384 / 1e6
    assert graph_mb > 6
    assert max(memory_mb[WARM_UP:]) - max(memory_mb[:WARM_UP]) < 2 * graph_mb, "fifty of them would be a hundred times that"
