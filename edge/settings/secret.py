"""Reads passwords and tokens from files and systemd credentials."""

from __future__ import annotations

import os
from pathlib import Path

from edge.errors import SettingsError


def read_secret(file: Path | None, *, credential: str, key: str) -> str | None:
    """Return the secret in ``file`` or, without ``file``, in the systemd credential; None if there is neither.

    A byte order mark and the line end are not part of it.
    Raises ``SettingsError``, which names the settings key, for a file that cannot be read.
    """
    if file is None and (folder := os.environ.get("CREDENTIALS_DIRECTORY")):
        stored = Path(folder) / credential
        file = stored if stored.exists() else None
    if file is None:
        return None
    try:
        return file.read_text(encoding="utf-8-sig").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{key}: {file}: {error}; it must be readable and contain nothing but the secret") from error
