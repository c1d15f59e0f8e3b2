"""Run a command of cardedge and kill it (SIGKILL) just before one of its changes to a folder, like a power cut.

    python killed.py NUMBER FOLDER LOG ARGUMENTS...

NUMBER counts the changes from 1; 0 lets the command finish. Each change is written to LOG, so that a first run lists the possible cuts.
"""

import os
import signal
import sys
from pathlib import Path

from edge.cli.main import main

CHANGES = {"open", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate"}


def change(event, arguments, folder):
    """Return the change below the folder that an audit event of Python stands for, as text; None if there is none."""
    if event not in CHANGES:
        return None
    if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        return None
    path = arguments[1] if event in {"os.link", "os.symlink"} else arguments[0]
    if not isinstance(path, str | os.PathLike) or not os.path.abspath(path).startswith(folder):  # noqa: PTH100 - no link is followed
        return None
    return f"{event} {os.path.relpath(path, folder)}"


def watch(number, folder, log):
    count = 0

    def hook(event, arguments):
        nonlocal count
        if (what := change(event, arguments, folder)) is None:
            return
        count += 1
        os.write(log, f"{what}\n".encode())
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


if __name__ == "__main__":
    watch(int(sys.argv[1]), str(Path(sys.argv[2]).resolve()), os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    sys.exit(main(sys.argv[4:]))
