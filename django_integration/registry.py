"""The Mailers of this process, and the AsyncMailers of its event loops: one per configuration.

Django makes a new backend for each message. Connections must outlive it, so the Mailers
that own them are kept here.
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

from mailbackends import AsyncMailer, Mailer, MailerStats, Options
from mailbackends.integration import LoopMailers

__all__ = ["DEFAULT_LIMIT", "MailerKey", "Registry", "async_registry", "registry"]

DEFAULT_LIMIT = 32
"""The number of Mailers kept at once, unless ``MAILBACKENDS_MAX_POOLS`` is set."""


@dataclass(frozen=True)
class MailerKey:
    """What a `Mailer` is made from. Equal keys share a Mailer, and so its connections."""

    servers: tuple[Options, ...]
    """The server, and further ones for mail that it does not accept for now."""
    strategy: Literal["ordered", "round_robin"] = "ordered"

    @cached_property
    def _hash(self) -> int:
        return hash((self.servers, self.strategy))

    def __hash__(self) -> int:
        """Computed once: it covers all options, and each message needs it."""
        return self._hash


class _Entry:
    """A Mailer, and the number of ``with`` blocks of `Registry.mailer` that use it now."""

    __slots__ = ("is_dropped", "mailer", "registry", "users")

    def __init__(self, mailer: Mailer, registry: Registry) -> None:
        self.mailer: Mailer = mailer
        self.registry: Registry = registry
        self.users: int = 0
        self.is_dropped: bool = False

    def __enter__(self) -> Mailer:
        return self.mailer

    def __exit__(self, *exc: object) -> None:
        self.registry.leave(self)


class Registry:
    """Mailers by key. Beyond ``limit``, the least recently used Mailer is closed.

    Without a limit, one Mailer per tenant or per set of credentials would grow for ever.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._entries: OrderedDict[MailerKey, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def mailer(self, key: MailerKey) -> AbstractContextManager[Mailer]:
        """The Mailer for ``key``, which stays open until the ``with`` block ends."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
                entry.users += 1
                return entry
            mailer = Mailer(key.servers, strategy=key.strategy)
            entry = self._entries[key] = _Entry(mailer, self)
            entry.users += 1
            dropped = self._drop(len(self._entries) - max(1, self._limit()))
        _close(dropped)
        return entry

    def leave(self, entry: _Entry) -> None:
        """End a block. The last user of a Mailer that was dropped meanwhile closes it."""
        with self._lock:
            entry.users -= 1
            is_last = entry.is_dropped and entry.users == 0
        if is_last:
            entry.mailer.close()

    def stats(self) -> dict[MailerKey, MailerStats]:
        """The statistics of each Mailer, the most recently used one last."""
        with self._lock:
            entries = [(key, entry.mailer) for key, entry in self._entries.items()]
        return {key: mailer.stats() for key, mailer in entries}

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
        """In a forked child, forget the lock and the uses of threads that do not exist there.

        The pools handle the fork themselves.
        """
        self._lock = threading.Lock()
        for entry in self._entries.values():
            entry.users = 0


def _close(entries: list[_Entry]) -> None:
    for entry in entries:
        entry.mailer.close()


def _limit() -> int:
    value: Any = getattr(settings, "MAILBACKENDS_MAX_POOLS", DEFAULT_LIMIT)
    return int(value)


registry: Registry = Registry(_limit)
"""The registry of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=registry.after_fork)


def _follow_settings(*, setting: str, **kwargs: Any) -> None:
    if setting.startswith(("EMAIL_", "MAILBACKENDS")) or setting == "MAILERS":
        registry.close()
        async_registry.close()


setting_changed.connect(_follow_settings, dispatch_uid="mailbackends")


async_registry: LoopMailers[MailerKey] = LoopMailers(
    lambda key: AsyncMailer(key.servers, strategy=key.strategy), _limit
)
"""The AsyncMailers of this process."""
