"""Runs driver calls in a thread of their own, so that a call that never returns blocks that thread and not the program."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar, cast

from edge.errors import DriverHungError

Result = TypeVar("Result")

_SLICE_S = 0.1
"""Interval at which a waiting caller checks ``cancelled``."""


class DriverThread:
    """Runs calls one after the other in a daemon thread. Must be used by one caller at a time.

    ``abandoned`` is set when a call did not return in time. A function that returns from its driver call after that must not change any
    state.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Callable[[], object], Future[object]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._alive_s = time.monotonic()
        self.abandoned = threading.Event()
        self._thread.start()

    def call(self, function: Callable[[], Result], timeout_s: float, cancelled: Callable[[], bool] = lambda: False) -> Result:
        """Run ``function`` in the thread and return its result, or raise its exception.

        Raises ``DriverHungError`` if it neither returns nor calls ``keep_alive`` within ``timeout_s``, or if it does not return soon after
        ``cancelled()`` becomes true. The function keeps running in that case, and only ``finish`` may be called afterwards.
        """
        future: Future[object] = Future()
        self._alive_s = time.monotonic()
        self._calls.put((function, future))
        while True:
            remaining_s = self._alive_s + timeout_s - time.monotonic()
            try:
                return cast("Result", future.result(max(0.0, min(_SLICE_S, remaining_s))))
            except TimeoutError:
                if future.done():  # the function itself raised TimeoutError, or has just returned
                    return cast("Result", future.result())
                if self._alive_s + timeout_s <= time.monotonic() or cancelled():
                    self.abandoned.set()
                    raise DriverHungError(f"{self._thread.name}: a call did not return within {timeout_s:g} s") from None

    def keep_alive(self) -> None:
        """Restart the time limit of the current call. Called by its function, in the thread."""
        self._alive_s = time.monotonic()

    def finish(self, last: Callable[[], object], timeout_s: float) -> bool:
        """Run ``last`` after the current call and end the thread; return whether that took at most ``timeout_s``.

        If not, the thread is abandoned, and still runs ``last`` if its call ever returns.
        """
        self._calls.put((last, Future()))
        self._calls.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            function, future = item
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                future.set_exception(error)
