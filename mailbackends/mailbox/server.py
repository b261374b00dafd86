"""`MailServer`: the mailbox's SMTP server, which keeps what arrives and fails on demand."""

from __future__ import annotations

import asyncio
import time

from mailbackends.mailbox.faults import Faults
from mailbackends.mailbox.store import Arrival, Store
from mailbackends.testing.smtp_server import SMTP, Envelope, ServerConnection, Session, SMTPServer

__all__ = ["MailServer"]

_LARGEST = 64 * 1024 * 1024  # bytes of a message
_KEPT = "250 2.0.0 Ok: kept in the mailbox"


class MailServer(SMTPServer):
    """Listens from `start` to `stop`, in a thread. Every login is accepted.

    Args:
        port: 0 takes a free port; ``port`` then has its number.

    Raises:
        OSError: from `start`, if the port is in use.
    """

    def __init__(
        self, store: Store, faults: Faults, *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        super().__init__(host=host, port=port)
        self._store = store
        self._faults = faults

    def make_connection(self, number: int) -> ServerConnection:
        """See `SMTPServer`."""
        return _Connection(_Handler(self._store, self._faults, number + 1))


class _Handler:
    """aiosmtpd's handler for one connection."""

    def __init__(self, store: Store, faults: Faults, connection: int) -> None:
        self._store = store
        self._faults = faults
        self._connection = connection
        self._began = 0.0
        self._refused: dict[str, str] = {}

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self._began = time.monotonic()
        self._refused = {}
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 Ok"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if fault := self._faults.use("refuse", [address]):
            self._refused[address] = fault.reply
            return fault.reply
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(
        self, server: ServerConnection, session: Session, envelope: Envelope
    ) -> str:
        to = envelope.rcpt_tos
        if fault := self._faults.use("delay", to):
            await asyncio.sleep(fault.seconds)
        if self._faults.use("drop", to):
            self._keep(session, envelope, "unknown", "")
            server.abort()
            # aiosmtpd cancels this task when the connection is lost.
            await asyncio.sleep(60)
        if fault := self._faults.use("reject", to):
            self._keep(session, envelope, "refused", fault.reply)
            return fault.reply
        self._keep(session, envelope, "accepted", _KEPT)
        return _KEPT

    def _keep(self, session: Session, envelope: Envelope, outcome: str, reply: str) -> None:
        sender = "" if envelope.mail_from in (None, "<>") else str(envelope.mail_from)
        arrival = Arrival(
            sender=sender,
            accepted=tuple(envelope.rcpt_tos),
            refused=self._refused,
            outcome=outcome,
            reply=reply,
            duration=time.monotonic() - self._began,
            connection=self._connection,
            user=session.auth_data if session.authenticated else None,
            options=tuple(envelope.mail_options),
        )
        self._store.add(envelope.original_content or b"", arrival)


class _Connection(ServerConnection):
    def __init__(self, handler: _Handler) -> None:
        super().__init__(
            handler,
            # The application's settings work unchanged: every password is accepted.
            authenticate=lambda user, password: True,
            hostname="mailbox.localhost",
            ident="mailbackends mailbox",
            data_size_limit=_LARGEST,
            auth_require_tls=False,
        )

    async def smtp_POST(self, arg: str | None) -> None:
        """Close the connection: any website can make a browser send a form with SMTP commands."""
        self.abort()

    smtp_GET = smtp_PUT = smtp_OPTIONS = smtp_POST
