"""A push to a device: what is accepted, refused, kept and recorded."""

import json
import os
import threading
from datetime import timedelta

import pytest

from edge.bundles.bundle import file_sha256
from edge.bundles.manifest import MeasuredRecall, SelfTestQuery, read_manifest
from edge.errors import ConnectionLostError, ExitCode
from edge.index import releases
from edge.index.audit import last_line
from edge.receiving.messages import (
    Chunk,
    Commit,
    Completed,
    ConfirmRequest,
    ListRequest,
    PruneRequest,
    Releases,
    RollbackRequest,
    Status,
    StatusRequest,
    Stored,
)
from tests.receiving.scanner import UNSIGNED, Scanner, bundle, change_manifest, day, offer, push, send_wanted
from tools.push.connection import HostRefusedError
from tools.push.local_bundle import read_bundle


@pytest.fixture
def old(tmp_path):
    return bundle(tmp_path / "old", created=day(1))


@pytest.fixture
def new(tmp_path):
    return bundle(tmp_path / "new", seed=1, created=day(2))


@pytest.fixture
def scanner(tmp_path, old):
    made = Scanner(tmp_path / "index")
    made.old_id = made.serving(old)
    return made


def refused(scanner, talk):
    """Expect ``talk`` to be refused and to change nothing; return status and reason."""
    before = tree(scanner.root / "releases")
    with scanner.talking() as device, pytest.raises(HostRefusedError) as caught:
        talk(device)
    assert device.ended == [caught.value.status]
    assert tree(scanner.root / "releases") == before
    assert releases.current_id(scanner.root) == scanner.old_id
    assert (last_line(scanner.root).result, last_line(scanner.root).reason) == ("refused", str(caught.value))
    return caught.value.status, str(caught.value)


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_pushed_bundle_is_on_trial_until_it_is_confirmed(scanner, new):
    with scanner.talking() as device:
        done = push(device, new, confirm_within_s=60)
        assert (done.result, done.bundle_id) == ("activated", read_manifest(new).bundle_id)
        device.send(StatusRequest())
        status = device.expect(Status)
        assert (status.current.bundle_id, status.previous.bundle_id) == (done.bundle_id, scanner.old_id)
        assert (status.trial.before, status.trial.deadline) == (scanner.old_id, done.confirm_before)
    with scanner.talking() as device:
        device.send(ConfirmRequest(bundle_id=done.bundle_id))
        assert device.expect(Completed).result == "confirmed"
    assert releases.awaiting_confirmation(scanner.root) is None
    assert releases.current_id(scanner.root) == done.bundle_id
    assert not list((scanner.root / "incoming").glob("[!.]*"))


def test_the_next_connection_reverts_a_release_that_was_not_confirmed_in_time(scanner, new, monkeypatch):
    with scanner.talking() as device:
        done = push(device, new, confirm_within_s=60)
    monkeypatch.setattr("edge.receiving.status.utc_now", lambda: done.confirm_before + timedelta(seconds=1))
    with scanner.talking() as device:
        device.send(StatusRequest())
        status = device.expect(Status)
    assert status.current.bundle_id == scanner.old_id
    assert "not confirmed in time" in status.reverted
    with scanner.talking() as device:
        device.send(ConfirmRequest(bundle_id=done.bundle_id))
        with pytest.raises(HostRefusedError, match="reverted"):
            device.expect(Completed)


def test_the_first_bundle_of_a_device_needs_no_confirmation(tmp_path, new):
    empty = Scanner(tmp_path / "empty")
    empty.root.mkdir()
    with empty.talking() as device:
        done = push(device, new, confirm_within_s=60)
    assert (done.result, done.confirm_before) == ("activated", None)


def test_pushing_the_active_bundle_sends_and_changes_nothing(scanner, old):
    with scanner.talking() as device:
        plan = offer(device, read_bundle(old), confirm_within_s=60)
        assert (plan.wanted, plan.installed) == ({}, True)
        device.send(Commit())
        assert device.expect(Completed, []).result == "unchanged"


def test_a_plan_changes_nothing(scanner, new):
    before = tree(scanner.root)
    with scanner.talking() as device:
        plan = offer(device, read_bundle(new), dry_run=True)
    assert plan.bytes_wanted == sum(facts.size_bytes for facts in read_manifest(new).files.values())
    assert plan.current.bundle_id == scanner.old_id
    assert tree(scanner.root) == before


def test_only_files_the_device_lacks_are_sent(scanner, old, tmp_path):
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    for path in old.iterdir():
        (renamed / path.name).write_bytes(path.read_bytes())
    change_manifest(renamed, name="the same cards under another name", created=day(3))
    with scanner.talking() as device:
        plan = offer(device, read_bundle(renamed))
        assert plan.wanted == {}
        device.send(Commit())
        assert device.expect(Completed, []).result == "activated"
    assert releases.current_id(scanner.root) == read_manifest(renamed).bundle_id


def test_a_damaged_file_of_a_release_is_not_copied(scanner, old, tmp_path):
    rotten = scanner.root / "releases" / scanner.old_id / "cards.sqlite"
    content = bytearray(rotten.read_bytes())
    content[len(content) // 2] ^= 1
    rotten.write_bytes(content)
    with scanner.talking() as device:
        assert push(device, old).bundle_id == scanner.old_id
    assert rotten.read_bytes() == (old / "cards.sqlite").read_bytes(), "the damaged release was replaced"
    releases.open_index(scanner.root)


def test_an_interrupted_push_resumes(scanner, new):
    with scanner.talking() as device:
        offer(device, read_bundle(new))
        half = (new / "vectors.npy").read_bytes()[:300]
        device.send(Chunk(name="vectors.npy", offset=0), half)
        device.expect(Stored)
        device.hang_up()
    (ended,) = device.ended
    assert isinstance(ended, ConnectionLostError)
    assert last_line(scanner.root).result == "cut"
    with scanner.talking() as device:
        plan = offer(device, read_bundle(new))
        assert plan.wanted["vectors.npy"].offset == 300
        send_wanted(device, new, plan)
        device.send(Commit())
        assert device.expect(Completed, []).result == "activated"


def test_a_corrupted_partial_file_is_sent_again(scanner, new):
    with scanner.talking() as device:
        offer(device, read_bundle(new))
        device.send(Chunk(name="vectors.npy", offset=0), bytes(300))
        device.expect(Stored)
        device.hang_up()
    with scanner.talking() as device:
        plan = offer(device, read_bundle(new))
        device.send(Chunk(name="vectors.npy", offset=0), (new / "vectors.npy").read_bytes())
        device.expect(Stored)
        del plan.wanted["vectors.npy"]
        send_wanted(device, new, plan)
        device.send(Commit())
        assert device.expect(Completed, []).result == "activated"


def test_a_second_push_at_the_same_time_is_refused(scanner, new, old):
    with scanner.talking() as first:
        offer(first, read_bundle(new))
        with scanner.talking() as second, pytest.raises(HostRefusedError, match="another push") as caught:
            offer(second, read_bundle(new))
        assert caught.value.status is ExitCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_id": "another"}, "embedded by model another"),
        ({"preprocessing": "another"}, "prepared by another"),
        ({"recall": MeasuredRecall(queries=20, k=10, at_1=0.9, at_k=0.9)}, "recall@1 against exact search is 0.9000"),
        ({"recall": None}, "not measured"),
        ({"entries": 21}, "expected float16 (21, 16)"),
        ({"self_test": (SelfTestQuery(entry=0, nearest="card-1"),)}, "self-test of entry 0 found card-0"),
    ],
)
def test_a_bad_bundle_is_refused_with_its_reason(scanner, new, changes, said):
    change_manifest(new, **changes)
    status, reason = refused(scanner, lambda device: push(device, new))
    assert status is ExitCode.BAD_DATA
    assert said in reason


@pytest.mark.parametrize("name", ["vectors.npy", "hnsw.bin", "cards.sqlite"])
def test_a_file_that_differs_from_the_manifest_is_named(scanner, new, name):
    content = bytearray((new / name).read_bytes())
    content[-1] ^= 1
    (new / name).write_bytes(content)
    status, reason = refused(scanner, lambda device: push(device, new))
    assert status is ExitCode.BAD_DATA
    assert reason.startswith(f"{name}: its content differs")


def test_every_file_is_read_once_after_it_was_received(scanner, new, monkeypatch):
    read, read_again = [], []
    real = file_sha256
    monkeypatch.setattr("edge.bundles.bundle.file_sha256", lambda path: read.append(path.name) or real(path))
    with scanner.talking() as device:
        assert push(device, new).result == "activated"
    assert sorted(read) == ["cards.sqlite", "hnsw.bin", "vectors.npy"]
    monkeypatch.setattr("edge.bundles.bundle.file_sha256", lambda path: read_again.append(path.name) or real(path))
    releases.rollback(scanner.root)
    assert len(read_again) == 3, "a rollback reads everything"


@pytest.mark.parametrize("name", ["vectors.npy", "hnsw.bin", "cards.sqlite", "manifest.json"])
def test_a_file_that_is_altered_before_the_bundle_is_activated_is_refused(scanner, new, monkeypatch, name):
    adopt = releases.adopt

    def alter_and_adopt(root, folder, bundle_id, stamp):
        content = bytearray((folder / name).read_bytes())
        content[-10] ^= 1
        modified_ns = (folder / name).stat().st_mtime_ns
        (folder / name).write_bytes(content)
        os.utime(folder / name, ns=(modified_ns, modified_ns))
        adopt(root, folder, bundle_id, stamp)

    monkeypatch.setattr(releases, "adopt", alter_and_adopt)
    with scanner.talking() as device, pytest.raises(HostRefusedError, match=name):
        push(device, new)
    assert releases.current_id(scanner.root) == scanner.old_id


def test_limits_are_checked_before_anything_is_sent(scanner, new):
    scanner.rules = UNSIGNED.model_copy(update={"max_bundle_mb": 0})
    assert "accepts at most 0 MB" in refused(scanner, lambda device: offer(device, read_bundle(new)))[1]
    scanner.rules = UNSIGNED.model_copy(update={"keep_free_mb": 10**9})
    status, reason = refused(scanner, lambda device: offer(device, read_bundle(new)))
    assert status is ExitCode.UNAVAILABLE
    assert "to be kept free" in reason


@pytest.mark.parametrize(
    ("name", "offset", "size"),
    [("vectors.npy", 1, 10), ("vectors.npy", 0, 10**6), ("vectors.npy", 0, 0), ("coarse.npy", 0, 10), ("vectors.npy", 10**12, 1)],
)
def test_chunks_that_do_not_continue_a_file_are_refused(scanner, new, name, offset, size):
    def talk(device):
        offer(device, read_bundle(new))
        device.send(Chunk(name=name, offset=offset), bytes(size))
        device.expect(Stored)

    status, reason = refused(scanner, talk)
    assert (status, reason.partition(":")[0]) == (ExitCode.BAD_DATA, name)


def test_an_incomplete_bundle_is_not_committed(scanner, new):
    def talk(device):
        offer(device, read_bundle(new))
        device.send(Commit())
        device.expect(Completed, [])

    assert "0 of" in refused(scanner, talk)[1]


def test_links_are_not_followed(scanner, new, tmp_path):
    """Only the service itself can write to the incoming folder; links in it are not followed anyway."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (scanner.root / "incoming").mkdir()
    (scanner.root / "incoming" / read_manifest(new).bundle_id).symlink_to(outside)
    with scanner.talking() as device, pytest.raises(HostRefusedError):
        push(device, new)
    assert list(outside.iterdir()) == []


def test_links_and_pipes_among_the_files_are_removed(scanner, new, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = scanner.root / "incoming" / read_manifest(new).bundle_id
    folder.mkdir(parents=True)
    (folder / "vectors.npy").symlink_to(victim)
    (folder / "hnsw.bin").mkdir()
    (folder / "surprise").write_text("")
    os.mkfifo(folder / "cards.sqlite")
    with scanner.talking() as device:
        done = push(device, new)
    assert victim.read_text() == "mine"
    assert sorted(path.name for path in (scanner.root / "releases" / done.bundle_id).iterdir()) == [
        "cards.sqlite", "hnsw.bin", "manifest.json", "vectors.npy",
    ]  # fmt: skip


def test_a_silent_client_is_disconnected(scanner):
    with scanner.talking(idle_s=0.05) as device, pytest.raises(ConnectionLostError):
        device.expect(Stored)
    assert "silent" in str(device.ended[0])


def test_a_commit_without_an_offer_is_refused(scanner):
    with scanner.talking() as device:
        device.send(Commit())
        with pytest.raises(HostRefusedError, match="after an accepted offer"):
            device.expect(Stored)


def test_list_rollback_and_prune(scanner, new, tmp_path):
    ids = [scanner.serving(bundle(tmp_path / f"b{seed}", seed=seed, created=day(seed))) for seed in (3, 4, 5)]
    (scanner.root / "incoming" / "0123456789abcdef").mkdir(parents=True)
    with scanner.talking() as device:
        device.send(RollbackRequest())
        assert device.expect(Completed).bundle_id == ids[1]
        device.send(PruneRequest(keep=1))
        done = device.expect(Completed)
        device.send(ListRequest())
        listed = device.expect(Releases).releases
    assert set(done.removed) == {scanner.old_id, ids[0]}
    assert [(release.bundle_id, release.current, release.previous) for release in listed] == [
        (ids[2], False, True),
        (ids[1], True, False),
    ]
    assert not (scanner.root / "incoming" / "0123456789abcdef").exists()
    assert sorted(path.name for path in (scanner.root / "releases").iterdir()) == sorted(
        [ids[1], f"{ids[1]}.verified", ids[2], f"{ids[2]}.verified"]
    )


def test_every_attempt_is_recorded_in_the_audit(scanner, new):
    with scanner.talking() as device:
        done = push(device, new, confirm_within_s=60)
    lines = [json.loads(text) for text in (scanner.root / "audit.jsonl").read_text().splitlines()]
    assert done.audit == lines[-1]
    assert {key: lines[-1][key] for key in ("action", "bundle_id", "result", "technician", "peer")} == {
        "action": "push", "bundle_id": done.bundle_id, "result": "activated", "technician": "lab", "peer": "192.0.2.7",
    }  # fmt: skip


def test_two_clients_may_read_the_status_at_once(scanner):
    def look(answers):
        with scanner.talking() as device:
            device.send(StatusRequest())
            answers.append(device.expect(Status).current.bundle_id)

    answers = []
    threads = [threading.Thread(target=look, args=(answers,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [scanner.old_id] * 3
