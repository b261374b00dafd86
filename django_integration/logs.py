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

__all__ = ["logger", "sending"]

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


def _is_outermost(record: logging.LogRecord) -> bool:
    return _depth.get() <= 1


# A filter holds for the records of its own logger only, not for those of its children:
# each layer's logger has it, and the one where Django reports a receiver that failed.
for _name in (
    "mailbackends.django",
    "mailbackends.mailer",
    "mailbackends.pool",
    "mailbackends.wire",
    "django.dispatch",
):
    logging.getLogger(_name).addFilter(_is_outermost)
