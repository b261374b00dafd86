"""A mailbox for development: SMTP on loopback, and a page that shows what came.

Needs the extra: ``pip install "mailbackends[mailbox]"``. By itself it runs with
``python -m mailbackends.mailbox``; inside of an application it is
``django_integration.mailbox`` or ``flask_integration.mailbox``.
"""

from mailbackends.mailbox.faults import Fault, Faults
from mailbackends.mailbox.http import Request, Response
from mailbackends.mailbox.mailbox import Mailbox
from mailbackends.mailbox.run import run, serve
from mailbackends.mailbox.store import Store
from mailbackends.mailbox.wsgi import WebServer, application, request_from_environ

__all__ = [
    "Fault",
    "Faults",
    "Mailbox",
    "Request",
    "Response",
    "Store",
    "WebServer",
    "application",
    "request_from_environ",
    "run",
    "serve",
]
