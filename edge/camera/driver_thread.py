"""A thread for calls into a driver, so that one that never returns costs a thread and not the program."""

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
"""How soon a waiting caller notices that it should give up."""


class DriverThread:
    """Runs calls one after the other in a daemon thread. One caller at a time."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Callable[[], object], Future[object]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, function: Callable[[], Result], timeout_s: float, given_up: Callable[[], bool] = lambda: False) -> Result:
        """Return what ``function`` returns, or raise what it raises.

        Raises ``DriverHungError`` when it has not returned after ``timeout_s``, or soon after ``given_up()`` becomes true. The call
        itself goes on: afterwards only ``finish`` makes sense.
        """
        future: Future[object] = Future()
        self._calls.put((function, future))
        deadline_s = time.monotonic() + timeout_s
        while True:
            remaining_s = deadline_s - time.monotonic()
            try:
                return cast("Result", future.result(max(0.0, min(_SLICE_S, remaining_s))))
            except TimeoutError:
                if future.done():  # the function's own TimeoutError, or it returned this very moment
                    return cast("Result", future.result())
                if remaining_s <= _SLICE_S or given_up():
                    raise DriverHungError(f"{self._thread.name}: a call did not return within {timeout_s:g} s") from None

    def finish(self, last: Callable[[], object], timeout_s: float) -> bool:
        """End the thread once its call has returned and ``last`` has run; return whether that was within ``timeout_s``.

        When it was not, the thread is left behind and still runs ``last`` should its call ever return.
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
