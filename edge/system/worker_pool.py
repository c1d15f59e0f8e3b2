"""Pools of threads that run before the first task comes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from edge.errors import DeviceError


def start_pool(threads: int, name: str, initializer: Callable[[], None] | None = None) -> ThreadPoolExecutor:
    """Return a pool whose threads run already, so that no task ever has to start one and fails where the system has no more threads.

    Raises ``DeviceError`` if they cannot be started.
    """
    pool = ThreadPoolExecutor(threads, name, initializer)
    together = threading.Barrier(threads)  # a thread that has nothing to do would take the next task instead of another thread
    try:
        for task in [pool.submit(together.wait) for _ in range(threads)]:
            task.result()
    except RuntimeError as error:
        together.abort()
        pool.shutdown(wait=False, cancel_futures=True)
        raise DeviceError(f"the threads for {name!r} cannot be started ({error}); raise the limit of threads (TasksMax=)") from error
    return pool
