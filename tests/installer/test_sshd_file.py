"""The drop-in for sshd: the user of the service can log in only with a listed key, and only run the command of that key."""

import subprocess

from tests.support.paths import ROOT
from tests.support.ssh_server import make_key, needs_sshd, sshd_program

DROP_IN = ROOT / "systemd" / "sshd-cardedge.conf"

pytestmark = needs_sshd


def effective(tmp_path, user):
    """Return the settings of sshd for a user, by their names in lower case."""
    if not (tmp_path / "key").exists():
        make_key(tmp_path / "key")
    (tmp_path / "sshd_config").write_text(f"Include {DROP_IN}\nHostKey {tmp_path / 'key'}\nPasswordAuthentication yes\n")
    command = [sshd_program(), "-T", "-f", str(tmp_path / "sshd_config"), "-C", f"user={user},host=a,addr=192.0.2.7"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(line.partition(" ")[::2] for line in printed.splitlines())


def test_the_user_of_the_service_can_use_only_keys_listed_by_root(tmp_path):
    found = effective(tmp_path, "cardedge")
    assert found["authorizedkeysfile"] == "/etc/cardedge/authorized_keys"
    assert found["authenticationmethods"] == "publickey"
    assert (found["disableforwarding"], found["permittty"], found["permituserrc"]) == ("yes", "no", "no")


def test_other_users_are_not_affected(tmp_path):
    found = effective(tmp_path, "somebody")
    assert found["authorizedkeysfile"] == ".ssh/authorized_keys .ssh/authorized_keys2"
    assert (found["authenticationmethods"], found["permittty"]) == ("any", "yes")
