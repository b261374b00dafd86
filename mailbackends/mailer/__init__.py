"""Messages to one server, over pooled connections, each with an outcome."""

from mailbackends.mailer.attachment import FileAttachment
from mailbackends.mailer.circuit import CircuitState
from mailbackends.mailer.held import Held
from mailbackends.mailer.mailer import Mailer, MailerStats
from mailbackends.mailer.options import Options
from mailbackends.mailer.receipt import Receipt
from mailbackends.mailer.server import ServerStats
from mailbackends.mailer.submission import Submission

__all__ = [
    "CircuitState",
    "FileAttachment",
    "Held",
    "Mailer",
    "MailerStats",
    "Options",
    "Receipt",
    "ServerStats",
    "Submission",
]
