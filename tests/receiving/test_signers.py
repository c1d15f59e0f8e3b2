"""The list of signers that is pushed: add, rotate and revoke, on a receiver without SSH."""

import json
import shutil

import pytest

from edge.bundles.signers import SIGNERS_FILE, SignedList
from edge.errors import ExitCode
from edge.index import releases
from edge.index.signers import read_signers
from edge.index.stamps import stamp_holds
from edge.index.standing import Standing
from edge.index.trial import read_reverted, utc_now
from edge.receiving.messages import Completed, OfferSigners, RollbackRequest, SignersInstalled, Status, StatusRequest
from edge.settings.sections import PushSection
from tests.receiving.scanner import Scanner, bundle, change_manifest, day, offer, push
from tests.support.ssh_server import make_key, needs_sshd, public_key
from tools import sign_bundle, sign_signers
from tools.push.connection import HostRefusedError
from tools.push.local_bundle import read_bundle
from tools.push.signing import sign

pytestmark = needs_sshd


class Shop:
    """A scanner, and the keys of alice, bob and an offline root."""

    def __init__(self, folder):
        self.folder = folder
        self.keys = {name: make_key(folder / name, name) for name in ("alice", "bob", "root")}
        (folder / "allowed_signers").write_text(f'alice namespaces="cardedge-index" {public_key(self.keys["alice"])}\n')
        (folder / "root_signers").write_text(f"root {public_key(self.keys['root'])}\n")
        rules = PushSection(allowed_signers=folder / "allowed_signers", root_signers=folder / "root_signers", keep_free_mb=0)
        self.scanner = Scanner(folder / "index", rules)
        self.file = folder / SIGNERS_FILE

    def signed(self, name, by, day_number, **options):
        folder = bundle(self.folder / name, seed=day_number, created=day(day_number))
        assert sign_bundle.main([str(folder), "--key", str(self.keys[by]), *(f"--{key}={value}" for key, value in options.items())]) == 0
        return folder

    def change_list(self, *words, key="root"):
        assert sign_signers.main([str(self.file), "--key", str(self.keys[key]), *words]) == 0

    def push(self, folder, **options):
        """Push a bundle and end its trial, unless it has to be confirmed."""
        with self.scanner.talking() as device:
            bundle_id = push(device, folder, **options).bundle_id
        releases.mark_healthy(self.scanner.root)
        return bundle_id

    def push_list(self, data=None):
        data = self.file.read_bytes() if data is None else data
        with self.scanner.talking() as device:
            device.send(OfferSigners(list_bytes=len(data)), data)
            return device.expect(SignersInstalled)

    def refusal(self, action):
        with self.scanner.talking() as device, pytest.raises(HostRefusedError) as caught:
            action(device)
        return caught.value.status, str(caught.value)


@pytest.fixture
def shop(tmp_path):
    """A shop whose scanner uses a bundle that alice signed."""
    shop = Shop(tmp_path)
    shop.scanner.root.mkdir()
    shop.first = shop.push(shop.signed("first", "alice", 1))
    return shop


def add(shop, *names):
    return [word for name in names for word in ("--add", f"{name}={shop.keys[name]}.pub")]


def test_one_push_adds_a_technician_and_revokes_another(shop):
    shop.change_list("--begin-with", str(shop.folder / "allowed_signers"), *add(shop, "bob"))
    assert (shop.push_list().changed, shop.push_list().changed) == (True, False)
    shop.change_list("--revoke", "alice")
    assert shop.push_list().version == 2
    stolen = read_bundle(shop.signed("stolen", "alice", 2))
    status, reason = shop.refusal(lambda device: offer(device, stolen))
    assert status is ExitCode.BAD_DATA
    assert "is revoked by version 2 of the list of signers" in reason
    with shop.scanner.talking() as device:
        assert push(device, shop.signed("new", "bob", 3)).result == "activated"
    audit = [json.loads(line) for line in (shop.scanner.root / "audit.jsonl").read_text().splitlines()]
    assert [(line["action"], line["result"]) for line in audit[1:]] == [
        ("signers", "installed"), ("signers", "unchanged"), ("signers", "installed"), ("push", "refused"), ("push", "activated"),
    ]  # fmt: skip
    assert audit[3]["principal"] == "root"


def test_a_revoked_key_counts_as_revoked_wherever_a_list_still_names_it(shop):
    shop.change_list(*add(shop, "alice", "bob"))
    fingerprint = shop.push_list().audit["key"]
    shop.change_list("--revoke", fingerprint)  # of a key that is not in the list at all
    shop.change_list("--revoke", f"{shop.keys['alice']}.pub", "--begin-with", str(shop.folder / "allowed_signers"))
    installed = json.loads(shop.file.read_text())
    assert public_key(shop.keys["alice"]).split()[1] not in installed["content"]
    # a list whose author put the line back does not make the key valid: the revocation list counts
    shop.change_list("--add", f"carol={shop.folder / 'bob'}.pub")
    content = json.loads(json.loads(shop.file.read_text())["content"])
    content |= {"version": 9, "allowed_signers": content["allowed_signers"] + (shop.folder / "allowed_signers").read_text()}
    sign_list(shop, content)
    shop.push_list()
    stolen = read_bundle(shop.signed("stolen", "alice", 2))
    assert "is revoked by version 9 of the list of signers" in shop.refusal(lambda device: offer(device, stolen))[1]


def sign_list(shop, content, key="root"):
    text = json.dumps(content)
    signature = sign(text.encode(), shop.keys[key], "cardedge-signers").decode()
    shop.file.write_text(SignedList(content=text, signature=signature).model_dump_json())


def test_a_replayed_list_is_refused(shop):
    shop.change_list(*add(shop, "alice", "bob"))
    old = shop.file.read_bytes()
    shop.push_list()
    shop.change_list("--revoke", "alice")
    shop.push_list()
    status, reason = shop.refusal(lambda device: device.send(OfferSigners(list_bytes=len(old)), old) or device.expect(SignersInstalled))
    assert (status, "version 1 is older than version 2" in reason) == (ExitCode.BAD_DATA, True)
    content = json.loads(json.loads(shop.file.read_text())["content"])
    sign_list(shop, content | {"revoked_technicians": []})
    other = shop.file.read_bytes()
    _, reason = shop.refusal(lambda device: device.send(OfferSigners(list_bytes=len(other)), other) or device.expect(SignersInstalled))
    assert "another list than version 2" in reason
    assert read_signers(shop.scanner.root).version == 2


@pytest.mark.parametrize("spoil", ["technician", "namespace", "altered", "krl", "noise"])
def test_a_list_that_the_root_key_did_not_sign_changes_nothing(shop, spoil):
    shop.change_list(*add(shop, "bob"), key="alice" if spoil == "technician" else "root")
    data = shop.file.read_bytes()
    if spoil == "altered":
        data = data.replace(b"bob", b"eve", 1)
    elif spoil == "namespace":
        signature = (shop.signed("other", "root", 9) / "manifest.json.sig").read_text()
        data = json.dumps(json.loads(data) | {"signature": signature}).encode()
    elif spoil == "krl":
        sign_list(shop, json.loads(json.loads(data)["content"]) | {"krl": "bm9pc2U="})
        data = shop.file.read_bytes()
    elif spoil == "noise":
        data = b'{"content": 1}'
    status, _ = shop.refusal(lambda device: device.send(OfferSigners(list_bytes=len(data)), data) or device.expect(SignersInstalled))
    assert status is ExitCode.BAD_DATA
    assert read_signers(shop.scanner.root) is None


def test_without_a_root_key_only_an_admin_may_sign_the_list(shop):
    shop.scanner.rules = shop.scanner.rules.model_copy(update={"root_signers": None})
    shop.change_list(*add(shop, "alice", "bob"), key="alice")
    data = shop.file.read_bytes()
    _, reason = shop.refusal(lambda device: device.send(OfferSigners(list_bytes=len(data)), data) or device.expect(SignersInstalled))
    assert "was not made for cardedge-signers" in reason
    admin = f'alice namespaces="cardedge-index,cardedge-signers" {public_key(shop.keys["alice"])}\n'
    (shop.folder / "allowed_signers").write_text(admin)
    assert shop.push_list().changed


def test_the_active_bundle_of_a_revoked_key_stays_and_is_reported(shop):
    shop.change_list(*add(shop, "alice", "bob"))
    shop.push_list()
    standing = Standing()
    standing.update(shop.scanner.root, shop.scanner.rules)
    assert standing.warning(utc_now()) is None
    shop.push(shop.signed("second", "bob", 2))
    revoke(shop, "alice")
    assert standing.is_outdated(shop.scanner.root)
    standing.update(shop.scanner.root, shop.scanner.rules)
    assert standing.warning(utc_now()) is None, "the active one is bob's"
    _, reason = shop.refusal(lambda device: device.send(RollbackRequest()) or device.expect(Completed))
    assert "does not activate it again" in reason
    revoke(shop, "bob")
    standing.update(shop.scanner.root, shop.scanner.rules)
    assert "is revoked by version" in standing.warning(utc_now())
    assert "until then it stays in use" in standing.warning(utc_now())


def revoke(shop, name):
    shop.change_list("--revoke", name, "--add", f"after-{name}={shop.keys['root']}.pub")
    shop.push_list()


def test_a_bundle_of_a_revoked_key_that_is_on_trial_goes_back_at_once(shop):
    shop.change_list(*add(shop, "alice", "bob"))
    shop.push_list()
    second = shop.push(shop.signed("second", "bob", 2), confirm_within_s=600)
    shop.change_list("--revoke", "bob")
    assert f"{second} was reverted" in shop.push_list().audit["reason"]
    assert releases.current_id(shop.scanner.root) == shop.first
    assert "is revoked by version" in read_reverted(shop.scanner.root).reason


def test_a_revoked_technician_may_bring_a_list_and_nothing_else(shop):
    shop.change_list(*add(shop, "alice", "bob"))
    content = json.loads(json.loads(shop.file.read_text())["content"]) | {"revoked_technicians": ["lab"]}
    sign_list(shop, content)
    shop.push_list()
    status, reason = shop.refusal(lambda device: device.send(StatusRequest()) or device.expect(Status))
    assert (status, "the access of lab is revoked" in reason) == (ExitCode.BAD_DATA, True)
    assert not shop.push_list().changed


def test_an_expired_bundle_is_reported_and_stays(tmp_path):
    scanner = Scanner(tmp_path / "index")
    folder = bundle(tmp_path / "bundle")
    change_manifest(folder, expires=day(9))
    scanner.serving(folder)
    standing = Standing()
    standing.update(scanner.root, scanner.rules)
    assert standing.warning(day(8)) is None
    assert "expired at 2026-02-09 00:00 UTC" in standing.warning(day(9))


def test_the_same_bundle_signed_by_another_key_is_in_force_again(shop):
    shop.change_list(*add(shop, "alice", "bob"))
    shop.change_list("--revoke", "alice")
    shop.push_list()
    standing = Standing()
    standing.update(shop.scanner.root, shop.scanner.rules)
    assert "is revoked by version 2" in standing.warning(day(9))
    first = shop.folder / "first"
    assert sign_bundle.main([str(first), "--key", str(shop.keys["bob"]), "--counter", "7", "--expires", "2026-03-01"]) == 0
    with shop.scanner.talking() as device:
        answer = push(device, first)
    assert (answer.result, answer.bundle_id) == ("unchanged", shop.first)
    assert standing.is_outdated(shop.scanner.root), "the daemon notices"
    standing.update(shop.scanner.root, shop.scanner.rules)
    assert standing.warning(day(9)) is None
    manifest = releases.open_release(shop.scanner.root, shop.first).manifest
    assert (manifest.counter, str(manifest.expires)) == (7, "2026-03-02 00:00:00+00:00")
    assert stamp_holds(shop.scanner.root / "releases" / shop.first), "nothing is hashed again for it"


def test_the_device_and_not_the_client_decides_whether_an_old_signed_bundle_may_return(shop):
    """With ``allow_downgrade`` a client of version 0.1.0 allowed itself to push any bundle that was ever signed."""
    old, first = read_bundle(shop.signed("old", "alice", 3, counter=1)), read_bundle(shop.folder / "first")
    shop.push(shop.signed("new", "alice", 2, counter=2))
    status, reason = shop.refusal(lambda device: offer(device, old, allow_downgrade=True))
    assert status is ExitCode.BAD_DATA
    assert "has counter 1, this device has seen 2, and it has not completed a trial here" in reason
    with shop.scanner.talking() as device:
        assert offer(device, first, dry_run=True), "it was proven here"
        device.hang_up()
    shop.scanner.downgrades = "never"
    assert "change index.allow_downgrade on the device" in shop.refusal(lambda device: offer(device, first, allow_downgrade=True))[1]
    shop.scanner.downgrades = "always"
    assert shop.push(old.folder) == old.manifest.bundle_id


def test_an_earlier_signature_does_not_replace_a_later_one(shop):
    first = shop.folder / "first"
    earlier = shutil.copytree(first, shop.folder / "earlier")
    assert sign_bundle.main([str(first), "--key", str(shop.keys["alice"]), "--counter", "7"]) == 0
    for folder in (first, earlier):
        shop.push(folder, allow_downgrade=True)
    assert releases.open_release(shop.scanner.root, shop.first).manifest.counter == 7


def test_the_tool_refuses_what_would_lock_everybody_out(shop, capsys):
    def changed(*words):
        status = sign_signers.main([str(shop.file), "--key", str(shop.keys["root"]), *words])
        return status, capsys.readouterr().err

    shop.change_list(*add(shop, "alice"))
    before = shop.file.read_bytes()
    capsys.readouterr()
    assert changed("--revoke", "alice") == (ExitCode.USAGE, changed("--revoke", "alice")[1])
    for words, said in (
        (["--revoke", "alice"], "no signer"),
        (["--revoke", "mallory"], "not in the list"),
        (["--revoke", "alice", *add(shop, "bob"), "--add", f"alice={shop.keys['bob']}.pub"], "alice-2"),
        (["--add", f"x={shop.keys['bob']}"], "not an SSH public key"),
        (["--add", "x"], "not NAME=KEY.pub"),
        (["--add", f"x y={shop.keys['bob']}.pub"], "letters, digits"),
    ):
        status, printed = changed(*words)
        assert status == ExitCode.USAGE
        assert said in printed
    assert shop.file.read_bytes() == before
