"""An update waits while cards are counted, says so, and does not wait for ever."""

import json
import os
import time

import pytest

from edge.errors import ExitCode
from edge.index import releases
from edge.index.counter_session import read_waiting
from edge.receiving.messages import DeviceReport, ReportRequest
from tests.lists.cards import Table
from tests.receiving.scanner import UNSIGNED, Scanner, bundle, day, push
from tools.push.connection import HostRefusedError


@pytest.fixture
def scanner(tmp_path):
    scanner = Scanner(tmp_path / "index", rules=UNSIGNED, review_dir=tmp_path / "review")
    scanner.serving(bundle(tmp_path / "old", seed=1, created=day(1)))
    (tmp_path / "review" / "lists").mkdir(parents=True)
    scanner.table = Table(tmp_path / "review" / "lists")
    scanner.table.deal("a")
    scanner.table.store.save()
    return scanner


@pytest.fixture
def new(tmp_path):
    return bundle(tmp_path / "new", seed=2, created=day(2))


def counted(scanner, seconds_ago):
    (journal,) = scanner.table.folder.glob("*.journal")
    os.utime(journal, (time.time() - seconds_ago,) * 2)


def report(scanner):
    with scanner.talking() as device:
        device.send(ReportRequest())
        return device.expect(DeviceReport)


def test_a_bundle_waits_for_the_counter_and_is_activated_after_it(scanner, new):
    before = releases.current_id(scanner.root)
    with scanner.talking() as device, pytest.raises(HostRefusedError, match="cards are being counted") as caught:
        push(device, new)
    assert caught.value.status is ExitCode.UNAVAILABLE, "the status of a device that is not ready does not stop a rollout"
    said = report(scanner)
    assert (said.counter_session, said.waiting.bundle_id, said.status.current.bundle_id) == (True, new_id(scanner, before), before)
    line = json.loads((scanner.root / "audit.jsonl").read_text().splitlines()[-1])
    assert (line["action"], line["result"]) == ("push", "waiting")
    counted(scanner, seconds_ago=301)
    with scanner.talking() as device:
        assert push(device, new).result == "activated"  # nothing is sent again: it is complete
    assert (report(scanner).waiting, report(scanner).counter_session) == (None, False)


def new_id(scanner, old_id):
    return next(release.bundle_id for release in releases.list_releases(scanner.root) if release.bundle_id != old_id)


def test_it_waits_no_longer_than_permitted(scanner, new):
    scanner.rules = UNSIGNED.model_copy(update={"counter_wait_s": 1.0})
    with scanner.talking() as device, pytest.raises(HostRefusedError, match="cards are being counted"):
        push(device, new)
    until = read_waiting(scanner.root).until.timestamp()
    while time.time() < until:
        time.sleep(0.1)
    counted(scanner, seconds_ago=0)
    with scanner.talking() as device:
        assert push(device, new).result == "activated"
    assert read_waiting(scanner.root) is None


@pytest.mark.parametrize("changes", [{"counter_wait_s": 0.0}, {"counter_quiet_s": 0.0}])
def test_a_scanner_can_be_told_not_to_wait(scanner, new, changes):
    scanner.rules = UNSIGNED.model_copy(update=changes)
    with scanner.talking() as device:
        assert push(device, new).result == "activated"


def test_the_active_bundle_is_confirmed_again_while_cards_are_counted(scanner, tmp_path):
    with scanner.talking() as device:
        assert push(device, tmp_path / "old").result == "unchanged"


def test_the_empty_list_of_a_daemon_that_has_just_started_is_no_session(scanner, new, tmp_path):
    (tmp_path / "empty" / "lists").mkdir(parents=True)
    Table(tmp_path / "empty" / "lists").store.save()
    scanner.review_dir = tmp_path / "empty"
    with scanner.talking() as device:
        assert push(device, new).result == "activated"
