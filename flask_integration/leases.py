"""The backend of a mailer, replaced and closed while threads still send over it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import ClassVar

from flask_integration.backends import Backend

__all__ = ["BackendLease", "CurrentBackend"]

# Held only to count and to exchange backends, never while a message is sent.
_lock = threading.RLock()


class CurrentBackend:
    """The backend that new messages go to, created by ``make`` for the first one.

    A backend that is dropped while it is leased is closed by the last of its leases: messages
    that wait for a connection are still sent.
    """

    def __init__(self) -> None:
        self._current: _OpenBackend | None = None
        self._open: list[_OpenBackend] = []  # the current one, and those that are still leased
        self._executor: tuple[int, Executor] | None = None

    def __eq__(self, other: object) -> bool:
        # As Flask-Mail's: states that have the same settings are equal in all attributes.
        return isinstance(other, CurrentBackend) and self._open == other._open

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def get(self, make: Callable[[], Backend]) -> Backend:
        """Return the backend."""
        return self._get(make).backend

    def peek(self) -> Backend | None:
        """Return the backend, or None if there is none yet."""
        current = self._current
        return current.backend if current else None

    def executor(self, size: Callable[[], int]) -> Executor:
        """Return the threads for asynchronous callers, as many as ``size()`` says."""
        with _lock:
            # A forked child has none of its parent's threads.
            if self._executor is None or self._executor[0] != os.getpid():
                self._executor = os.getpid(), ThreadPoolExecutor(size(), "flask-mail")
            return self._executor[1]

    def drop(self) -> None:
        """Let the next message have a new backend, and close this one after its last lease."""
        with _lock:
            dropped, self._current, self._executor = self._current, None, None
        if dropped:
            self._close_unused(dropped)

    def close_all(self) -> None:
        """Close all backends now, even those that are leased."""
        for each in self._open:
            each.backend.close()

    def _get(self, make: Callable[[], Backend]) -> _OpenBackend:
        with _lock:
            if self._current is None:
                self._current = _OpenBackend(make())
                self._open.append(self._current)
            return self._current

    def _close_unused(self, dropped: _OpenBackend) -> None:
        with _lock:
            if dropped is self._current or dropped.leases or dropped not in self._open:
                return
            self._open.remove(dropped)
        dropped.backend.close()


class _OpenBackend:
    """A backend, and how many leases it has."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.leases = 0


class BackendLease:
    """A context manager that uses the current backend: it is not closed before the block ends."""

    def __init__(self, current: CurrentBackend, make: Callable[[], Backend]) -> None:
        self._owner = current
        self._make = make

    def __enter__(self) -> Backend:
        with _lock:
            self._leased = self._owner._get(self._make)
            self._leased.leases += 1
        return self._leased.backend

    def __exit__(self, *exc: object) -> None:
        with _lock:
            self._leased.leases -= 1
        self._owner._close_unused(self._leased)
