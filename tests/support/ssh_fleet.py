"""A fleet of scanners behind real sshd."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager

import cv2
import numpy as np

from edge.index import releases
from edge.recognition.model import read_model_manifest
from tests.receiving.scanner import change_manifest, day
from tests.support.mosquitto import Listener, Mosquitto, wait_until
from tests.support.paths import ROOT
from tests.support.small_scanner import write_index
from tests.support.ssh_server import Sshd, make_key, public_key
from tests.support.stand_ins import write_vectors_bundle
from tools import sign_bundle
from tools.benchmarks.vectors import random_vectors


class ScannerFleet:
    """Scanners behind sshd on the loopback that use the same bundle, each with settings and state folder of its own.

    ``F`` are the words by which push_index reaches them. ``commands`` are the forced commands of scanners that do not run the usual one.
    Scanners in ``former`` have a bundle of an earlier format. ``disks`` are contexts by host, made with the path of its index folder.
    """

    def __init__(self, folder, world, hosts, commands=None, former=(), disks=None):
        self.folder = folder
        self.hosts = hosts
        self.world = world
        self._commands = commands or {}
        self._disks = disks or {}
        self._mounted = ExitStack()
        self.key = make_key(folder / "technician")
        (folder / "allowed_signers").write_text(f"alice@lab {public_key(self.key)}\n")
        old = write_index(folder / "old", world.model, dict(list(world.images.items())[:4]))
        self.old_id = change_manifest(old, created=day(1)).bundle_id
        former_old = write_index(folder / "former-old", world.model, dict(list(world.images.items())[:4]), chunks=False)
        self.servers = {host: self._scanner(host, former_old if host in former else old) for host in self.hosts}
        self.write_ssh_config()
        self.F = ("-F", str(folder / "ssh_config"))

    def _scanner(self, host, old):
        folder = self.folder / host
        folder.mkdir()
        self.root(host).mkdir()
        if host in self._disks:
            self._mounted.enter_context(self._disks[host](self.root(host)))
        releases.activate(self.root(host), releases.install(self.root(host), old).bundle_id)
        settings = folder / "cardedge.toml"
        settings.write_text(
            f'[device]\nid = "{host}"\n[network]\nmodel = "{self.world.model}"\nthreads = 1\n[index]\ndirectory = "{self.root(host)}"\n'
            f'[push]\nallowed_signers = "{self.folder / "allowed_signers"}"\nkeep_free_mb = 0\n'
            f'[camera]\nkind = "film"\nsource = "{self.folder / "film.avi"}"\nloop = true\n[outbox]\nfile = "{folder / "outbox.sqlite"}"\n'
        )
        command = self._commands.get(host, "{python} -m edge index receive --config {settings} --technician alice")
        command = f"cd {ROOT} && {command.format(python=sys.executable, settings=settings, folder=folder)}"
        return Sshd(self.folder / f"sshd-{host}", host, self.key, command).start()

    def write_ssh_config(self):
        (self.folder / "ssh_config").write_text("".join(server.config.read_text() for server in self.servers.values()))

    def root(self, host):
        return self.folder / host / "index"

    def serving(self):
        return [releases.current_id(self.root(host)) for host in self.hosts]

    def new_bundle(self, name, *, signed=True, chunks=True, cards=7, **changes):
        """A signed bundle of this fleet's network, newer than the one that serves."""
        pictures = dict(list(self.world.images.items())[1 : 1 + cards])
        folder = write_index(self.folder / name, self.world.model, pictures, chunks=chunks)
        change_manifest(folder, **{"name": name, "created": day(2), **changes})
        if signed:
            assert sign_bundle.main([str(folder), "--key", str(self.key)]) == 0
        return folder

    def large_bundle(self, name, *, megabytes):
        """A signed bundle that takes a while to send; no daemon could use it."""
        folder = self.folder / name
        write_vectors_bundle(folder, random_vectors(200, 16), images=[os.urandom(megabytes * 5000) for _ in range(200)])
        change_manifest(folder, model_id=read_model_manifest(self.world.model).model_id, created=day(2))
        assert sign_bundle.main([str(folder), "--key", str(self.key)]) == 0
        return folder

    def stop(self):
        for server in self.servers.values():
            server.stop()
        self._mounted.close()


class Daemons:
    """The daemons of a fleet, each with a broker topic of its own. Their camera is a video of ``scenes`` (RGB) that starts over at its end.

    Each scene is shown for ``frames_each`` frames, ``fps`` of them a second. ``listener`` hears what they publish.
    """

    def __init__(self, fleet, scenes, *, frames_each=5, fps=5.0):
        self._fleet = fleet
        self._running = {}
        write_video(fleet.folder / "film.avi", [scene for scene in scenes for _ in range(frames_each)], fps)
        self.broker = Mosquitto(fleet.folder).start()
        self.listener = Listener(self.broker.port)
        for host in fleet.hosts:
            with (fleet.folder / host / "cardedge.toml").open("a") as settings:
                settings.write(f'[mqtt]\nhost = "127.0.0.1"\nport = {self.broker.port}\n')

    def start(self, host):
        command = [sys.executable, "-m", "edge", "run", "--config", str(self._fleet.folder / host / "cardedge.toml")]
        with (self._fleet.folder / host / "stderr").open("w") as errors:
            self._running[host] = subprocess.Popen(command, cwd=ROOT, stderr=errors)

    def stop(self, *hosts):
        """End the daemons of these hosts cleanly."""
        processes = [self._running.pop(host) for host in hosts]
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)

    def wait_until_used(self, host, bundle_id, timeout_s=90):
        """Wait until the daemon has published on its topic that it uses a bundle."""
        wait_until(lambda: self.used(host) == bundle_id, timeout_s=timeout_s)

    def used(self, host):
        """Return the bundle that the daemon of a host published last, None if it has published nothing yet."""
        published = self.listener.on(f"cardedge/{host}/state/index")
        return json.loads(published[-1])["index_id"] if published else None

    def close(self):
        self.stop(*self._running)
        self.listener.close()
        self.broker.stop()


def write_video(path, scenes, fps):
    """Write a video with a frame per scene, with the noise of a camera."""
    film = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (1280, 720))
    noise = np.random.default_rng(0)
    for scene in scenes:
        film.write(cv2.cvtColor(np.clip(scene + noise.normal(0, 3, scene.shape), 0, 255).astype(np.uint8), cv2.COLOR_RGB2BGR))
    film.release()


@contextmanager
def running_daemons(fleet, scenes, **video):
    """Run the daemons of a whole fleet; yield them once all have published what they use. See ``Daemons``."""
    daemons = Daemons(fleet, scenes, **video)
    try:
        for host in fleet.hosts:
            daemons.start(host)
        for host in fleet.hosts:
            daemons.wait_until_used(host, releases.current_id(fleet.root(host)))
        yield daemons
    finally:
        daemons.close()
