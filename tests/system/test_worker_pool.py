"""Pools of threads that run before the first task comes."""

import threading

import pytest

from edge.errors import DeviceError
from edge.system.worker_pool import start_pool


def refuse(_thread):
    raise RuntimeError("can't start new thread")


def test_no_task_starts_a_thread(monkeypatch):
    pool = start_pool(3, "some")
    monkeypatch.setattr(threading.Thread, "start", refuse)
    together = threading.Barrier(3, timeout=60)
    assert sorted(task.result(60) for task in [pool.submit(together.wait) for _ in range(3)]) == [0, 1, 2]
    pool.shutdown()


def test_threads_that_cannot_be_started_are_an_error_with_what_to_do(monkeypatch):
    started = []

    def start_one(thread, real=threading.Thread.start):
        if started:
            refuse(thread)
        started.append(thread)
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start_one)
    with pytest.raises(DeviceError, match=r"threads for 'some' cannot be started \(can't start new thread\); raise the limit"):
        start_pool(2, "some")
    started[0].join(60)
    assert not started[0].is_alive(), "nothing waits for the thread that is missing"
