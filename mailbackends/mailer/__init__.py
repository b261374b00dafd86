"""Messages to one server or several, over pooled connections, each with an outcome.

`router` chooses servers, `dispatch` sends to one, `connection` speaks SMTP; all of it is written
once, as coroutines, and `mailer` runs them for threads, `aio` in an event loop.
"""

from mailbackends.mailer.base import MailerStats
from mailbackends.mailer.circuit import CircuitState
from mailbackends.mailer.mailer import Mailer, PinnedConnection
from mailbackends.mailer.options import Options
from mailbackends.mailer.server import ServerStats
from mailbackends.mailer.submission import Receipt, Submission
from mailbackends.mime.attachment import FileAttachment

__all__ = [
    "CircuitState",
    "FileAttachment",
    "Mailer",
    "MailerStats",
    "Options",
    "PinnedConnection",
    "Receipt",
    "ServerStats",
    "Submission",
]
