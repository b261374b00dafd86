"""`MailServer`: aiosmtpd on loopback that keeps all it gets, and fails where it is told to."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from mailbackends.mailbox.faults import Faults
from mailbackends.mailbox.mail import Arrival
from mailbackends.mailbox.store import Store

__all__ = ["MailServer"]

_LARGEST = 64 * 1024 * 1024  # bytes of a message
_KEPT = "250 2.0.0 Ok: kept in the mailbox"


class MailServer:
    """Listens between `start` and `stop`, in a thread of its own. Any login is taken.

    Args:
        port: 0 takes one that is free; ``port`` then says which.

    Raises:
        OSError: from `start`, where the port is taken.
    """

    def __init__(
        self, store: Store, faults: Faults, *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.host = host
        self.port = port
        self._store = store
        self._faults = faults
        self._connections = 0
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="mailbox", daemon=True)

    def start(self) -> None:
        """Listen; returns once connections are taken."""
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Hang up on everybody and give the port back."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        open_now: set[_Conversation] = set()
        listener = await self._loop.create_server(
            lambda: self._conversation(open_now), self.host, self.port
        )
        self.port = listener.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        listener.close()
        left = list(open_now)
        for conversation in left:
            conversation.hang_up()
        await asyncio.gather(*(conversation.ended.wait() for conversation in left))

    def _conversation(self, open_now: set[_Conversation]) -> _Conversation:
        self._connections += 1
        return _Conversation(_Handler(self._store, self._faults, self._connections), open_now)


class _Handler:
    """What aiosmtpd asks, for one connection."""

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
        if fault := self._faults.strike("refuse", [address]):
            self._refused[address] = fault.reply
            return fault.reply
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: _Conversation, session: Session, envelope: Envelope) -> str:
        to = envelope.rcpt_tos
        if fault := self._faults.strike("delay", to):
            await asyncio.sleep(fault.seconds)
        if self._faults.strike("drop", to):
            self._keep(session, envelope, "unknown", "")
            server.hang_up()
            # aiosmtpd ends this task when it hears that the connection is gone.
            await asyncio.sleep(60)
        if fault := self._faults.strike("reject", to):
            self._keep(session, envelope, "refused", fault.reply)
            return fault.reply
        self._keep(session, envelope, "accepted", _KEPT)
        return _KEPT

    def _keep(self, session: Session, envelope: Envelope, outcome: str, reply: str) -> None:
        sender = "" if envelope.mail_from in (None, "<>") else str(envelope.mail_from)
        login = session.auth_data
        arrival = Arrival(
            sender=sender,
            accepted=tuple(envelope.rcpt_tos),
            refused=self._refused,
            outcome=outcome,
            reply=reply,
            duration=time.monotonic() - self._began,
            connection=self._connection,
            user=login if isinstance(login, str) else None,
            options=tuple(envelope.mail_options),
        )
        self._store.add(envelope.original_content or b"", arrival)


class _Session(Session):
    # aiosmtpd sets this itself, and warns in the log, at each login, that it is out of date.
    login_data = None


class _Conversation(SMTP):
    def __init__(self, handler: _Handler, open_now: set[_Conversation]) -> None:
        self._open_now = open_now
        self.ended = asyncio.Event()
        super().__init__(
            handler,
            hostname="mailbox.localhost",
            ident="mailbackends mailbox",
            enable_SMTPUTF8=True,
            data_size_limit=_LARGEST,
            authenticator=_take_any,
            auth_require_tls=False,
        )

    def _create_session(self) -> Session:
        return _Session(self.loop)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._open_now.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._open_now.discard(self)
        self.ended.set()
        super().connection_lost(error)

    async def smtp_POST(self, arg: str | None) -> None:
        """Hang up: any website can make a browser send a form here, with SMTP in its fields."""
        self.hang_up()

    smtp_GET = smtp_PUT = smtp_OPTIONS = smtp_POST

    def hang_up(self) -> None:
        """Close without a word."""
        transport: Any = self.transport
        if transport is not None:
            transport.abort()


def _take_any(server: SMTP, session: Session, envelope: Envelope, mech: str, data: Any) -> Any:
    # The application's own settings work as they are; the password is not even looked at.
    login = getattr(data, "login", b"")
    name = login.decode("utf-8", "replace") if isinstance(login, bytes) else str(login)
    return AuthResult(success=True, auth_data=name)
