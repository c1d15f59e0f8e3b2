"""The order in which a fleet is served, inventories, and what the command line refuses."""

import json

import pytest

from edge.errors import DataError, ExitCode, UsageError
from tools import push_index
from tools.push import rollout
from tools.push.connection import SshOptions
from tools.push.host_push import HostReport
from tools.push.inventory import all_hosts, read_inventory
from tools.push.rollout import Rollout, worst

GOOD = ExitCode.OK


def roll(outcomes, *, canaries, parallel=1, soak_s=0.0):
    """Push to hosts whose outcome is known; return host by result, in order, and the hosts touched."""
    touched, heard = [], []

    def push_to(host):
        touched.append(host)
        result, code = outcomes[host]
        return HostReport(host, result, code, after="new")

    made = Rollout(push_to, heard.append, parallel=parallel)
    reports = made.run(list(outcomes), canaries=canaries, soak_s=soak_s, ssh=SshOptions())
    assert sorted(report.host for report in heard) == sorted(outcomes)
    return [report.result for report in reports], touched


def test_all_are_served_canaries_first():
    outcomes = dict.fromkeys("abcd", ("activated", GOOD))
    assert roll(outcomes, canaries=2, parallel=4) == (["activated"] * 4, [*"abcd"])


@pytest.mark.parametrize(
    "failure", [("refused", ExitCode.BAD_DATA), ("unreachable", ExitCode.UNAVAILABLE), ("reverted", ExitCode.BAD_DATA)]
)
def test_a_canary_that_fails_in_any_way_stops_everything(failure):
    outcomes = {"a": failure, "b": ("activated", GOOD), "c": ("activated", GOOD)}
    assert roll(outcomes, canaries=1) == ([failure[0], "not_tried", "not_tried"], ["a"])


def test_behind_the_canaries_an_unreachable_host_is_left_out_and_a_bad_bundle_stops_the_rest():
    outcomes = {
        "a": ("activated", GOOD),
        "b": ("unreachable", ExitCode.UNAVAILABLE),
        "c": ("refused", ExitCode.CONFIG),
        "d": ("reverted", ExitCode.BAD_DATA),
        "e": ("activated", GOOD),
    }
    results, touched = roll(outcomes, canaries=1)
    assert results == ["activated", "unreachable", "refused", "reverted", "not_tried"]
    assert touched == [*"abcd"]


def test_canaries_must_still_be_well_after_their_time(monkeypatch):
    slept = []
    monkeypatch.setattr(rollout.time, "sleep", slept.append)
    monkeypatch.setattr(rollout, "request_status", lambda host, ssh: type("Status", (), {"current": None, "reverted": "it failed"})())
    results, touched = roll({"a": ("activated", GOOD), "b": ("activated", GOOD)}, canaries=1, soak_s=60.0)
    assert (results, touched, slept) == (["reverted", "not_tried"], ["a"], [60.0])


def test_the_gravest_class_is_the_status_of_the_whole():
    assert worst([ExitCode.OK, ExitCode.UNAVAILABLE]) is ExitCode.UNAVAILABLE
    assert worst([ExitCode.UNAVAILABLE, ExitCode.BAD_DATA, ExitCode.OK]) is ExitCode.BAD_DATA
    assert worst([ExitCode.OK]) is ExitCode.OK


def test_an_inventory_may_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "scanners").write_bytes(b"\xef\xbb\xbfcardedge@scanner-1\r\nscanner-2\r\n")
    assert read_inventory(tmp_path / "scanners") == ("cardedge@scanner-1", "scanner-2")


def test_an_inventory_names_a_host_a_line(tmp_path):
    path = tmp_path / "scanners"
    path.write_text("# ground floor\npi-1\ncardedge@192.0.2.7  # by the door\n\npi-2\n")
    assert all_hosts(["pi-0"], path) == ("pi-0", "pi-1", "cardedge@192.0.2.7", "pi-2")


@pytest.mark.parametrize(("text", "said"), [("", "contains no host"), ("a b\n", ":1: 'a b'"), ("ok\n-oProxyCommand=x\n", ":2:")])
def test_an_inventory_that_is_none_is_named_with_its_line(tmp_path, text, said):
    path = tmp_path / "scanners"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        read_inventory(path)


def test_an_inventory_that_cannot_be_read_is_named_with_the_reason(tmp_path):
    with pytest.raises(DataError, match=r"absent: cannot be read \(No such file or directory\); name a file with one host per line"):
        read_inventory(tmp_path / "absent")
    (tmp_path / "utf16").write_text("scanner-1", encoding="utf-16")
    with pytest.raises(DataError, match=r"utf16: is not text in UTF-8; write one host per line"):
        read_inventory(tmp_path / "utf16")


@pytest.mark.parametrize("hosts", [[], ["-oProxyCommand=touch /tmp/x"], ["a", "a"]])
def test_hosts_that_are_none_are_refused(hosts):
    with pytest.raises(UsageError):
        all_hosts(hosts, None)


def test_the_users_ssh_options_stand_before_ours(tmp_path):
    command = SshOptions(tmp_path / "config", ("ConnectTimeout=3",)).command("pi-1")
    assert command[:5] == ["ssh", "-F", str(tmp_path / "config"), "-T", "-o"]
    assert command.index("ConnectTimeout=3") < command.index("BatchMode=yes")
    assert command[-3:] == ["--", "pi-1", "cardedge index receive"]


@pytest.mark.parametrize(
    "words", [[], ["bundle"], ["status"], ["prune", "pi-1"], ["bundle", "pi-1", "--canary", "0"], ["bundle", "--mend", "x"]]
)
def test_a_wrong_command_line_is_64(words, capsys):
    assert push_index.main(words) == ExitCode.USAGE
    assert capsys.readouterr().out == ""


def test_no_bundle_is_65_and_an_unreachable_host_69(tmp_path, capsys):
    assert push_index.main([str(tmp_path), "pi-1"]) == ExitCode.BAD_DATA
    (tmp_path / "config").write_text("Host pi-1\n HostName 127.0.0.1\n Port 1\n")
    assert push_index.main(["status", "pi-1", "--json", "-F", str(tmp_path / "config")]) == ExitCode.UNAVAILABLE
    (answer,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (answer["host"], answer["exit_code"]) == ("pi-1", 69)
    assert "cannot be reached (ssh: connect to host 127.0.0.1" in answer["error"]
