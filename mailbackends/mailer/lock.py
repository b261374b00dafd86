"""A lock that survives a fork."""

from __future__ import annotations

import os
import threading
from weakref import WeakSet

__all__ = ["ProcessLock"]


class ProcessLock:
    """A lock for a few lines at a time: ``with lock.here:``. A forked child finds it free.

    An ordinary lock that another thread of the parent held at the moment of the fork
    would stay locked in the child for ever: that thread is not there.
    """

    def __init__(self) -> None:
        # Reentrant: what is collected as garbage may come here while this thread is inside.
        self.here = threading.RLock()
        """The lock of this process, to be asked for anew each time."""
        _all.add(self)


_all: WeakSet[ProcessLock] = WeakSet()


def _after_fork_in_child() -> None:
    for lock in tuple(_all):
        lock.here = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
