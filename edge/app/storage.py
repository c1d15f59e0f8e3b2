"""Finds state of the scanner that is stored in memory and lost when the power fails."""

from __future__ import annotations

import tempfile
from pathlib import Path

from edge.settings.sections import Settings
from edge.system import machine


def memory_storage(settings: Settings, *, temporary: bool = True) -> str | None:
    """Return a warning that names each folder of the scanner that is in memory, None if all are on a disk.

    Without ``temporary``, folders in the system's directory for temporary files are not reported: a demo or a test keeps its state there.
    """
    folders = {"outbox": settings.outbox.file.parent, "index": settings.index.directory}
    if settings.http.enabled:
        folders["corrections"] = settings.http.review_dir
    found = []
    for name, folder in folders.items():
        kind = machine.memory_file_system(folder)
        if kind is not None and (temporary or not folder.absolute().is_relative_to(Path(tempfile.gettempdir()))):
            found.append(f"{name} {folder} ({kind})")
    if not found:
        return None
    return (
        f"{', '.join(found)}: stored in memory and lost when the power fails; use a writable partition, "
        'see "Read-only root file system" in docs/raspberry-pi.md'
    )
