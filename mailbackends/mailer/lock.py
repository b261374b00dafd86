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
        self._locks: dict[int, threading.Lock] = {os.getpid(): threading.Lock()}

    def __enter__(self) -> None:
        pid = os.getpid()
        lock = self._locks.get(pid)
        if lock is None:
            # One step, so that threads that come here at once agree on the new lock.
            lock = self._locks.setdefault(pid, threading.Lock())
        lock.acquire()

    def __exit__(self, *exc: object) -> None:
        self._locks[os.getpid()].release()
