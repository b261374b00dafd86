"""Upkeep of a Mailer's connections: `Upkeep` for threads and event loops, and the thread.

A thread (here) or tasks of an event loop (`aio_upkeep`) run `Upkeep.round`, sleep, and run it
again. Between two rounds they have only weak references, so that a Mailer that nobody uses is
collected as garbage and ends them; they keep neither the process nor the event loop alive.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from math import inf
from typing import Protocol

from mailbackends.mailer.server import Server
from mailbackends.pool.maintenance import maintain
from mailbackends.pool.process import ProcessLock
from mailbackends.transport.waiting import run

__all__ = ["LOOK", "Keeper", "ThreadKeeper", "Upkeep", "keep"]

logger: logging.Logger = logging.getLogger("mailbackends.pool")

# Seconds until the next round after a fault of our own.
_AFTER_A_FAULT = 60.0
# The same where no server is in service.
_WITHOUT_A_SERVER = 5.0
_SHORTEST = 0.01
LOOK = 0.01
"""Seconds between two looks of `Mailer.warm_up`."""


class Upkeep:
    """The upkeep of several servers' connections. Thread-safe, but for `round`.

    With ``is_ordered`` only the server to which the next message would go first is kept warm;
    else all. A server that failed several times in a row is left alone until messages go there
    again, unless it is the only one.
    """

    def __init__(self, servers: Sequence[Server], *, is_ordered: bool) -> None:
        self._servers = tuple(servers)
        self._is_ordered = is_ordered

    def servers(self) -> list[Server]:
        """Those whose connections are kept ready now."""
        if len(self._servers) == 1:
            return list(self._servers)
        found = [server for server in self._servers if server.is_in_service]
        if self._is_ordered:
            found = found[:1]
        return [server for server in found if server.pool.min_idle]

    @property
    def is_settled(self) -> bool:
        """True if each has its connections, or could not be reached."""
        return all(server.pool.is_settled for server in self.servers())

    @property
    def ready(self) -> int:
        """The idle connections, up to ``min_idle`` for each server."""
        return sum(min(server.pool.stats().idle, server.pool.min_idle) for server in self.servers())

    async def round(self, goes_on: Callable[[], bool]) -> float:
        """Do what is due, and return the seconds until something else is.

        `math.inf` means never, as the pools are closed. Once ``goes_on`` returns False, it ends.
        """
        try:
            times = [
                await maintain(server.pool, server.open_ahead, goes_on) for server in self.servers()
            ]
        except Exception:
            logger.exception("upkeep failed; it is tried again in %.0f s", _AFTER_A_FAULT)
            return _AFTER_A_FAULT
        if not times:
            return _WITHOUT_A_SERVER
        return max(_SHORTEST, min(times) - time.monotonic())


class Keeper(Protocol):
    """Runs the rounds of an `Upkeep`."""

    def nudge(self) -> None:
        """Run a round soon. From any thread, and in a forked child, where it starts anew."""


def keep(servers: Sequence[Server], keeper: Keeper) -> None:
    """Have ``keeper`` nudged where a pool of these servers has too few idle connections."""
    for server in servers:
        server.pool.on_shortage = functools.partial(_nudge, weakref.ref(keeper))


def _nudge(ref: weakref.ref[Keeper]) -> None:
    if (keeper := ref()) is not None:
        keeper.nudge()


class _Alarm:
    """Ends the sleep of a thread. Usable in finalizers: it has no lock that could be taken."""

    def __init__(self) -> None:
        # Looked up now, not at import: gevent may have replaced it since.
        self._gate = threading.Lock()
        self._gate.acquire()
        self.has_ended = False

    def ring(self) -> None:
        with contextlib.suppress(RuntimeError):  # it rings already
            self._gate.release()

    def end(self) -> None:
        self.has_ended = True
        self.ring()

    def sleep(self, seconds: float) -> None:
        self._gate.acquire(timeout=min(seconds, threading.TIMEOUT_MAX))


class ThreadKeeper:
    """One background thread, from the first `nudge` on."""

    def __init__(self, upkeep: Upkeep) -> None:
        self.upkeep = upkeep
        self._alarm: _Alarm | None = None
        self._pid = os.getpid()
        self._lock = ProcessLock()

    def nudge(self) -> None:
        """See `Keeper.nudge`."""
        alarm = self._alarm
        if alarm is not None and not alarm.has_ended and self._pid == os.getpid():
            alarm.ring()
            return
        with self._lock.here:
            if alarm is not self._alarm:
                return  # another thread has started it
            self._pid, self._alarm = os.getpid(), _Alarm()
            thread = threading.Thread(
                target=_work,
                args=(self._alarm, weakref.ref(self)),
                name="mailbackends-upkeep",
                daemon=True,
            )
            try:
                thread.start()
            except RuntimeError:
                # At the end of the process, or with too many threads: the next one tries again.
                self._alarm.end()

    def warm_up(self, timeout: float) -> int:
        """Begin now; see `Mailer.warm_up`."""
        self.nudge()
        end = time.monotonic() + timeout
        while not self.upkeep.is_settled and time.monotonic() < end:
            time.sleep(LOOK)
        return self.upkeep.ready

    def stop(self) -> None:
        """End the thread soon. The next `nudge` starts another."""
        if self._alarm is not None:
            self._alarm.end()

    def __del__(self) -> None:
        self.stop()


def _work(alarm: _Alarm, ref: weakref.ref[ThreadKeeper]) -> None:
    try:
        while not alarm.has_ended:
            keeper = ref()
            if keeper is None:
                return
            upkeep = keeper.upkeep
            del keeper
            seconds = run(upkeep.round(lambda: not alarm.has_ended))
            del upkeep
            if seconds == inf:
                alarm.end()
            alarm.sleep(seconds)
    finally:
        # Also after a SystemExit, from an event hook for example: the next `nudge` starts another.
        alarm.end()
