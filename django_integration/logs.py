"""The log of the backend, ``mailbackends.django``, safe beside ``AdminEmailHandler``.

A handler that sends mail, and a mail that cannot be sent and says so in the log: each
would call the other for ever. So whatever is sent while another message is being sent, by
a log handler or a receiver of a signal, leaves no trace in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["depth", "logger", "sending"]

logger = logging.getLogger("mailbackends.django")

_depth: ContextVar[int] = ContextVar("mailbackends_sending", default=0)


@contextmanager
def sending() -> Iterator[None]:
    """Around each call that sends."""
    token = _depth.set(_depth.get() + 1)
    try:
        yield
    finally:
        _depth.reset(token)


def depth() -> int:
    """How many calls that send stand within each other: 1 for the usual one."""
    return _depth.get()


def _is_outermost(record: logging.LogRecord) -> bool:
    return _depth.get() <= 1


# A filter holds for the records of its own logger only, not for those of its children:
# each layer's logger has it.
for _name in ("django", "mailer", "pool", "wire"):
    logging.getLogger(f"mailbackends.{_name}").addFilter(_is_outermost)
