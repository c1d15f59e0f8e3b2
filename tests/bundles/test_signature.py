"""Signatures made and verified with OpenSSH."""

import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from edge.bundles.signature import NAMESPACE, TrustedKeys, check_signature
from edge.errors import DeviceError, SettingsError, SignatureError
from tests.receiving.scanner import bundle
from tests.support.ssh_server import make_key, needs_sshd, public_key
from tools import sign_bundle

pytestmark = needs_sshd
MANIFEST = b'{"any": "bytes"}'


def sign(key, *, namespace=NAMESPACE, data=MANIFEST):
    command = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", namespace]
    return subprocess.run(command, input=data, capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    return make_key(tmp_path_factory.mktemp("keys") / "alice")


@pytest.fixture(scope="module")
def signature(key):
    return sign(key)


@pytest.fixture(scope="module")
def allowed(key):
    path = key.parent / "allowed_signers"
    path.write_text(f"# technicians\nalice@lab {public_key(key)}\n")
    return path


def test_the_signer_is_named_by_principal_and_fingerprint(key, signature, allowed):
    signer = check_signature(MANIFEST, signature, TrustedKeys(allowed))
    printed = subprocess.run(["ssh-keygen", "-lf", str(key)], capture_output=True, text=True, check=True).stdout
    assert (signer.principal, signer.fingerprint) == ("alice@lab", re.search(r"SHA256:\S+", printed)[0])


def test_another_manifest_is_not_signed(signature, allowed):
    with pytest.raises(SignatureError, match="does not match the manifest"):
        check_signature(MANIFEST + b" ", signature, TrustedKeys(allowed))


def test_a_signature_for_another_purpose_is_refused(key, allowed):
    with pytest.raises(SignatureError, match=f"was not made for {NAMESPACE}"):
        check_signature(MANIFEST, sign(key, namespace="git"), TrustedKeys(allowed))


def test_an_unknown_signer_is_refused(tmp_path, allowed):
    with pytest.raises(SignatureError, match="does not name"):
        check_signature(MANIFEST, sign(make_key(tmp_path / "mallory")), TrustedKeys(allowed))


def test_an_expired_key_is_refused(tmp_path, key, signature):
    path = tmp_path / "allowed"
    path.write_text(f'alice@lab valid-before="20200101" {public_key(key)}\n')
    with pytest.raises(SignatureError):
        check_signature(MANIFEST, signature, TrustedKeys(path))


def test_a_key_for_other_namespaces_is_refused(tmp_path, key, signature):
    path = tmp_path / "allowed"
    path.write_text(f'alice@lab namespaces="git,file" {public_key(key)}\n')
    with pytest.raises(SignatureError):
        check_signature(MANIFEST, signature, TrustedKeys(path))


def test_a_missing_list_of_signers_is_reported(tmp_path, signature):
    with pytest.raises(SettingsError, match="no such file"):
        check_signature(MANIFEST, signature, TrustedKeys(tmp_path / "none"))


def test_without_openssh_the_error_names_the_package(signature, allowed, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(DeviceError, match="openssh-client"):
        check_signature(MANIFEST, signature, TrustedKeys(allowed))


def test_sign_bundle_signs_by_file_or_by_agent(tmp_path, key, allowed, monkeypatch, capfd):
    folder = bundle(tmp_path / "bundle")
    assert sign_bundle.main([str(folder), "--key", str(key)]) == 0
    assert check_signature((folder / "manifest.json").read_bytes(), (folder / "manifest.json.sig").read_bytes(), TrustedKeys(allowed))
    agent = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", re.search(r"SSH_AUTH_SOCK=([^;]+)", agent)[1])
        subprocess.run(["ssh-add", "-q", str(key)], check=True)
        only_public = tmp_path / "alice.pub"
        only_public.write_text(public_key(key) + "\n")
        (folder / "manifest.json.sig").unlink()
        assert sign_bundle.main([str(folder), "--key", str(only_public)]) == 0
        assert check_signature((folder / "manifest.json").read_bytes(), (folder / "manifest.json.sig").read_bytes(), TrustedKeys(allowed))
    finally:
        subprocess.run(["kill", re.search(r"SSH_AGENT_PID=(\d+)", agent)[1]], check=True)


def test_sign_bundle_reports_errors(tmp_path, key, capfd):
    folder = bundle(tmp_path / "bundle")
    assert sign_bundle.main([str(folder)]) == 64
    assert sign_bundle.main([str(folder), "--key", str(tmp_path / "none")]) == 64
    (folder / "vectors.npy").write_bytes(b"")
    assert sign_bundle.main([str(folder), "--key", str(key)]) == 65
    assert not (folder / "manifest.json.sig").exists()


@given(st.data())
@examples(max_examples=30)
def test_an_arbitrary_signature_is_refused_with_a_reason(signature, allowed, data):
    spoiled = data.draw(
        st.one_of(
            st.binary(max_size=300),
            st.binary(max_size=300).map(lambda noise: b"-----BEGIN SSH SIGNATURE-----\n" + noise),
            st.integers(0, len(signature) - 1).map(lambda cut: signature[:cut]),
            st.tuples(st.integers(40, len(signature) - 40), st.integers(1, 255)).map(lambda flip: flipped(signature, *flip)),
        )
    )
    if b"".join(spoiled.split()) == b"".join(signature.split()):
        return  # the same signature in other lines
    with pytest.raises(SignatureError, match=r"manifest\.json\.sig"):
        check_signature(MANIFEST, spoiled, TrustedKeys(allowed))


@given(st.one_of(st.binary(max_size=200), st.text(max_size=100).map(lambda text: f"alice {text}\n".encode())))
@examples(max_examples=20)
def test_an_arbitrary_list_of_signers_accepts_no_signature(tmp_path_factory, signature, content):
    path = tmp_path_factory.mktemp("allowed") / "allowed"
    path.write_bytes(content)
    with pytest.raises(SignatureError):
        check_signature(MANIFEST, signature, TrustedKeys(path))


def flipped(data, place, mask):
    spoiled = bytearray(data)
    spoiled[place] ^= mask
    return bytes(spoiled)
