"""The signers that a device trusts: those of the pushed list, if there is one, otherwise those of the file in the settings.

The pushed list is ``signers.json`` in the index folder. Its signature was checked when it was installed. From then on it replaces the file
``push.allowed_signers``, so that a key can be revoked on devices that nobody visits.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edge.bundles.manifest import MANIFEST_FILE
from edge.bundles.signature import SIGNATURE_FILE, TrustedKeys, check_signature, is_revocation_list
from edge.bundles.signers import SIGNERS, SIGNERS_FILE, SignerList, parse_signed_list
from edge.errors import BundleError, EdgeError, RevokedKeyError
from edge.index import releases
from edge.system.files import write_atomically

if TYPE_CHECKING:
    from edge.bundles.signature import Signer
    from edge.settings.sections import PushSection


def read_signers(root: Path) -> SignerList | None:
    """Return the installed list, None if there is none. Raises ``BundleError`` for a damaged one: then no signature counts."""
    try:
        data = (root / SIGNERS_FILE).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BundleError(f"{root / SIGNERS_FILE}: cannot be read ({error.strerror}); push the list of signers again") from error
    return parse_signed_list(data, str(root / SIGNERS_FILE)).parsed()


@contextmanager
def trusted_keys(root: Path, rules: PushSection) -> Iterator[TrustedKeys]:
    """Yield the keys that a device trusts; their files exist while the block runs. Raises ``BundleError``."""
    revoked = (rules.revoked_keys,) if rules.revoked_keys else ()
    installed = read_signers(root)
    if installed is None:
        yield TrustedKeys(rules.allowed_signers, revoked)
        return
    with tempfile.TemporaryDirectory(prefix="cardedge-") as folder:
        allowed, krl = Path(folder) / "allowed_signers", Path(folder) / "krl"
        allowed.write_text(installed.allowed_signers)
        if installed.krl is not None:
            krl.write_bytes(installed.krl)
            revoked = (*revoked, krl)
        yield TrustedKeys(allowed, revoked, f"version {installed.version} of the list of signers")


def signer_of(root: Path, rules: PushSection, manifest: bytes, signature: bytes) -> Signer:
    """Return the signer of a manifest. Raises ``SignatureError`` (``RevokedKeyError``), ``SettingsError`` or ``BundleError``."""
    with trusted_keys(root, rules) as trusted:
        return check_signature(manifest, signature, trusted)


def install_signers(root: Path, data: bytes, rules: PushSection) -> tuple[SignerList, Signer, bool]:
    """Check and install a list of signers; return it, who signed it, and whether it was not installed before.

    It must be signed by a key of ``push.root_signers``, or without that setting by a trusted key for the namespace ``cardedge-signers``.
    Raises ``SignatureError``, ``SettingsError``, or ``BundleError`` for an older version and for another list of the same version.
    """
    signed = parse_signed_list(data, SIGNERS_FILE)
    content, signature = signed.content.encode(), signed.signature.encode()
    with releases.locked(root, wait_s=releases.LOCK_WAIT_S):
        if rules.root_signers is not None:
            signer = check_signature(content, signature, TrustedKeys(rules.root_signers), SIGNERS)
        else:
            with trusted_keys(root, rules) as trusted:
                signer = check_signature(content, signature, trusted, SIGNERS)
        new, installed = signed.parsed(), _read_if_intact(root)
        if installed is not None and new.version < installed.version:
            raise BundleError(
                f"{SIGNERS_FILE}: version {new.version} is older than version {installed.version} of this device; push the newest list"
            )
        if installed is not None and new.version == installed.version:
            if new != installed:
                raise BundleError(f"{SIGNERS_FILE}: another list than version {new.version} of this device; sign it with a larger version")
            return new, signer, False
        _check_revocations(new)
        write_atomically(root / SIGNERS_FILE, data)
    return new, signer, True


def revoked_signer(root: Path, bundle_id: str, rules: PushSection) -> str | None:
    """Return why the signature of an installed release no longer counts: its key is revoked. None otherwise, also if it is unsigned."""
    folder = root / releases.RELEASES / bundle_id
    try:
        signature = (folder / SIGNATURE_FILE).read_bytes()
        signer_of(root, rules, (folder / MANIFEST_FILE).read_bytes(), signature)
    except RevokedKeyError as error:
        return f"bundle {bundle_id}: {error}"
    except (EdgeError, OSError):
        return None  # unsigned, or installed by a person with a shell: without a signature in force there is no key to revoke
    return None


def refuse_revoked(root: Path, bundle_id: str, rules: PushSection) -> None:
    """Raise ``RevokedKeyError`` if an installed release was signed by a key that is revoked now."""
    if (why := revoked_signer(root, bundle_id, rules)) is not None:
        raise RevokedKeyError(f"{why}; this device does not activate it again")


def revert_revoked_trial(root: Path, rules: PushSection) -> str | None:
    """Revert the active release if it is on trial and was signed by a key that is revoked now; return its id then.

    A release that has completed its trial stays active: a scanner without a bundle helps nobody. ``DeviceIndex`` reports it.
    """
    on_trial = releases.trial(root)
    if on_trial is None or (why := revoked_signer(root, on_trial.bundle_id, rules)) is None:
        return None
    releases.revert(root, why)
    return on_trial.bundle_id


def _read_if_intact(root: Path) -> SignerList | None:
    try:
        return read_signers(root)
    except BundleError:
        return None  # a list signed by the root key replaces a damaged one


def _check_revocations(new: SignerList) -> None:
    """Raise ``BundleError`` if the KRL is not one: ssh-keygen would take every key for revoked."""
    if new.krl is None:
        return
    with tempfile.NamedTemporaryFile(prefix="cardedge-", suffix=".krl") as file:
        file.write(new.krl)
        file.flush()
        if not is_revocation_list(Path(file.name)):
            raise BundleError(f"{SIGNERS_FILE}: krl: not a key revocation list; make it with tools.sign_signers")
