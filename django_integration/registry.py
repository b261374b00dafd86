"""The Mailers of this process: one for each configuration, shared by all requests.

Django makes a new backend for each message. What must outlive it, the connections,
stands here.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed

from mailbackends import Mailer, Options

__all__ = ["DEFAULT_LIMIT", "Registry", "registry"]

DEFAULT_LIMIT = 32
"""Pools that are kept at once, unless ``MAILBACKENDS_MAX_POOLS`` says otherwise."""


@dataclass(slots=True)
class _Entry:
    mailer: Mailer
    users: int = 0
    is_dropped: bool = False


class Registry:
    """Mailers by their options. More than ``limit``, and the least recently used is closed.

    One per tenant or per call with its own credentials would otherwise grow without end.
    """

    def __init__(self, limit: Callable[[], int]) -> None:
        self._limit = limit
        self._entries: OrderedDict[Options, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def mailer(self, options: Options) -> Iterator[Mailer]:
        """The Mailer for ``options``, which is not closed before the block ends."""
        with self._lock:
            entry = self._entries.get(options)
            if entry is None:
                entry = self._entries[options] = _Entry(Mailer(options))
            self._entries.move_to_end(options)
            entry.users += 1
            dropped = self._drop(len(self._entries) - max(1, self._limit()))
        _close(dropped)
        try:
            yield entry.mailer
        finally:
            with self._lock:
                entry.users -= 1
                is_last = entry.is_dropped and entry.users == 0
            if is_last:
                entry.mailer.close()

    def stats(self) -> dict[Options, Any]:
        """What each pool says of itself, by its options; the most recently used last."""
        with self._lock:
            entries = [(options, entry.mailer) for options, entry in self._entries.items()]
        return {options: mailer.stats() for options, mailer in entries}

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
