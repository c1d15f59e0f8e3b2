"""Signing with an SSH key, directly or through an agent."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from edge.errors import SignatureError, UsageError

_TIMEOUT_S: Final = 300.0
"""A hardware key waits for a touch, a locked one for its passphrase."""


def sign(content: bytes, key: Path, namespace: str) -> bytes:
    """Return the armored signature of ``content``. Raises ``SignatureError``, or ``UsageError`` without the key or ssh-keygen.

    ``key`` is the file of a private key, or of a public key whose private key is held by the agent or a security key.
    """
    if not key.is_file():
        raise UsageError(f"{key}: file not found; give a key's file (the public key if an agent or security key holds the private one)")
    try:
        # ssh-keygen prompts for passphrases and touches on the terminal
        signed = subprocess.run(
            ["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", namespace],
            input=content,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError:
        raise UsageError("ssh-keygen is not installed; install the package openssh-client") from None
    except subprocess.TimeoutExpired:
        raise SignatureError(f"{key}: the key was not unlocked or touched within {_TIMEOUT_S:.0f} s; try again") from None
    if signed.returncode or not signed.stdout:
        reason = (signed.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
        raise SignatureError(f"ssh-keygen did not sign with {key} ({reason}); is the key in the agent, or locked?")
    return signed.stdout
