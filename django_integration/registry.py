"""The Mailers of this process: one for each configuration, shared by all requests.

Django makes a new backend for each message. What must outlive it, the connections,
stands here.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from django.conf import settings
from django.core.signals import setting_changed

from mailbackends import Mailer, MailerStats, Options

__all__ = ["DEFAULT_LIMIT", "Registry", "Route", "registry"]

DEFAULT_LIMIT = 32
"""Pools that are kept at once, unless ``MAILBACKENDS_MAX_POOLS`` says otherwise."""


@dataclass(frozen=True)
class Route:
    """Where the mail of one configuration goes: what one `Mailer` is made of."""

    servers: tuple[Options, ...]
    """The server, and those for what it does not take for now."""
    strategy: Literal["ordered", "round_robin"] = "ordered"

    @cached_property
    def _hash(self) -> int:
        return hash((self.servers, self.strategy))

    def __hash__(self) -> int:
        """Of all options there are, so it is remembered: each message asks for it."""
        return self._hash


class _Entry:
    """A Mailer, and how many use it now: each in the block that `Registry.mailer` begins."""

    __slots__ = ("is_dropped", "mailer", "registry", "users")

    def __init__(self, mailer: Mailer, registry: Registry) -> None:
        self.mailer = mailer
        self.registry = registry
        self.users = 0
        self.is_dropped = False

    def __enter__(self) -> Mailer:
        return self.mailer

    def __exit__(self, *exc: object) -> None:
        self.registry.leave(self)


class Registry:
    """Mailers by their routes. More than ``limit``, and the least recently used is closed.

    One per tenant or per call with its own credentials would otherwise grow without end.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._entries: OrderedDict[Route, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def mailer(self, route: Route) -> AbstractContextManager[Mailer]:
        """The Mailer for ``route``, which is not closed before the ``with`` block ends."""
        with self._lock:
            entry = self._entries.get(route)
            if entry is not None:
                self._entries.move_to_end(route)
                entry.users += 1
                return entry
            mailer = Mailer(route.servers, strategy=route.strategy)
            entry = self._entries[route] = _Entry(mailer, self)
            entry.users += 1
            dropped = self._drop(len(self._entries) - max(1, self._limit()))
        _close(dropped)
        return entry

    def leave(self, entry: _Entry) -> None:
        """The end of a block: where a Mailer was pushed out meanwhile, its last user closes it."""
        with self._lock:
            entry.users -= 1
            is_last = entry.is_dropped and entry.users == 0
        if is_last:
            entry.mailer.close()

    def stats(self) -> dict[Route, MailerStats]:
        """What each Mailer says of itself; the most recently used last."""
        with self._lock:
            entries = [(route, entry.mailer) for route, entry in self._entries.items()]
        return {route: mailer.stats() for route, mailer in entries}

    def close(self) -> None:
        """Close all Mailers. The next message makes a new one."""
        with self._lock:
            dropped = self._drop(len(self._entries))
        _close(dropped)

    def _drop(self, count: int) -> list[_Entry]:
        dropped = [self._entries.popitem(last=False)[1] for _ in range(count)]
        for entry in dropped:
            entry.is_dropped = True
        return [entry for entry in dropped if entry.users == 0]

    def after_fork(self) -> None:
        """In the child: what other threads held, they hold no more. Pools mend themselves."""
        self._lock = threading.Lock()
        for entry in self._entries.values():
            entry.users = 0


def _close(entries: list[_Entry]) -> None:
    for entry in entries:
        entry.mailer.close()


registry = Registry(lambda: int(getattr(settings, "MAILBACKENDS_MAX_POOLS", DEFAULT_LIMIT)))
"""The one of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=registry.after_fork)


def _follow_settings(*, setting: str, **kwargs: Any) -> None:
    if setting.startswith(("EMAIL_", "MAILBACKENDS")) or setting == "MAILERS":
        registry.close()


setting_changed.connect(_follow_settings, dispatch_uid="mailbackends")
