"""The demonstration's mail server: aiosmtpd on loopback, with STARTTLS and a login.

Nothing leaves this machine: what arrives is kept in memory. The certificate is made
for this one run.
"""

from __future__ import annotations

import asyncio
import email
import email.policy
import functools
import logging
import ssl
import tempfile
import threading
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import AnyStr

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

__all__ = ["Mail", "MailServer"]

# aiosmtpd warns of its own use of a deprecated attribute at each login.
logging.getLogger("mail.log").setLevel(logging.ERROR)


@dataclass(frozen=True)
class Mail:
    """One mail as it arrived."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    connection: int
    """The number of the connection that brought it, from 1."""
    user: str
    """Who had logged in."""
    tls: str
    """The version of TLS that it came over."""

    @functools.cached_property
    def message(self) -> EmailMessage:
        """The content, parsed."""
        return email.message_from_bytes(self.content, policy=email.policy.default)


class MailServer:
    """A server in a thread of its own, between ``with`` and its end.

    ``delay`` is how long each reply is held back, in seconds: a server that far away.
    """

    host = "127.0.0.1"

    def __init__(self, user: str, password: str, delay: float = 0.0) -> None:
        self.user = user
        self.password = password
        self.delay = delay
        self.port = 0
        self.connections = 0
        """How many connections have been accepted so far."""
        self._mails: list[Mail] = []
        self._arrived = threading.Condition()
        self._folder = tempfile.TemporaryDirectory(prefix="mailbackends-demo-")
        self.cafile = str(Path(self._folder.name) / "ca.pem")
        """The authority that signed the server's certificate."""
        self.context = self._make_context()

    def _make_context(self) -> ssl.SSLContext:
        authority = trustme.CA(organization_name="mailbackends demo")
        authority.cert_pem.write_to_path(self.cafile)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", self.host).configure_cert(context)
        return context

    def __enter__(self) -> MailServer:
        started: threading.Event = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)))
        self._thread.start()
        started.wait()
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._folder.cleanup()

    async def _serve(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.sessions: set[_Session] = set()
        self.all_closed = asyncio.Event()
        self.all_closed.set()
        server = await self._loop.create_server(lambda: _Session(self), self.host, 0)
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._stop.wait()
        server.close()
        for session in list(self.sessions):
            session.abort()
        await self.all_closed.wait()

    def keep(self, mail: Mail) -> None:
        """Called for each mail that arrives."""
        with self._arrived:
            self._mails.append(mail)
            self._arrived.notify_all()

    def next_mail(self, seen: int, seconds: float = 10.0) -> Mail:
        """The mail after the first ``seen``. Raises TimeoutError if there is none in time."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self._mails) > seen, seconds):
                raise TimeoutError(f"no mail arrived within {seconds:.0f} s")
            return self._mails[seen]

    @property
    def received(self) -> int:
        """How many mails have arrived so far."""
        with self._arrived:
            return len(self._mails)


class _Session(SMTP):
    """One connection."""

    def __init__(self, owner: MailServer) -> None:
        self.owner = owner
        owner.connections += 1
        self.number = owner.connections
        super().__init__(
            _Hooks(),
            hostname="mail.demo",
            tls_context=owner.context,
            require_starttls=True,
            auth_required=True,
            enable_SMTPUTF8=True,
            authenticator=self._check_login,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called again after STARTTLS."""
        self.owner.sessions.add(self)
        self.owner.all_closed.clear()
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """The client is gone."""
        self.owner.sessions.discard(self)
        if not self.owner.sessions:
            self.owner.all_closed.set()
        super().connection_lost(error)

    def abort(self) -> None:
        """Close the connection at once."""
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()

    def _check_login(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        expected = (self.owner.user.encode(), self.owner.password.encode())
        return AuthResult(success=tuple(data) == expected, handled=False, auth_data=data)

    async def push(self, status: AnyStr) -> None:
        """Send a line; before the last one of a reply, wait as long as the way takes."""
        is_last = status[3:4] not in ("-", b"-")
        if self.owner.delay and is_last:
            await asyncio.sleep(self.owner.delay)
        await super().push(status)


class _Hooks:
    async def handle_DATA(self, server: _Session, session: Session, envelope: Envelope) -> str:
        assert server.transport is not None
        tls = server.transport.get_extra_info("ssl_object")
        assert envelope.original_content is not None
        server.owner.keep(
            Mail(
                sender=envelope.mail_from or "",
                recipients=tuple(envelope.rcpt_tos),
                content=envelope.original_content,
                connection=server.number,
                user=session.auth_data.login.decode() if session.auth_data else "nobody",
                tls=tls.version() if tls else "no TLS",
            )
        )
        return f"250 2.0.0 Ok: queued as {server.owner.received}"
