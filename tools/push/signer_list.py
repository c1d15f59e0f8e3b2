"""The list of signers that scanners trust: editing and pushing it."""

from __future__ import annotations

import base64
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from edge.bundles.signature import NAMESPACE
from edge.bundles.signers import SIGNERS, SignedList, SignerList, parse_signed_list
from edge.errors import DataError, UsageError
from edge.receiving.messages import OfferSigners, SignersInstalled
from edge.system.files import write_atomically
from tools.push.connection import SshOptions, connected
from tools.push.signing import sign

_KEY: Final = re.compile(r"(?:^|\s)((?:ssh|sk-ssh|ecdsa|sk-ecdsa)-\S+ AAAA\S+)")
_NAME: Final = re.compile(r"[A-Za-z0-9@._-]{1,100}")
_FINGERPRINT: Final = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


@dataclass(frozen=True, slots=True)
class SignerChanges:
    """What to change. ``add`` and ``admins`` are names with the file of a public key; admins may sign the list itself too.

    ``revoke`` has names, fingerprints (``SHA256:…``) or files of public keys. ``begin_with`` is a file of allowed signers to copy.
    """

    add: Sequence[tuple[str, Path]] = ()
    admins: Sequence[tuple[str, Path]] = ()
    revoke: Sequence[str] = ()
    begin_with: Path | None = None


def read_list(path: Path) -> SignerList:
    """Return the list in a file. Raises ``DataError`` if it cannot be read, ``BundleError`` if it is not a list of signers."""
    return parse_signed_list(_read(path).encode(), str(path)).parsed()


def push_signers(host: str, ssh: SshOptions, path: Path) -> SignersInstalled:
    """Push a list of signers to a host; return the version that it trusts now. Raises ``EdgeError``."""
    data = _read(path).encode()
    parse_signed_list(data, str(path)).parsed()
    with connected(host, ssh) as device:
        device.send(OfferSigners(list_bytes=len(data)), data)
        return device.expect(SignersInstalled)


def update_list(path: Path, changes: SignerChanges, key: Path, *, now: datetime | None = None) -> SignerList:
    """Apply changes to the list in a file, or begin one, sign it as the next version, and return it.

    Raises ``UsageError`` for a name or key that is not usable, or ``SignatureError``; the file then stays as it is.
    """
    before = read_list(path) if path.exists() else None
    lines = before.allowed_signers.splitlines() if before else []
    if changes.begin_with is not None:
        lines += [line for line in _read(changes.begin_with).splitlines() if line not in lines]
    gone, krl, names = _revoked(before, lines, changes.revoke)
    lines = [line for line in lines if not _is_key(line) or _fingerprint(line) not in gone]
    for name, file, namespaces in (
        *((name, file, NAMESPACE) for name, file in changes.add),
        *((name, file, f"{NAMESPACE},{SIGNERS.namespace}") for name, file in changes.admins),
    ):
        if not _NAME.fullmatch(name):
            raise UsageError(f"{name!r}: a name has letters, digits and @ . _ - only")
        if name in names:
            raise UsageError(f"{name} is revoked; give the new key another name, for example {name}-2")
        public = _public_key(file)
        if _fingerprint(public) in gone:
            raise UsageError(f"{file}: this key is revoked; add another one")
        lines.append(f'{name} namespaces="{namespaces}" {public}')
    if not any(_is_key(line) for line in lines):
        raise UsageError("the list would have no signer, and scanners would accept no bundle any more; add one with --add NAME=KEY.pub")
    new = SignerList(
        version=before.version + 1 if before else 1,
        created=now or datetime.now(UTC),
        allowed_signers="".join(f"{line}\n" for line in lines),
        krl=base64.b64encode(krl) if krl is not None else None,
        revoked_technicians=tuple(names),
    )
    content = new.model_dump_json(by_alias=True)
    signed = SignedList(content=content, signature=sign(content.encode(), key, SIGNERS.namespace).decode("ascii"))
    write_atomically(path, signed.model_dump_json(indent=2) + "\n")
    return new


def _revoked(before: SignerList | None, lines: Sequence[str], revoke: Sequence[str]) -> tuple[set[str], bytes | None, list[str]]:
    """Return the fingerprints to revoke now, the whole revocation list, and the names whose access is revoked."""
    names = list(before.revoked_technicians) if before else []
    gone: set[str] = set()
    for what in revoke:
        if _FINGERPRINT.fullmatch(what):
            gone.add(what)
            continue
        if what.endswith(".pub"):
            gone.add(_fingerprint(_public_key(Path(what))))
            continue
        held = {_fingerprint(line) for line in lines if _is_key(line) and what in line.split()[0].split(",")}
        if not held and what not in names:
            raise UsageError(f"{what!r} is not in the list; give a name of it, a fingerprint SHA256:… or a file KEY.pub")
        gone |= held
        names += [what] if what not in names else []
    krl = before.krl if before else None
    return gone, _with_revoked(krl, gone) if gone else krl, names


def _with_revoked(krl: bytes | None, fingerprints: set[str]) -> bytes:
    """Return a key revocation list with more keys."""
    with tempfile.TemporaryDirectory() as folder:
        file, spec = Path(folder) / "krl", Path(folder) / "spec"
        spec.write_text("".join(f"hash: {fingerprint}\n" for fingerprint in sorted(fingerprints)))
        if krl is not None:
            file.write_bytes(krl)
        _keygen("-q", "-k", *(["-u"] if krl is not None else []), "-f", str(file), str(spec))
        return file.read_bytes()


def _is_key(line: str) -> bool:
    return not line.lstrip().startswith("#") and _KEY.search(line) is not None


def _public_key(file: Path) -> str:
    """Return type and key of a file with one public key."""
    found = _KEY.search(_read(file))
    if found is None:
        raise UsageError(f"{file}: not an SSH public key; give the file that ends in .pub")
    return found[1]


def _fingerprint(line: str) -> str:
    """Return the fingerprint of the key in a line."""
    found = _KEY.search(line)
    if found is None:
        raise UsageError(f"{line[:60]!r} has no SSH public key")
    return _keygen("-lf", "-", text=found[1] + "\n").split()[1]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give another file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not text in UTF-8; give another file") from error


def _keygen(*options: str, text: str = "") -> str:
    try:
        done = subprocess.run(["ssh-keygen", *options], input=text, capture_output=True, text=True, timeout=30.0, check=False)
    except FileNotFoundError:
        raise UsageError("ssh-keygen is not installed; install the package openssh-client") from None
    if done.returncode:
        raise DataError(f"ssh-keygen {options[0]}: {done.stderr.strip() or 'no reason given'}; check the key")
    return done.stdout
