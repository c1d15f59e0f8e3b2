"""The gate on running scanners: shuffled names, and a bundle that does not know the cards of this shop, go back without a person."""

import json

import pytest

from edge.bundles.manifest import read_manifest
from edge.errors import ExitCode
from edge.index.activity import Tally, read_activity
from edge.index.trial import read_reverted
from edge.recognition.gallery import Card
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


def signed(fleet, folder, created):
    """Sign a bundle and return its id."""
    bundle_id = change_manifest(folder, name=folder.name, created=created).bundle_id
    assert sign_bundle.main([str(folder), "--key", str(fleet.key)]) == 0
    assert bundle_id == read_manifest(folder).bundle_id
    return bundle_id


def test_bundles_that_name_badly_or_recognize_worse_are_reverted_by_the_runs_of_the_timer(fleet, capsys):
    images = fleet.world.images
    first = dict(list(images.items())[:4])
    names = [*list(first)[1:], *list(first)[:1]]
    cards = {one: Card(one, f"Name {other}", f"art-{one}", set="T", number=one) for one, other in zip(first, names, strict=True)}
    shuffled = write_index(fleet.folder / "shuffled", fleet.world.model, first, cards)
    others = write_index(fleet.folder / "others", fleet.world.model, dict(list(images.items())[4:]))
    shuffled_id, others_id = signed(fleet, shuffled, day(2)), signed(fleet, others, day(3))
    file = fleet.folder / "fleet.toml"

    def apply(bundle):
        file.write_text(f'[groups.shop]\nhosts = ["pi-1", "pi-2"]\nbundle = "{bundle}"\nsoak_s = 86400\ngate.min_cards = {CARDS}\n')
        capsys.readouterr()
        status = push_index.main(["apply", str(file), "--json", "--quiet", *fleet.F])
        return status, [row["state"] for row in map(json.loads, capsys.readouterr().out.splitlines())]

    # two cards at a time, which only the first bundle and the one with shuffled names know
    with running_daemons(fleet, [on_table(*list(images.values())[2:4]), on_table()], frames_each=10) as daemons:
        assert apply(shuffled) == (ExitCode.BAD_DATA, ["stopped", "stopped"])
        assert "4 of 4 pictures get another name than before" in read_reverted(fleet.root("pi-1")).reason
        daemons.wait_until_used("pi-1", fleet.old_id)
        used = [json.loads(state)["index_id"] for state in daemons.listener.on("cardedge/pi-1/state/index")]
        assert shuffled_id in used, "the daemon had loaded it"
        assert fleet.serving() == [fleet.old_id] * 2

        wait_until(lambda: tally(fleet, fleet.old_id).identified >= CARDS, timeout_s=300)
        assert apply(others) == (0, ["soaking", "waiting for canary"])
        assert fleet.serving() == [others_id, fleet.old_id]
        wait_until(lambda: tally(fleet, others_id).unknown >= CARDS, timeout_s=300)
        assert apply(others) == (ExitCode.BAD_DATA, ["stopped", "stopped"])
        assert fleet.serving() == [fleet.old_id] * 2
        assert read_reverted(fleet.root("pi-1")).reason.startswith("unknown: ")
        wait_until(lambda: json.loads((fleet.root("pi-1") / "activity.json").read_text())["health"]["state"] == "problem", timeout_s=60)
        assert apply(others) == (ExitCode.BAD_DATA, ["stopped", "stopped"])
