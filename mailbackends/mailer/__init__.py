"""Messages to one server, over pooled connections, each with an outcome."""

from mailbackends.mailer.circuit import CircuitState
from mailbackends.mailer.mailer import Mailer, MailerStats
from mailbackends.mailer.options import Options
from mailbackends.mailer.pinned import PinnedConnection
from mailbackends.mailer.receipt import Receipt
from mailbackends.mailer.server import ServerStats
from mailbackends.mailer.submission import Submission
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
