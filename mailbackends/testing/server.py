"""`LoopbackServer`: aiosmtpd on 127.0.0.1 in a thread of its own, which keeps what it gets."""

from __future__ import annotations

import asyncio
import email
import email.policy
import threading
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

__all__ = ["LoopbackServer", "ReceivedMail"]


@dataclass(frozen=True, slots=True)
class ReceivedMail:
    """One message as it arrived."""

    sender: str
    """The reverse-path of the envelope; empty for the null sender."""
    recipients: tuple[str, ...]
    """Those of the envelope that were accepted, Bcc among them."""
    content: bytes
    connection: int
    """The number of the connection, from 0."""

    @property
    def message(self) -> EmailMessage:
        """The content, parsed."""
        return email.message_from_bytes(self.content, policy=email.policy.default)


class LoopbackServer:
    """Listens between ``with`` and its end, on a port that the system chose.

    ``messages`` holds what came, ``connections`` counts those that were accepted. Both may
    be read from any thread. Nothing is delivered anywhere.
    """

    host = "127.0.0.1"

    def __init__(self) -> None:
        self.port = 0
        self.messages: list[ReceivedMail] = []
        self.connections = 0
        self._refusals: dict[str, str] = {}
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="LoopbackServer", daemon=True)

    @property
    def url(self) -> str:
        """For a `Mailer`: ``smtp://127.0.0.1:port``."""
        return f"smtp://{self.host}:{self.port}"

    def refuse(self, recipient: str, reply: str = "550 5.1.1 No such user") -> None:
        """Answer RCPT for ``recipient`` with ``reply`` from now on."""
        self._refusals[recipient] = reply

    def clear(self) -> None:
        """Forget messages and refusals; connections stay."""
        self.messages.clear()
        self._refusals.clear()

    def __enter__(self) -> LoopbackServer:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *exc: object) -> None:
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
            lambda: _Conversation(self, open_now), self.host, 0
        )
        self.port = listener.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        listener.close()
        left = list(open_now)
        for conversation in left:
            conversation.hang_up()
        await asyncio.gather(*(conversation.ended.wait() for conversation in left))

    # What aiosmtpd asks.

    async def handle_RCPT(
        self,
        server: _Conversation,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        """Called by aiosmtpd for each recipient."""
        if address in self._refusals:
            return self._refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: _Conversation, session: Session, envelope: Envelope) -> str:
        """Called by aiosmtpd for each message."""
        sender = "" if envelope.mail_from in (None, "<>") else str(envelope.mail_from)
        content = envelope.original_content or b""
        received = ReceivedMail(sender, tuple(envelope.rcpt_tos), content, server.number)
        self.messages.append(received)
        return f"250 2.0.0 Ok: queued as {len(self.messages)}"


class _Conversation(SMTP):
    def __init__(self, owner: LoopbackServer, open_now: set[_Conversation]) -> None:
        self.number = owner.connections
        owner.connections += 1
        self._open_now = open_now
        self.ended = asyncio.Event()
        super().__init__(owner, hostname="loopback.test", enable_SMTPUTF8=True)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        self._open_now.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio."""
        self._open_now.discard(self)
        self.ended.set()
        super().connection_lost(error)

    def hang_up(self) -> None:
        """Close without a word."""
        transport: Any = self.transport
        transport.abort()
