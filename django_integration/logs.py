"""The backend's logger, ``mailbackends.django``, and its safety with ``AdminEmailHandler``.

With a log handler that sends mail, a mail that fails logs a record, which sends a mail,
which fails, and so on for ever. Where the handler raises, as Django 6.1's does, its
exception would also surface in the middle of the first message. So mail that is sent
because of a log record written during other mail fails silently.
"""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from enum import Enum
from types import FrameType

__all__ = ["logger", "sending"]

logger: logging.Logger = logging.getLogger("mailbackends.django")


class _Sending(Enum):
    NO = 0
    YES = 1
    FROM_A_LOG_RECORD = 2


_state: ContextVar[_Sending] = ContextVar("mailbackends_sending", default=_Sending.NO)


class sending:
    """Wraps each call that sends: ``with sending() as silently``, True if it must not raise."""

    __slots__ = ("_token",)

    def __enter__(self) -> bool:
        state = _state.get()
        if state is _Sending.NO:
            state = _Sending.YES
        elif state is _Sending.YES and _is_in_a_log_record():
            state = _Sending.FROM_A_LOG_RECORD
        self._token = _state.set(state)
        return state is _Sending.FROM_A_LOG_RECORD

    def __exit__(self, *exc: object) -> None:
        _state.reset(self._token)


def _is_in_a_log_record() -> bool:
    """True if a logger is calling its handlers, further up in this call."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        # A receiver of a signal may also send mail during other mail, without a record.
        if frame.f_code is logging.Logger.callHandlers.__code__:
            return True
        frame = frame.f_back
    return False


def _may_log(record: logging.LogRecord) -> bool:
    return _state.get() is not _Sending.FROM_A_LOG_RECORD


# A logger's filter does not apply to records of its children, so the logger of each layer
# gets it, and the one to which Django reports receivers that failed.
for _name in (
    "mailbackends.django",
    "mailbackends.mailer",
    "mailbackends.pool",
    "mailbackends.wire",
    "django.dispatch",
):
    logging.getLogger(_name).addFilter(_may_log)
