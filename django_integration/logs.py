"""The log of the backend, ``mailbackends.django``, safe beside ``AdminEmailHandler``.

A handler that sends mail, and a mail that cannot be sent and says so in the log: each
would call the other for ever. And where the handler raises, as Django 6.1's does, what it
raises would come up in the middle of the other message. So mail that is sent because of a
log record that was written while other mail is being sent fails in silence.
"""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from enum import Enum
from types import FrameType

__all__ = ["logger", "sending"]

logger = logging.getLogger("mailbackends.django")


class _Sending(Enum):
    NO = 0
    YES = 1
    FROM_A_LOG_RECORD = 2


_state: ContextVar[_Sending] = ContextVar("mailbackends_sending", default=_Sending.NO)


class sending:
    """Around each call that sends: ``with sending() as silently``, True where it has to be."""

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
    """True where a logger is calling its handlers, between here and the message around."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        # A receiver of a signal may send mail as well, within other mail and no record.
        if frame.f_code is logging.Logger.callHandlers.__code__:
            return True
        frame = frame.f_back
    return False


def _may_speak(record: logging.LogRecord) -> bool:
    return _state.get() is not _Sending.FROM_A_LOG_RECORD


# A filter holds for the records of its own logger only, not for those of its children:
# each layer's logger has it, and the one where Django reports a receiver that failed.
for _name in (
    "mailbackends.django",
    "mailbackends.mailer",
    "mailbackends.pool",
    "mailbackends.wire",
    "django.dispatch",
):
    logging.getLogger(_name).addFilter(_may_speak)
