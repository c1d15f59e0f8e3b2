"""Python's search for unreachable cycles of objects, which takes time in proportion to all objects that a process holds."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def long_lived_objects() -> Iterator[None]:
    """Suspend the search while tens of thousands of objects are made that are kept, and leave all objects out of later searches.

    A search of a process with a large gallery holds the interpreter lock for longer than a frame, and finds nothing: cards and their ids
    form no cycles, and are released by their reference counts as before. Cycles that other threads happen to drop meanwhile are kept.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
