"""A bundle with chunks: only what the device lacks is sent, and whatever happens, a bundle is whole or not there."""

import os
import shutil
import zlib

import numpy as np
import pytest

from edge.bundles.bundle import open_bundle
from edge.bundles.chunks import groups, read_chunk_list
from edge.bundles.manifest import CHUNK_RECORD_BYTES, read_manifest
from edge.errors import BundleError, ConnectionLostError, ExitCode
from edge.index import releases
from edge.index.audit import last_line
from edge.receiving.messages import Blocks, BlocksStored, Chunk, Commit, Completed, GroupsRequest, Offer, Outline, OutlineRequest, Stored
from tests.receiving.scanner import Scanner, change_manifest, day, push
from tests.support.stand_ins import write_vectors_bundle
from tools.benchmarks.vectors import random_vectors
from tools.push.connection import HostRefusedError
from tools.push.local_bundle import read_bundle
from tools.push.sending import Transfer, chunk_packets

CARDS = 300
PICTURES = np.random.default_rng(4).bytes(1 << 20)


def catalog(folder, cards, *, chunks=True, created, corrected=()):
    """Write a bundle of the first ``cards`` of a catalog in which some have another vector and another picture."""
    vectors = random_vectors(CARDS, 64, seed=3)
    vectors[list(corrected)] = random_vectors(CARDS, 64, seed=9)[: len(corrected)]
    pictures = [PICTURES[3000 * row : 3000 * row + 2000 + 7 * row + 500 * (row in corrected)] for row in range(cards)]
    write_vectors_bundle(folder, vectors[:cards], images=pictures, chunks=chunks)
    change_manifest(folder, created=created)
    return folder


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    return {
        "old": catalog(folder / "old", 280, created=day(1)),
        "former": catalog(folder / "former", 280, created=day(1), chunks=False),
        "new": catalog(folder / "new", 285, created=day(2)),
        "corrected": catalog(folder / "corrected", 280, created=day(2), corrected=(17, 150)),
    }


@pytest.fixture
def scanner(tmp_path, bundles):
    made = Scanner(tmp_path / "index")
    made.old_id = made.serving(bundles["old"])
    return made


def size_of(folder):
    return sum(file.size_bytes for file in read_manifest(folder).files.values())


def offered(device, folder, **options):
    """Offer a bundle; return the transfer and the device's plan."""
    local = read_bundle(folder)
    transfer = Transfer(device, local)
    return transfer, transfer.offer(Offer(manifest_bytes=len(local.manifest_bytes), signature_bytes=0, **options))


def installed_as(scanner, folder):
    """Return whether the active release has the files of a bundle."""
    current = scanner.root / "current"
    return all((current / name).read_bytes() == (folder / name).read_bytes() for name in read_manifest(folder).files)


@pytest.mark.parametrize(("name", "share"), [("new", 0.09), ("corrected", 0.09)])
def test_only_what_has_changed_is_sent(scanner, bundles, name, share):
    with scanner.talking() as device:
        assert push(device, bundles[name], confirm_within_s=60).result == "activated"
        assert device.bytes_sent < share * size_of(bundles[name])
    assert installed_as(scanner, bundles[name])
    assert not list((scanner.root / "incoming").glob("[!.]*"))


def test_a_device_without_a_bundle_receives_everything(tmp_path, bundles):
    empty = Scanner(tmp_path / "index")
    empty.root.mkdir()
    with empty.talking() as device:
        assert push(device, bundles["new"]).result == "activated"
    assert installed_as(empty, bundles["new"])


def test_from_a_release_without_chunks_whole_files_are_taken(tmp_path, bundles):
    former = Scanner(tmp_path / "index")
    former.serving(bundles["former"])
    with former.talking() as device:
        _, plan = offered(device, bundles["old"], dry_run=True, allow_downgrade=True)
        names = sorted(read_manifest(bundles["old"]).chunks)
        counts = read_manifest(bundles["old"]).chunks
        first = sum(counts[name] for name in names if name < "vectors.npy")
        assert len(plan.chunks) == first, "vectors.npy is that of the release"
        device.hang_up()
    with former.talking() as device:
        assert push(device, bundles["old"], allow_downgrade=True).result == "activated"
    assert installed_as(former, bundles["old"])


def test_a_bundle_of_an_older_format_is_received_as_before(scanner, bundles):
    with scanner.talking() as device:
        assert push(device, bundles["former"], allow_downgrade=True).result == "activated"
    assert installed_as(scanner, bundles["former"])


def test_a_plan_changes_nothing_and_names_the_bytes(scanner, bundles):
    before = sorted(scanner.root.rglob("*"))
    with scanner.talking() as device:
        _, plan = offered(device, bundles["new"], dry_run=True)
        chunks = read_chunk_list(bundles["new"], read_manifest(bundles["new"]))
        assert plan.message.bytes_wanted == chunks.size[plan.chunks].sum() > 0
    assert sorted(scanner.root.rglob("*")) == before


def test_pushing_the_active_bundle_again_sends_no_chunk(scanner, bundles):
    with scanner.talking() as device:
        transfer, plan = offered(device, bundles["old"])
        assert (plan.message.installed, len(plan.chunks)) == (True, 0)
        assert transfer.commit([]).result == "unchanged"


def decay(path, *places):
    content = bytearray(path.read_bytes())
    for place in places:
        content[place] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def test_a_chunk_that_has_decayed_in_the_release_is_sent_again(scanner, bundles):
    release = scanner.root / "releases" / scanner.old_id
    decay(release / "pictures.bin", 5000, 400_000)
    decay(release / "signatures.npy", 9999)
    with scanner.talking() as device:
        steps = []
        transfer, plan = offered(device, bundles["new"], confirm_within_s=60)
        transfer.send(plan)
        assert transfer.commit(steps).result == "activated"
    assert steps == ["sync", "verify", "sync", "verify", "install", "activate"]
    assert installed_as(scanner, bundles["new"])


@pytest.mark.parametrize("damage", ["list", "short", "unreadable"])
def test_a_release_that_lost_a_file_is_no_obstacle(scanner, bundles, damage):
    release = scanner.root / "releases" / scanner.old_id
    match damage:
        case "list":
            decay(release / "chunks.bin", *range(0, 4000, 16))
        case "short":
            os.truncate(release / "pictures.bin", 100_000)
        case "unreadable":
            (release / "signatures.npy").unlink()
            (release / "signatures.npy").symlink_to("/etc/passwd")
    with scanner.talking() as device:
        assert push(device, bundles["new"]).result == "activated"
    assert installed_as(scanner, bundles["new"])


def test_an_interrupted_transfer_resumes_with_what_was_stored(scanner, bundles):
    shutil.rmtree(scanner.root / "releases" / scanner.old_id)
    with scanner.talking() as device:
        transfer, plan = offered(device, bundles["new"])
        packet = next(chunk_packets(read_bundle(bundles["new"]), plan.chunks))
        device.send(packet.message, packet.payload)
        device.expect(BlocksStored)
        device.hang_up()
    assert isinstance(device.ended[0], ConnectionLostError)
    assert last_line(scanner.root).result == "cut"
    with scanner.talking() as device:
        transfer, again = offered(device, bundles["new"])
        assert set(again.chunks) == set(plan.chunks[packet.message.count :])
        transfer.send(again)
        assert transfer.commit([]).result == "activated"
    assert installed_as(scanner, bundles["new"])


def test_what_an_interrupted_push_has_left_is_not_trusted(scanner, bundles):
    with scanner.talking() as device:
        offered(device, bundles["new"])
        device.hang_up()
    staged = scanner.root / "incoming" / read_manifest(bundles["new"]).bundle_id
    decay(staged / "signatures.npy", 700)
    (staged / "pictures.bin").write_bytes(b"x" * 3_000_000)
    with scanner.talking() as device:
        assert push(device, bundles["new"]).result == "activated"
    assert installed_as(scanner, bundles["new"])


def refused(scanner, talk):
    """Expect ``talk`` to be refused; the active release is unchanged. Returns the status and the reason."""
    with scanner.talking() as device, pytest.raises(HostRefusedError) as caught:
        talk(device)
    assert releases.current_id(scanner.root) == scanner.old_id
    open_bundle(scanner.root / "current")
    return caught.value.status, str(caught.value)


@pytest.mark.parametrize(
    ("message", "payload", "reason"),
    [
        (Blocks(count=1), b"x" * 10, "a packet has 10 bytes of 1 chunks"),
        (Blocks(count=10**9), b"x", "more than are wanted"),
        (Blocks(count=1, encoding="zlib"), b"no zlib", "cannot be decompressed"),
        (Blocks(count=1, encoding="zlib"), zlib.compress(bytes(50 << 20)), "expected; push again"),
        (Blocks(count=1, encoding="zlib-planes"), zlib.compress(bytes(9)), "expected; push again"),
    ],
)
def test_packets_that_are_not_the_next_chunks_are_refused(scanner, bundles, message, payload, reason):
    def talk(device):
        offered(device, bundles["new"])
        device.send(message, payload)
        device.expect(BlocksStored)

    status, said = refused(scanner, talk)
    assert status is ExitCode.BAD_DATA
    assert reason in said


def test_a_chunk_with_other_content_is_refused_at_once(scanner, bundles):
    def talk(device):
        _, plan = offered(device, bundles["new"])
        chunks = read_chunk_list(bundles["new"], read_manifest(bundles["new"]))
        device.send(Blocks(count=1), bytes(chunks.size[plan.chunks[0]]))
        device.expect(BlocksStored)

    assert "its content differs from chunks.bin" in refused(scanner, talk)[1]


def test_an_incomplete_bundle_is_not_committed(scanner, bundles):
    def talk(device):
        offered(device, bundles["new"])
        device.send(Commit())
        device.expect(Completed, [])

    assert "chunks were not received" in refused(scanner, talk)[1]


@pytest.mark.parametrize(
    ("outline", "reason"),
    [(b"x" * 15, "not a list of records"), (b"x" * CHUNK_RECORD_BYTES, "its groups have"), (b"", "its groups have 0 bytes")],
)
def test_an_outline_of_another_list_is_refused(scanner, bundles, outline, reason):
    def talk(device):
        local = read_bundle(bundles["new"])
        device.send(Offer(manifest_bytes=len(local.manifest_bytes), signature_bytes=0), local.manifest_bytes)
        device.expect(OutlineRequest)
        device.send(Outline(), outline)
        device.expect(GroupsRequest)

    assert reason in refused(scanner, talk)[1]


def test_a_file_that_does_not_have_its_hash_is_refused_and_nothing_is_left(scanner, bundles, tmp_path):
    """Chunks and list fit each other, but not the SHA-256 of the whole file."""
    wrong = shutil.copytree(bundles["new"], tmp_path / "wrong")
    files = dict(read_manifest(wrong).files)
    files["pictures.bin"] = files["pictures.bin"].model_copy(update={"sha256": "0" * 64})
    change_manifest(wrong, files=files)

    def talk(device):
        local = read_bundle(wrong, check=False)
        transfer = Transfer(device, local)
        transfer.send(transfer.offer(Offer(manifest_bytes=len(local.manifest_bytes), signature_bytes=0)))
        transfer.commit([])

    assert "pictures.bin: its content differs from the manifest" in refused(scanner, talk)[1]
    assert not list((scanner.root / "incoming").glob("[!.]*"))


def test_a_full_disk_is_refused_before_anything_is_copied(scanner, bundles, monkeypatch):
    monkeypatch.setattr("edge.receiving.session.free_bytes", lambda root: size_of(bundles["new"]) // 2)
    status, reason = refused(scanner, lambda device: offered(device, bundles["new"]))
    assert status is ExitCode.UNAVAILABLE
    assert "prune --keep 2" in reason
    assert not list((scanner.root / "incoming").glob("[!.]*"))


def test_a_disk_that_fills_up_while_files_are_assembled_is_named(scanner, bundles, monkeypatch):
    real = os.pwrite

    def full(descriptor, content, offset):
        if offset + len(content) > 200_000:
            raise OSError(28, "No space left on device")
        return real(descriptor, content, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        status, reason = refused(scanner, lambda device: offered(device, bundles["new"]))
    assert status is ExitCode.UNAVAILABLE
    assert "No space left on device" in reason
    with scanner.talking() as device:
        assert push(device, bundles["new"]).result == "activated", "the next push resumes"


def test_a_list_whose_groups_are_all_known_is_not_sent(scanner, bundles, tmp_path):
    renamed = shutil.copytree(bundles["old"], tmp_path / "renamed")
    change_manifest(renamed, name="the same cards under another name", created=day(3))
    with scanner.talking() as device:
        transfer, plan = offered(device, renamed)
        assert len(plan.chunks) == 0
        listed = (renamed / "chunks.bin").read_bytes()
        assert device.bytes_sent < 20_000 + CHUNK_RECORD_BYTES * len(groups(listed))
        assert transfer.commit([]).result == "activated"


def test_files_that_are_too_few_for_the_chunks_are_refused_at_the_source(bundles, tmp_path):
    broken = shutil.copytree(bundles["new"], tmp_path / "broken")
    (broken / "chunks.bin").write_bytes((broken / "chunks.bin").read_bytes()[:-16])
    with pytest.raises(BundleError, match=r"chunks\.bin"):
        read_chunk_list(broken, read_manifest(broken))


def test_chunks_of_files_are_not_accepted_in_place_of_blocks(scanner, bundles):
    def talk(device):
        offered(device, bundles["new"])
        device.send(Chunk(name="pictures.bin", offset=0), b"x")
        device.expect(Stored)

    assert "received in blocks" in refused(scanner, talk)[1]
