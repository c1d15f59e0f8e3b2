"""Explains a denied access to a file: which file or folder denies it, who may access it, and what to do."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Final

from edge.errors import EdgeError

FIRST_LOGIN_UID: Final = 1000
"""Users below are those of services, in Debian Policy 9.2.2."""


def error_message(error: EdgeError | PermissionError) -> str:
    """Return the message of an error and, if a denied access caused it, who may access the file and what to do."""
    message = str(error) if isinstance(error, EdgeError) else "permission denied"
    return message + (_explanation(error) or ("" if isinstance(error, EdgeError) else f": {error}"))


def _explanation(error: BaseException) -> str:
    """Return the continuation of an error message that says who may access the file; empty unless ``error`` is a denied access.

    Recognizes a ``PermissionError`` also as the cause of another error.
    """
    denied: BaseException | None = error
    while denied is not None and not isinstance(denied, PermissionError):
        denied = denied.__cause__ or denied.__context__
    if denied is None or not isinstance(denied.filename, (str, bytes)):
        return ""
    place = _denying(Path(os.fsdecode(denied.filename)).absolute())
    user = _user_name(os.geteuid())
    try:
        status = place.stat()
    except OSError:
        return f": {place}: user {user} may not access it; run the command with sudo"
    owner = _user_name(status.st_uid)
    denial = f": {place} belongs to {owner} (mode {status.st_mode & 0o7777:04o}), and user {user} may not access it; "
    if place.is_file() and os.geteuid() < FIRST_LOGIN_UID:
        # a service cannot be run as another user: its files, such as that of a password, must be its own
        return f"{denial}make it that user's: sudo chown {user} {place}"
    who = "root (with sudo)" if owner in {"root", user} else f"{owner} (sudo -u {owner}) or root (with sudo)"
    return f"{denial}run the command as {who}, or copy the files to a folder that {user} can use"


def _denying(path: Path) -> Path:
    """Return the file or folder that denies the access to ``path``: the first folder that cannot be entered, else the nearest one."""
    for folder in reversed(path.parents):
        if not os.access(folder, os.X_OK):
            return folder
    existing = next(place for place in (path, *path.parents) if os.path.lexists(place))
    is_usable = os.access(existing, os.R_OK | os.W_OK) and existing == path
    return existing.parent if is_usable else existing


def _user_name(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)
