"""What happens to pools and locks when their process forks, and when it exits.

This module has only weak references to them, which keep none of them alive.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol
from weakref import WeakSet, WeakValueDictionary

__all__ = ["EXIT_SECONDS", "ProcessLock", "watch"]

# Long enough to write QUIT on a few dozen connections, and short enough not to delay the exit
# noticeably; gunicorn and Celery allow their workers 10 s and more.
EXIT_SECONDS = 1.5


class Watched(Protocol):
    """The methods of a pool that are called here."""

    def leave_parent(self) -> None:
        """Drop the connections inherited from the parent process."""

    def close(self, timeout: float = ...) -> None:
        """Close politely within `timeout` seconds."""


_watched: WeakValueDictionary[int, Watched] = WeakValueDictionary()


def watch(pool: Watched) -> None:
    """Have `pool` called in a forked child, and when the process exits."""
    _watched[id(pool)] = pool


def _living() -> list[Watched]:
    # `valuerefs` copies in one step, so that a pool made or freed meanwhile disturbs nothing.
    return [pool for ref in _watched.valuerefs() if (pool := ref()) is not None]


class ProcessLock:
    """A lock for a few lines at a time: ``with lock.here:``. A forked child finds it free.

    An ordinary lock that another thread of the parent held at the moment of the fork
    would stay locked in the child for ever: that thread does not exist there.
    """

    def __init__(self) -> None:
        # Reentrant: a finalizer may come here while this thread is inside.
        self.here: threading.RLock = threading.RLock()
        """The lock of this process; look it up anew each time."""
        _locks.add(self)


_locks: WeakSet[ProcessLock] = WeakSet()


def _after_fork_in_child() -> None:
    for lock in tuple(_locks):
        lock.here = threading.RLock()
    for pool in _living():
        pool.leave_parent()


def _at_exit() -> None:
    """Close all pools within `EXIT_SECONDS`; then drop what is left without QUIT."""
    end = time.monotonic() + EXIT_SECONDS
    try:
        with _alarm(EXIT_SECONDS):
            for pool in _living():
                pool.close(timeout=max(0.0, end - time.monotonic()))
    except _TimeIsUp:
        for pool in _living():
            pool.close(timeout=0.0)


class _TimeIsUp(SystemExit):
    """Raised by the alarm.

    It is a `SystemExit`, because gevent passes no other exception from the signal handler to
    the waiting greenlet.
    """


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Interrupt the block with `_TimeIsUp` after `seconds`, even in a call that hangs.

    A thread cannot do that: since Python 3.12 none may be started while the interpreter
    ends. If no alarm can be set (outside the main thread, on Windows), or the application uses it
    already, only the pools themselves watch the time.
    """
    if (
        not hasattr(signal, "setitimer")
        or threading.current_thread() is not threading.main_thread()
        or signal.getitimer(signal.ITIMER_REAL)[0]
        or (previous := signal.getsignal(signal.SIGALRM)) is None
    ):
        yield
        return

    def ring(signum: int, frame: FrameType | None) -> None:
        raise _TimeIsUp

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
