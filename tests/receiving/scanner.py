"""A scanner's index folder, bundles to push to it, and connections to its receiver without SSH."""

import contextlib
import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime

from edge.app.index import make_vector_index
from edge.bundles.bundle import open_bundle, run_self_test
from edge.bundles.manifest import MANIFEST_FILE, read_manifest
from edge.errors import EdgeError
from edge.index import releases
from edge.index.audit import Audit
from edge.receiving.acceptance import Acceptance
from edge.receiving.messages import REQUESTS, Chunk, Completed, Offer, Stored, TransferPlan
from edge.receiving.session import Receiver
from edge.receiving.transfer import Channel
from edge.settings.sections import PushSection
from tests.support.stand_ins import PROJECTION_MODEL_ID, write_vectors_bundle
from tools.benchmarks.vectors import random_vectors
from tools.push.connection import Connection
from tools.push.local_bundle import LocalBundle, read_bundle
from tools.push.sending import Transfer

UNSIGNED = PushSection(allow_unsigned=True, keep_free_mb=0)


def bundle(folder, *, seed=0, cards=20, created=None, chunks=False):
    """Write a bundle of ``cards`` random vectors; another ``seed`` gives another bundle."""
    write_vectors_bundle(folder, random_vectors(cards, 16, seed=seed), image=f"jpeg {seed}".encode(), chunks=chunks)
    if created is not None:
        change_manifest(folder, created=created)
    return folder


def change_manifest(folder, **changes):
    """Replace fields of the manifest and update its id."""
    manifest = read_manifest(folder).model_copy(update=changes).sealed()
    (folder / MANIFEST_FILE).write_text(manifest.to_json())
    return manifest


def day(number):
    return datetime(2026, 2, number, tzinfo=UTC)


def open_and_test(path, *, expected_model_id, verify_hashes):
    """Check a bundle as the command does, without its child process."""
    bundle = open_bundle(path, expected_model_id=expected_model_id, verify_hashes=verify_hashes)
    run_self_test(bundle, make_vector_index(bundle, "hnsw").search)


@dataclass
class Scanner:
    """A scanner. ``root`` is its index folder, ``rules`` are its acceptance rules."""

    root: object
    rules: PushSection = UNSIGNED
    model_id: str = PROJECTION_MODEL_ID
    downgrades: str = "proven"
    review_dir: object = None

    def serving(self, folder):
        """Install and activate a bundle without a trial."""
        self.root.mkdir(parents=True, exist_ok=True)
        bundle_id = releases.install(self.root, folder).bundle_id
        releases.activate(self.root, bundle_id)
        (self.root / "trial.json").unlink(missing_ok=True)
        return bundle_id

    def receiver(self, read_fd, write_fd, *, idle_s=20.0):
        channel = Channel(read_fd, write_fd, REQUESTS, idle_s=idle_s, session_s=60.0)
        acceptance = Acceptance(self.root, self.rules, self.model_id, open_and_test, self.downgrades, self.review_dir)
        audit = Audit(self.root, {"SSH_CONNECTION": "192.0.2.7 1 192.0.2.1 22"}, technician="lab", journal="/nonexistent")
        return Receiver(channel, self.root, "bench", acceptance, audit)

    @contextlib.contextmanager
    def talking(self, **options):
        """Yield a connection to a receiver in a thread; its list ``ended`` receives the final status or error."""
        their_in, our_out = os.pipe()
        our_in, their_out = os.pipe()
        ended = []

        def serve():
            try:
                ended.append(self.receiver(their_in, their_out, **options).serve())
            except EdgeError as error:
                ended.append(error)
            for descriptor in (their_out, their_in):
                os.close(descriptor)

        thread = threading.Thread(target=serve)
        thread.start()
        connection = Connection(our_in, our_out, idle_s=20.0, session_s=60.0)
        connection.ended = ended
        # closed once: the number of a closed descriptor may belong to a file of the receiver's thread by then
        open_ends = [our_out]
        connection.hang_up = lambda: os.close(open_ends.pop())
        try:
            yield connection
        finally:
            if open_ends:
                connection.hang_up()
            thread.join(30)
            os.close(our_in)


def offer(connection, local: LocalBundle, **options) -> TransferPlan:
    connection.send(
        Offer(manifest_bytes=len(local.manifest_bytes), signature_bytes=len(local.signature), **options),
        local.manifest_bytes + local.signature,
    )
    return connection.expect(TransferPlan)


def send_wanted(connection, folder, plan):
    for name, wanted in plan.wanted.items():
        connection.send(Chunk(name=name, offset=wanted.offset), (folder / name).read_bytes()[wanted.offset :])
        connection.expect(Stored)


def push(connection, folder, **options) -> Completed:
    """Push a complete bundle, as the tool does."""
    local = read_bundle(folder, check=False)
    transfer = Transfer(connection, local)
    sizes = {"manifest_bytes": len(local.manifest_bytes), "signature_bytes": len(local.signature)}
    transfer.send(transfer.offer(Offer(**sizes, **options)))
    return transfer.commit([])
