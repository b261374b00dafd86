"""One connection to a `LoopbackServer`: aiosmtpd, with faults where they were asked for."""

from __future__ import annotations

import asyncio
import functools
import ssl
from typing import TYPE_CHECKING, Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from mailbackends.testing.received import ReceivedMail

if TYPE_CHECKING:
    from mailbackends.testing.server import LoopbackServer

__all__ = ["Conversation"]


class Conversation(SMTP):
    """Says what aiosmtpd says; the methods of its verbs are wrapped below."""

    def __init__(
        self, owner: LoopbackServer, open_now: set[Conversation], context: ssl.SSLContext | None
    ) -> None:
        self.owner = owner
        self.number = owner.connections
        owner.connections += 1
        self._open_now = open_now
        self.ended = asyncio.Event()
        is_starttls = owner.tls == "starttls"
        super().__init__(
            # Not `self`: aiosmtpd would ask it for its own handle_exception, for ever.
            _Hooks(),
            hostname="loopback.test",
            enable_SMTPUTF8=True,
            tls_context=context if is_starttls else None,
            # aiosmtpd counts STARTTLS alone as TLS. On loopback a login may be in clear.
            auth_require_tls=is_starttls,
            auth_exclude_mechanism=() if owner.login else ("PLAIN", "LOGIN"),
            authenticator=self._check_login,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio, and once more after STARTTLS."""
        self._open_now.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio."""
        self._open_now.discard(self)
        self.ended.set()
        super().connection_lost(error)

    def abort(self) -> None:
        """Close without a word."""
        transport: Any = self.transport
        transport.abort()

    @property
    def is_tls(self) -> bool:
        """True behind the handshake."""
        return self.owner.tls == "tls" or self._tls_protocol is not None

    async def fails(self, at: str) -> bool:
        """True where this step was asked to fail, and did."""
        is_asked_for, reply = self.owner.take_fault(at)
        if is_asked_for:
            await self.end(reply)
        return is_asked_for

    async def end(self, reply: str | None) -> None:
        """Say the reply; hang up where it is None, or a 421."""
        if reply is not None:
            await self.push(reply)
        if reply is None or reply.startswith("421"):
            if self._handler_coroutine is not None:
                self._handler_coroutine.cancel()
            transport: Any = self.transport
            transport.close()
            if self.is_tls:  # asyncio would wait for the client's close_notify first
                transport.abort()
            # In the conversation's own task, this is where the cancellation takes hold.
            await asyncio.sleep(0)

    def _check_login(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        given: tuple[str, ...] = ()
        if isinstance(data, LoginPassword):
            given = (data.login.decode(), data.password.decode())
        return AuthResult(success=given == self.owner.login, handled=False, auth_data=data)


class _Hooks:
    """What aiosmtpd asks; what they return is the reply."""

    async def handle_EHLO(
        self,
        server: Conversation,
        session: Session,
        envelope: Envelope,
        hostname: str,
        lines: list[str],
    ) -> list[str]:
        """Called by aiosmtpd. Without a login it would announce AUTH with no mechanism."""
        session.host_name = hostname
        return [line for line in lines if line.strip() != "250-AUTH"]

    async def handle_RCPT(
        self,
        server: Conversation,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        """Called by aiosmtpd for each recipient."""
        refusal = server.owner.refusal_of(address)
        if refusal is not None:
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: Conversation, session: Session, envelope: Envelope) -> str:
        """Called by aiosmtpd for each message."""
        is_asked_for, reply = server.owner.take_fault("content")
        if is_asked_for:
            if reply is None:
                await server.end(None)
            return reply or "421 4.3.2 Dropped"
        data = session.auth_data if session.authenticated else None
        user = data.login.decode() if isinstance(data, LoginPassword) else None
        server.owner.messages.append(
            ReceivedMail(
                sender="" if envelope.mail_from in (None, "<>") else str(envelope.mail_from),
                recipients=tuple(envelope.rcpt_tos),
                content=envelope.original_content or b"",
                connection=server.number,
                is_tls=server.is_tls,
                user=user,
            )
        )
        return f"250 2.0.0 Ok: queued as {len(server.owner.messages)}"


def _wrapped(verb: str) -> Any:
    inherited = getattr(SMTP, f"smtp_{verb}")

    @functools.wraps(inherited)  # aiosmtpd keeps HELP's text on the function
    async def method(self: Conversation, arg: str | None) -> None:
        if await self.fails(verb):
            return
        session = self.session
        is_known = not self.owner.login or (session is not None and session.authenticated)
        if verb == "MAIL" and not is_known:
            await self.push("530 5.7.0 Authentication required")
            return
        await inherited(self, arg)

    return method


for _verb in ("EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA"):
    setattr(Conversation, f"smtp_{_verb}", _wrapped(_verb))
