"""The gate on running scanners: a new bundle that does not know the cards of this shop goes back by its counts alone."""

import json

import pytest

from edge.bundles.manifest import read_manifest
from edge.errors import ExitCode
from edge.index.activity import Tally, read_activity
from edge.index.trial import read_reverted
from tests.receiving.scanner import change_manifest, day
from tests.support.mosquitto import needs_mosquitto, wait_until
from tests.support.small_scanner import on_table, write_index
from tests.support.ssh_fleet import ScannerFleet, running_daemons
from tests.support.ssh_server import needs_sshd
from tools import push_index, sign_bundle

HOSTS = ("pi-1", "pi-2")
CARDS = 8
"""Events with each bundle that tell "all identified" from "all unknown"."""

pytestmark = [needs_sshd, needs_mosquitto, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]


@pytest.fixture
def fleet(small_scanner, tmp_path):
    made = ScannerFleet(tmp_path, small_scanner, HOSTS)
    for host in HOSTS:  # a card that is lifted is gone at once, so that laying it down again is another event
        with (tmp_path / host / "cardedge.toml").open("a") as settings:
            settings.write("[track]\nremoved_after_s = 0.5\n")
    yield made
    made.stop()


def tally(fleet, bundle_id):
    activity = read_activity(fleet.root("pi-1"))
    return activity.tallies.get(bundle_id) or Tally(since=day(1)) if activity else Tally(since=day(1))


def test_a_bundle_that_recognizes_worse_is_reverted_by_the_next_run(fleet, capsys):
    images = fleet.world.images
    others = write_index(fleet.folder / "bad", fleet.world.model, dict(list(images.items())[4:]))
    bad_id = change_manifest(others, name="bad", created=day(2)).bundle_id
    assert sign_bundle.main([str(others), "--key", str(fleet.key)]) == 0
    assert bad_id == read_manifest(others).bundle_id
    file = fleet.folder / "fleet.toml"
    file.write_text(f'[groups.shop]\nhosts = ["pi-1", "pi-2"]\nbundle = "{others}"\nsoak_s = 86400\ngate.min_cards = {CARDS}\n')

    def apply():
        capsys.readouterr()
        status = push_index.main(["apply", str(file), "--json", "--quiet", *fleet.F])
        return status, [row["state"] for row in map(json.loads, capsys.readouterr().out.splitlines())]

    # two cards at a time, which only the first bundle knows
    with running_daemons(fleet, [on_table(*list(images.values())[2:4]), on_table()], frames_each=10):
        wait_until(lambda: tally(fleet, fleet.old_id).identified >= CARDS, timeout_s=300)
        assert apply() == (0, ["soaking", "waiting for canary"])
        assert fleet.serving() == [bad_id, fleet.old_id]
        wait_until(lambda: tally(fleet, bad_id).unknown >= CARDS, timeout_s=300)
        assert apply() == (ExitCode.BAD_DATA, ["stopped", "stopped"])
        assert fleet.serving() == [fleet.old_id] * 2
        reason = read_reverted(fleet.root("pi-1")).reason
        assert reason.startswith("unknown: ")
        wait_until(lambda: json.loads((fleet.root("pi-1") / "activity.json").read_text())["health"]["state"] == "problem", timeout_s=60)
        assert apply() == (ExitCode.BAD_DATA, ["stopped", "stopped"])
