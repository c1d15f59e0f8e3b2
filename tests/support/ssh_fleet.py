"""A fleet of scanners behind real sshd."""

import os
import subprocess
import sys
from contextlib import contextmanager

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
    Scanners in ``former`` have a bundle of an earlier format.
    """

    def __init__(self, folder, world, hosts, commands=None, former=()):
        self.folder = folder
        self.hosts = hosts
        self.world = world
        self._commands = commands or {}
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

    def new_bundle(self, name, *, signed=True, chunks=True, **changes):
        """A signed bundle of this fleet's network, newer than the one that serves."""
        pictures = dict(list(self.world.images.items())[1:])
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


@contextmanager
def running_daemons(fleet, scenes, *, frames_each=5):
    """Run the daemons of a fleet, each publishing to the same broker; yield what the broker hears.

    Their camera is a video of ``scenes`` (RGB), each for some frames at 5 per second, again and again.
    """
    film = cv2.VideoWriter(str(fleet.folder / "film.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 5, (1280, 720))
    noise = np.random.default_rng(0)
    for scene in (scene for scene in scenes for _ in range(frames_each)):
        film.write(cv2.cvtColor(np.clip(scene + noise.normal(0, 3, scene.shape), 0, 255).astype(np.uint8), cv2.COLOR_RGB2BGR))
    film.release()
    broker = Mosquitto(fleet.folder).start()
    listener = Listener(broker.port)
    running = []
    try:
        for host in fleet.hosts:
            settings = fleet.folder / host / "cardedge.toml"
            settings.write_text(settings.read_text() + f'[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\n')
            with (fleet.folder / host / "stderr").open("w") as errors:
                command = [sys.executable, "-m", "edge", "run", "--config", str(settings)]
                running.append(subprocess.Popen(command, cwd=ROOT, stderr=errors))
        wait_until(lambda: all(listener.on(f"cardedge/{host}/state/index") for host in fleet.hosts), timeout_s=90)
        yield listener
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(30)
        listener.close()
        broker.stop()
