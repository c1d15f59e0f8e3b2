"""A bundle with counter and expiry, and devices of version 0.1.0, which do not know them."""

import json
from contextlib import contextmanager

import pytest

from edge.bundles import manifest as manifests
from edge.bundles.manifest import read_manifest
from edge.bundles.signature import TrustedKeys, check_signature
from edge.errors import ExitCode
from edge.receiving.messages import Hello, Refused
from tests.receiving.scanner import bundle
from tests.support.ssh_server import make_key, needs_sshd, public_key
from tools import sign_bundle
from tools.push.connection import HostRefusedError, SshOptions
from tools.push.host_push import HostPush, PushOptions
from tools.push.local_bundle import read_bundle

pytestmark = needs_sshd


@pytest.fixture
def key(tmp_path):
    return make_key(tmp_path / "alice")


@pytest.fixture
def allowed(tmp_path, key):
    path = tmp_path / "allowed_signers"
    path.write_text(f"alice {public_key(key)}\n")
    return TrustedKeys(path)


def sign(folder, key, *words):
    return sign_bundle.main([str(folder), "--key", str(key), *words])


def test_both_manifests_are_signed_and_name_the_same_bundle(tmp_path, key, allowed):
    folder = bundle(tmp_path / "bundle")
    before = read_manifest(folder)
    assert sign(folder, key, "--counter", "7", "--expires", "2027-03-31") == 0
    local = read_bundle(folder)
    assert (local.manifest.counter, str(local.manifest.expires)) == (7, "2027-04-01 00:00:00+00:00")
    former = local.for_former_version()
    assert former.manifest == before
    for one in (local, former):
        assert check_signature(one.manifest_bytes, one.signature, allowed).principal == "alice"
    assert former.for_former_version() is None


def test_without_counter_the_bundle_stays_as_it_is(tmp_path, key):
    folder = bundle(tmp_path / "bundle")
    before = (folder / "manifest.json").read_bytes()
    assert sign(folder, key) == 0
    assert (folder / "manifest.json").read_bytes() == before
    assert read_bundle(folder).for_former_version() is None
    assert not (folder / "manifest-2.json.sig").exists()


def test_a_counter_file_counts_every_signature(tmp_path, key, capsys):
    file = tmp_path / "counter"
    for number in (1, 2, 3):
        assert sign(bundle(tmp_path / f"bundle-{number}"), key, "--counter-file", str(file)) == 0
        assert read_manifest(tmp_path / f"bundle-{number}").counter == number
    file.write_text("seven")
    assert sign(tmp_path / "bundle-1", key, "--counter-file", str(file)) == ExitCode.BAD_DATA
    assert "'seven' is not a number" in capsys.readouterr().err
    assert file.read_text() == "seven"


def test_a_former_device_reads_the_former_manifest_only(tmp_path, key, monkeypatch):
    folder = bundle(tmp_path / "bundle")
    assert sign(folder, key, "--counter", "7") == 0
    local = read_bundle(folder)
    monkeypatch.setattr(manifests, "FORMAT_VERSION", 2)
    assert json.loads(local.manifest_bytes)["format_version"] == 3
    with pytest.raises(manifests.BundleError, match="format 3 is newer than 2"):
        manifests.parse_manifest(local.manifest_bytes, "manifest.json")
    former = local.for_former_version()
    assert manifests.parse_manifest(former.manifest_bytes, "manifest.json") == former.manifest


def test_a_former_device_is_left_out_if_it_cannot_read_the_bundle_at_all(tmp_path, monkeypatch):
    @contextmanager
    def former_device(host, ssh):
        yield FormerDevice()

    class FormerDevice:
        hello = Hello(device_id="pi-1", version="0.1.0", model_id="m")
        bytes_sent = 7

        def send(self, message, payload=b""):
            pass

        def expect_one(self, kinds, steps=None):
            reason = "manifest.json: format 3 is newer than 2, which this version reads; update cardedge"
            raise HostRefusedError(Refused(reason=reason, exit_code=65))

    monkeypatch.setattr("tools.push.host_push.connected", former_device)
    bundle_with_chunks = read_bundle(bundle(tmp_path / "bundle", chunks=True))
    report = HostPush("pi-1", bundle_with_chunks, SshOptions(), PushOptions(), print).run()
    assert (report.result, report.exit_code, report.bytes_sent) == ("refused", ExitCode.UNAVAILABLE, 7)
    assert report.reason.endswith("update cardedge on the scanner, or push a bundle to it that was built with --format 2")


def test_a_bundle_with_chunks_has_no_former_manifest(tmp_path, key):
    folder = bundle(tmp_path / "bundle", chunks=True)
    assert sign(folder, key, "--counter", "7") == 0
    assert read_bundle(folder).for_former_version() is None
    assert not (folder / "manifest-2.json.sig").exists()
