"""A mailbox for development: an SMTP server on loopback, and a page that shows the mail.

Needs the extra: ``pip install "mailbackends[mailbox]"``. By itself it runs with
``python -m mailbackends.mailbox``; inside an application it is
``django_integration.mailbox`` or ``flask_integration.mailbox``.
"""

try:
    from mailbackends.mailbox.contents import View
    from mailbackends.mailbox.faults import Fault, Faults
    from mailbackends.mailbox.files import frame
    from mailbackends.mailbox.http import Request, Response
    from mailbackends.mailbox.mailbox import Mailbox
    from mailbackends.mailbox.message import StoredMessage
    from mailbackends.mailbox.outbox import outbox_page
    from mailbackends.mailbox.run import NotLoopback, PortUnavailable, run, serve
    from mailbackends.mailbox.store import Store
    from mailbackends.mailbox.wsgi import WebServer, application, request_from_environ
except ModuleNotFoundError as _error:
    _missing = (_error.name or "").partition(".")[0]
    if _missing in ("", "mailbackends"):
        raise
    raise ModuleNotFoundError(
        f'mailbackends.mailbox needs {_missing}: python -m pip install "mailbackends[mailbox]"',
        name=_missing,
    ) from _error

__all__ = [
    "Fault",
    "Faults",
    "Mailbox",
    "NotLoopback",
    "PortUnavailable",
    "Request",
    "Response",
    "Store",
    "StoredMessage",
    "View",
    "WebServer",
    "application",
    "frame",
    "outbox_page",
    "request_from_environ",
    "run",
    "serve",
]
