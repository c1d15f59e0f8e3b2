"""A disk that really fills up during a push: a small file system in memory is the disk of the scanner."""

import pytest

from edge.bundles.bundle import open_bundle
from edge.errors import ExitCode
from edge.index import releases
from edge.receiving.messages import Offer
from tests.receiving.scanner import Scanner, day, push
from tests.receiving.test_chunks import catalog, installed_as
from tests.support.small_disk import BLOCK, almost_full, small_disk
from tools.push.connection import HostRefusedError
from tools.push.local_bundle import read_bundle
from tools.push.sending import Transfer


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    return catalog(tmp_path_factory.mktemp("bundles") / "new", 285, created=day(2))


@pytest.fixture
def scanner(tmp_path):
    with small_disk(tmp_path, 8) as disk:
        made = Scanner(disk / "index")
        made.old_id = made.serving(catalog(tmp_path / "old", 200, created=day(1)))
        yield made


def with_free(scanner, free_bytes):
    return almost_full(scanner.root.parent, free_bytes)


def assert_unchanged(scanner):
    assert releases.current_id(scanner.root) == scanner.old_id
    open_bundle(scanner.root / "current")


def test_a_disk_that_others_fill_up_while_chunks_arrive_is_named_and_the_push_resumes(scanner, new):
    local = read_bundle(new)
    with scanner.talking() as device:
        transfer = Transfer(device, local)
        plan = transfer.offer(Offer(manifest_bytes=len(local.manifest_bytes), signature_bytes=0))
        with (
            with_free(scanner, 2 * BLOCK),
            pytest.raises(HostRefusedError, match=r"No space left on device\); free space") as caught,
        ):
            transfer.send(plan)
    assert caught.value.status is ExitCode.UNAVAILABLE
    assert_unchanged(scanner)
    with scanner.talking() as device:
        assert push(device, new).result == "activated"
        assert device.bytes_sent < plan.message.bytes_wanted + 40_000
    assert installed_as(scanner, new)


def test_with_any_free_space_a_bundle_is_activated_or_refused_and_nothing_is_half(scanner, new):
    sizes = [file.stat().st_size for file in new.iterdir()]
    enough, answers = sum(-(-size // BLOCK) * BLOCK for size in sizes), set()
    for blocks in (-40, -16, -12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 4, 8, 16):
        with with_free(scanner, enough + blocks * BLOCK), scanner.talking() as device:
            try:
                answers.add(push(device, new).result)
                break
            except HostRefusedError as error:
                answers.add((error.status, "to be kept free" in str(error)))
        assert_unchanged(scanner)
    assert answers == {(ExitCode.UNAVAILABLE, True), (ExitCode.UNAVAILABLE, False), "activated"}, "known before, filled up, enough"
    assert installed_as(scanner, new)
