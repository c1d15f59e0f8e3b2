"""A host that a first push cannot reach: the error of ssh, and what to do about it."""

import pytest

from edge.errors import ConnectionLostError
from tests.support.ssh_server import Sshd, make_key, needs_sshd, public_key
from tools.push.connection import SshOptions
from tools.push.rollout import request_status

pytestmark = needs_sshd


@pytest.fixture
def server(tmp_path):
    key = make_key(tmp_path / "key")
    started = Sshd(tmp_path / "server", "scanner-1", key, "true").start()
    yield started
    started.stop()


def refusal(server, host="scanner-1"):
    with pytest.raises(ConnectionLostError) as caught:
        request_status(host, SshOptions(config=server.config))
    return str(caught.value)


def test_an_unknown_host_key_is_explained(server, tmp_path):
    (tmp_path / "server" / "known_hosts").write_text("")
    assert "store the host's key with `ssh-keyscan -t ed25519 scanner-1 >> ~/.ssh/known_hosts`" in refusal(server, "cardedge@scanner-1")


def test_a_changed_host_key_is_never_to_be_stored_unseen(server, tmp_path):
    other = make_key(tmp_path / "other")
    (tmp_path / "server" / "known_hosts").write_text(f"[127.0.0.1]:{server.port} {public_key(other)}\n")
    said = refusal(server)
    assert "the host has another key than the stored one" in said
    assert "ssh-keyscan" not in said


def test_a_key_that_the_scanner_does_not_know_is_explained_with_the_user(server, tmp_path):
    (tmp_path / "server" / "authorized_keys").write_text("")
    assert "give the host as cardedge@scanner-1, and allow your key on the scanner: sudo ./install.sh --allow" in refusal(server)
    said = refusal(server, "root@scanner-1")
    assert "allow your key on the scanner" in said
    assert "give the host as" not in said
