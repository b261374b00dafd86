"""`MailServer`: aiosmtpd on loopback, with TLS and login, which stores what it receives."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from support import certs
from support.face import HANG_UP, Face, Received, TLSMode

__all__ = ["MailServer"]

# aiosmtpd warns of its own use of a deprecated attribute at each login.
logging.getLogger("mail.log").setLevel(logging.ERROR)

_VERBS = ["HELO", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "QUIT"]


class MailServer(Face):
    """A real SMTP server in a separate thread::

        with MailServer(tls="starttls", login=("user", "secret")) as server:
            ...  # talk to server.host, server.port
        assert server.message.rcpt_tos == ("to@example.com",)

    Certificates are good for localhost and 127.0.0.1, signed by ``server.cafile``. It
    announces SIZE, 8BITMIME and SMTPUTF8, but neither PIPELINING nor CHUNKING, which
    `support.sink.Sink` has.
    """

    def __init__(
        self,
        *,
        tls: TLSMode = "none",
        login: tuple[str, str] | None = None,
        require_login: bool = False,
        names: tuple[str, ...] = (),
        expired: bool = False,
        size_limit: int = 33_554_432,
    ) -> None:
        """``names`` and ``expired`` are the certificate's; ``size_limit`` is in bytes."""
        super().__init__(tls=tls, login=login, require_login=require_login)
        self.size_limit = size_limit
        self._context = None if tls == "none" else certs.server_context(*names, expired=expired)
        self._sessions: set[_Conversation] = set()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="MailServer", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def close_connections(self, last_words: bytes = b"") -> None:
        async def close() -> None:
            for session in list(self._sessions):
                await session.hang_up(last_words)

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(5)
        self.wait(lambda: self.open_connections == 0)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._all_closed = asyncio.Event()
        self._all_closed.set()
        listener = await self._loop.create_server(
            lambda: _Conversation(self),
            self.host,
            self.port,
            ssl=self._context if self.tls == "tls" else None,
        )
        self.port = listener.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopping.wait()
        listener.close()
        for session in list(self._sessions):
            session.abort()
        await self._all_closed.wait()


class _Conversation(SMTP):
    """One connection. The verbs' methods are wrapped below."""

    def __init__(self, owner: MailServer) -> None:
        self.owner = owner
        self.index = owner._accepted()
        super().__init__(
            _Hooks(),
            hostname="mail.test",
            ident="aiosmtpd",
            data_size_limit=owner.size_limit,
            enable_SMTPUTF8=True,
            tls_context=owner._context if owner.tls == "starttls" else None,
            # aiosmtpd recognises only STARTTLS as TLS; tests may choose implicit TLS, and a login
            # in clear on loopback.
            auth_require_tls=owner.tls == "starttls",
            auth_exclude_mechanism=() if owner.login else ("PLAIN", "LOGIN"),
            authenticator=self.check_login,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self not in self.owner._sessions:  # not again after STARTTLS
            self.owner._sessions.add(self)
            self.owner._all_closed.clear()
            self.owner._count_open(+1)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self in self.owner._sessions:
            self.owner._sessions.discard(self)
            self.owner._count_open(-1)
            if not self.owner._sessions:
                self.owner._all_closed.set()
        super().connection_lost(error)

    def check_login(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        given = (data.login.decode(), data.password.decode())
        return AuthResult(success=given == self.owner.login, handled=False, auth_data=data)

    @property
    def is_tls(self) -> bool:
        return self.owner.tls == "tls" or self._tls_protocol is not None

    @property
    def user(self) -> str | None:
        data = self.session.auth_data if self.session else None
        return data.login.decode() if isinstance(data, LoginPassword) else None

    def abort(self) -> None:
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()

    async def hang_up(self, last_words: bytes = b"") -> None:
        assert self._handler_coroutine is not None
        self._handler_coroutine.cancel()
        if isinstance(self.transport, asyncio.Transport):
            self.transport.write(last_words)
            self.transport.close()
            if self.is_tls:  # asyncio would wait for the client's close_notify first
                self.transport.abort()
        # The task of the conversation is cancelled here.
        await asyncio.sleep(0)

    async def say_scripted(self, key: str) -> bool:
        """True if a scripted reply was given in place of the command's own."""
        reply = self.owner._scripted_reply(key)
        if reply is None:
            return False
        if reply == HANG_UP:
            await self.hang_up()
        await self.push(reply)
        if reply.startswith("421"):
            await self.hang_up()
        return True


def _wrapped(verb: str) -> Any:
    inherited = getattr(SMTP, f"smtp_{verb}")

    @functools.wraps(inherited)  # aiosmtpd keeps HELP's text on the function
    async def method(self: _Conversation, arg: str | None) -> None:
        owner = self.owner
        owner.commands[self.index].append(f"{verb} {arg}" if arg else verb)
        if await self.say_scripted(verb):
            return
        assert self.session is not None
        if owner.require_login and verb in ("MAIL", "RCPT") and not self.session.authenticated:
            await self.push("530 5.7.0 Authentication required")
            return
        if verb == "AUTH" and not owner.login:
            await self.push("502 5.5.1 No login here")
            return
        await inherited(self, arg)

    return method


for _verb in _VERBS:
    setattr(_Conversation, f"smtp_{_verb}", _wrapped(_verb))


class _Hooks:
    """aiosmtpd calls these; they return the reply."""

    async def handle_EHLO(
        self,
        server: _Conversation,
        session: Session,
        envelope: Envelope,
        name: str,
        lines: list[str],
    ) -> list[str]:
        session.host_name = name
        return [line for line in lines if line.strip() != "250-AUTH"]

    async def handle_MAIL(
        self,
        server: _Conversation,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        reply = server.owner._scripted_reply(f"mail {address}")
        if reply is None:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
            return "250 2.1.0 Ok"
        return await self._end(server, reply)

    async def handle_RCPT(
        self,
        server: _Conversation,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        reply = server.owner._scripted_reply(f"rcpt {address}")
        if reply is None:
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(options)
            return "250 2.1.5 Ok"
        return await self._end(server, reply)

    async def handle_DATA(self, server: _Conversation, session: Session, envelope: Envelope) -> str:
        reply = server.owner._scripted_reply("content")
        if reply is not None:
            return await self._end(server, reply)
        content = envelope.original_content
        assert content is not None
        server.owner._keep(
            Received(
                mail_from="" if envelope.mail_from == "<>" else envelope.mail_from or "",
                rcpt_tos=tuple(envelope.rcpt_tos),
                content=content,
                connection=server.index,
                mail_options=tuple(envelope.mail_options),
                rcpt_options=tuple(envelope.rcpt_options),
                user=server.user,
                is_tls=server.is_tls,
            )
        )
        return f"250 2.0.0 Ok: queued as {len(server.owner.messages)}"

    async def _end(self, server: _Conversation, reply: str) -> str:
        if reply == HANG_UP:
            await server.hang_up()
        return reply
