"""A lock that survives a fork."""

from __future__ import annotations

import os
import threading

__all__ = ["ProcessLock"]


class ProcessLock:
    """A lock for a few lines at a time. A forked child finds it free.

    An ordinary lock that another thread of the parent held at the moment of the fork
    would stay locked in the child for ever: that thread is not there.
    """

    def __init__(self) -> None:
        # Reentrant: what is collected as garbage may come here while this thread is inside.
        self._locks: dict[int, threading.RLock] = {_process: threading.RLock()}

    def __enter__(self) -> None:
        lock = self._locks.get(_process)
        if lock is None:
            # One step, so that threads that come here at once agree on the new lock.
            lock = self._locks.setdefault(_process, threading.RLock())
        lock.acquire()

    def __exit__(self, *exc: object) -> None:
        self._locks[_process].release()


# The process we are in, known without a system call: these locks are taken several times
# for each message.
_process = os.getpid()


def _after_fork_in_child() -> None:
    global _process
    _process = os.getpid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
