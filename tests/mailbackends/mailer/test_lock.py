"""The lock: ordinary within a process, and free in a forked child."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from mailbackends.pool.process import ProcessLock


def test_it_keeps_the_other_threads_out() -> None:
    lock = ProcessLock()
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(200):
            with lock.here:
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) == 1600


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_another_thread_holds_it_finds_it_free() -> None:
    lock = ProcessLock()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with lock.here:
            held.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(20)
    pid = os.fork()
    if pid == 0:  # pragma: no cover - in the child
        signal.alarm(10)  # a lock that is not free would block the test forever
        with lock.here:
            os._exit(7)
    _, status = os.waitpid(pid, 0)
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 7
