"""`Connection`: one connection for the length of a ``with`` block."""

from __future__ import annotations

import time
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from flask import Flask

from flask_integration.addresses import Address
from flask_integration.delivery import deliver, suppressed
from flask_integration.message import Message
from flask_integration.posting import Posting
from mailbackends import Receipt, Reply

if TYPE_CHECKING:
    from flask_integration.state import MailState

__all__ = ["Connection"]


class Connection:
    """What `Mail.connect` returns::

        with mail.connect() as connection:
            for user in users:
                connection.send(Message(...))

    After MAIL_MAX_EMAILS messages the connection is closed, and the next message goes
    over a new one. Leaving the block hands the connection back to the pool and cannot
    fail: what was sent stays sent.

    ``host`` is None where sending is suppressed. It may be set to an object with the
    ``sendmail`` method of `smtplib.SMTP`, which then gets the messages.
    """

    def __init__(self, mail: MailState, app: Flask | None = None) -> None:
        self.mail = mail
        self.host: Any = None
        self.num_emails = 0
        self._app = app
        self._own_host: Any = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.host = self.configure_host()
        self.num_emails = 0
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._stack.close()
        self.host = self._own_host = None

    def configure_host(self) -> Any:
        """What messages are sent on: a connection of the pool, or None where suppressed.

        Raises:
            mailbackends.SMTPException: no connection could be made.
        """
        backend = self.mail.active_backend
        self._own_host = self._stack.enter_context(backend.hold()) if backend else None
        return self._own_host

    def send(self, message: Any, envelope_from: Address | None = None) -> Receipt:
        """Send one message on this connection; as `Mail.send`."""
        app = self._app or self.mail._target()[0]
        receipt = deliver(app, self.mail, message, envelope_from, self._send)
        self.num_emails += 1
        if self.num_emails == self.mail.max_emails:
            # As Flask-Mail counts; the pool has replaced the connection by itself.
            self.num_emails = 0
        return receipt

    def send_message(self, *args: Any, **kwargs: Any) -> Receipt:
        """Send a `Message` made from these arguments."""
        return self.send(Message(*args, **kwargs))

    def _send(self, posting: Posting) -> Receipt:
        if self.host is None:
            # Outside of its block there is nothing held: any connection of the pool will do.
            backend = self.mail.active_backend
            return backend.send(posting) if backend else suppressed(posting)
        if self.host is self._own_host:
            return self._own_host.send(posting)  # type: ignore[no-any-return]
        return _send_by_smtplib(self.host, posting)


def _send_by_smtplib(host: Any, posting: Posting) -> Receipt:
    """Send on an object like `smtplib.SMTP` that an application has put in place of ours."""
    started = time.monotonic()
    refused = host.sendmail(
        posting.from_addr,
        list(posting.to_addrs),
        posting.as_bytes(),
        list(posting.mail_options),
        list(posting.rcpt_options),
    )
    replies = {
        address: Reply(code, (text,))
        for address, (code, text) in (refused.items() if isinstance(refused, dict) else ())
    }
    return Receipt(
        accepted=tuple(x for x in posting.to_addrs if x not in replies),
        refused=replies,
        reply=Reply(250, (b"",)),
        message_id=posting.message_id,
        duration=time.monotonic() - started,
    )
