"""`LoopbackServer`: a real SMTP server on 127.0.0.1 that keeps each message in memory."""

from __future__ import annotations

import asyncio
import functools
import threading
from typing import Any, Literal, get_args
from urllib.parse import quote

from mailbackends.testing.assertions import ReceivedMail, assert_nothing_sent, assert_sent
from mailbackends.testing.smtp_server import SMTP, Envelope, ServerConnection, Session, SMTPServer

__all__ = ["LoopbackServer", "ReceivedMail"]

TLS = Literal["none", "starttls", "tls"]
Step = Literal["EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "content"]

_SCHEMES = {"none": "smtp", "starttls": "smtp+starttls", "tls": "smtps"}


class LoopbackServer(SMTPServer):
    """Listens inside a ``with`` block, on a free port. Nothing is delivered anywhere.

    ``messages`` has what arrived, ``connections`` counts those that were accepted. Both may
    be read from any thread.

    Args:
        tls: ``"starttls"``, or ``"tls"`` from the first byte. The certificate is for
            127.0.0.1 and localhost, signed by ``cafile``. Needs trustme.
        login: user name and password, without which no mail is accepted.
        delay: the delay of each reply, in seconds.

    Raises:
        ValueError: ``tls`` is not one of these values.
    """

    def __init__(
        self, *, tls: TLS = "none", login: tuple[str, str] | None = None, delay: float = 0.0
    ) -> None:
        if tls not in get_args(TLS):
            raise ValueError(
                f"tls must be one of {', '.join(map(repr, get_args(TLS)))}, got {tls!r}"
            )
        self.tls = tls
        self.login = login
        self.delay = delay
        self.messages: list[ReceivedMail] = []
        self.cafile: str | None = None
        """The file with the certificate authority to trust, if there is TLS."""
        self._context: Any = None
        if tls != "none":
            from mailbackends.testing import certificates

            self.cafile = certificates.cafile()
            self._context = certificates.server_context()
        self._refusals: dict[str, str] = {}
        self._faults: list[tuple[str, str | None]] = []
        self._lock = threading.Lock()
        self._arrived = threading.Condition()
        super().__init__(tls_context=self._context if tls == "tls" else None)

    def make_connection(self, number: int) -> ServerConnection:
        """See `SMTPServer`."""
        return _Connection(self, number)

    @property
    def url(self) -> str:
        """The URL for a `Mailer`, including the login and the authority if there are any."""
        login = f"{':'.join(quote(part, safe='') for part in self.login)}@" if self.login else ""
        query = f"?ssl_cafile={quote(self.cafile, safe='')}" if self.cafile else ""
        return f"{_SCHEMES[self.tls]}://{login}{self.host}:{self.port}{query}"

    @property
    def options(self) -> dict[str, Any]:
        """The same as options by name: host, port, security, username, password, ssl_cafile."""
        found: dict[str, Any] = {"host": self.host, "port": self.port, "security": self.tls}
        if self.login:
            found |= {"username": self.login[0], "password": self.login[1]}
        if self.cafile:
            found["ssl_cafile"] = self.cafile
        return found

    def refuse(self, recipient: str, reply: str = "550 5.1.1 No such user") -> None:
        """Answer RCPT for ``recipient`` with ``reply`` from now on."""
        self._refusals[recipient] = reply

    def fail_next(
        self,
        reply: str | None = "451 4.3.0 Try again later",
        *,
        at: Step = "content",
        times: int = 1,
    ) -> None:
        """Answer the next ``at`` with this reply, ``times`` times; None closes the connection.

        A connection dropped at ``"content"`` leaves the client without an outcome: the message
        was read to its end. It is not in ``messages`` then.
        """
        if at not in get_args(Step):
            choices = ", ".join(map(repr, get_args(Step)))
            raise ValueError(f"at must be one of {choices}, got {at!r}")
        with self._lock:
            self._faults += [(at, reply)] * times

    def clear(self) -> None:
        """Forget messages, refusals and faults; connections stay."""
        self.messages.clear()
        self._refusals.clear()
        with self._lock:
            self._faults.clear()

    def wait_for(self, count: int, timeout: float = 10.0) -> list[ReceivedMail]:
        """The messages, once there are at least ``count`` of them.

        Raises:
            TimeoutError: there are fewer after ``timeout`` seconds.
        """
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.messages) >= count, timeout):
                raise TimeoutError(
                    f"{len(self.messages)} of {count} messages arrived within {timeout:g} s"
                )
            return list(self.messages)

    def assert_sent(self, **expected: Any) -> ReceivedMail:
        """The first message with this subject, text, ...: see `assertions.Expected`.

        Raises:
            AssertionError: no message matches. The text shows how each differs.
        """
        __tracebackhide__ = True
        return assert_sent(self.messages, **expected)

    def assert_nothing_sent(self) -> None:
        """Check that no message arrived.

        Raises:
            AssertionError: one did; the text lists all.
        """
        __tracebackhide__ = True
        assert_nothing_sent(self.messages)

    def take_fault(self, at: str) -> tuple[bool, str | None]:
        """Whether `fail_next` set a fault for this step, and its reply. The fault is removed."""
        with self._lock:
            for fault in self._faults:
                if fault[0] == at:
                    self._faults.remove(fault)
                    return True, fault[1]
        return False, None

    def keep(self, mail: ReceivedMail) -> int:
        """Add a message that has arrived. Returns how many there are."""
        with self._arrived:
            self.messages.append(mail)
            self._arrived.notify_all()
            return len(self.messages)

    def refusal_of(self, recipient: str) -> str | None:
        """The reply set by `refuse`, or None."""
        return self._refusals.get(recipient)


class _Connection(ServerConnection):
    """Answers as aiosmtpd does; the methods of its verbs are wrapped below."""

    def __init__(self, owner: LoopbackServer, number: int) -> None:
        self.owner = owner
        self.number = number
        is_starttls = owner.tls == "starttls"
        super().__init__(
            # Not `self`: aiosmtpd would call its own handle_exception without end.
            _Hooks(),
            authenticate=lambda user, password: (user, password) == owner.login,
            delay=owner.delay,
            hostname="loopback.test",
            tls_context=owner._context if is_starttls else None,
            # aiosmtpd counts STARTTLS alone as TLS. On loopback a login may be in clear.
            auth_require_tls=is_starttls,
            auth_exclude_mechanism=() if owner.login else ("PLAIN", "LOGIN"),
        )

    async def fails(self, at: str) -> bool:
        """True if `fail_next` made this step fail."""
        is_asked_for, reply = self.owner.take_fault(at)
        if is_asked_for:
            await self.end(reply)
        return is_asked_for

    async def end(self, reply: str | None) -> None:
        """Send the reply; close the connection if it is None or a 421."""
        if reply is not None:
            await self.push(reply)
        if reply is None or reply.startswith("421"):
            if self._handler_coroutine is not None:
                self._handler_coroutine.cancel()
            transport: Any = self.transport
            transport.close()
            if self.is_tls:  # asyncio would wait for the client's close_notify first
                transport.abort()
            # The cancellation takes effect at the next await of the connection's own task.
            await asyncio.sleep(0)


class _Hooks:
    """aiosmtpd's handler, whose methods return the reply."""

    async def handle_EHLO(
        self,
        server: _Connection,
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
        server: _Connection,
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

    async def handle_DATA(self, server: _Connection, session: Session, envelope: Envelope) -> str:
        """Called by aiosmtpd for each message."""
        is_asked_for, reply = server.owner.take_fault("content")
        if is_asked_for:
            if reply is None:
                await server.end(None)
            return reply or "421 4.3.2 Dropped"
        number = server.owner.keep(
            ReceivedMail(
                sender="" if envelope.mail_from in (None, "<>") else str(envelope.mail_from),
                recipients=tuple(envelope.rcpt_tos),
                content=envelope.original_content or b"",
                connection=server.number,
                is_tls=server.is_tls,
                user=server.user,
                tls_version=server.tls_version,
            )
        )
        return f"250 2.0.0 Ok: queued as {number}"


def _wrapped(verb: str) -> Any:
    inherited = getattr(SMTP, f"smtp_{verb}")

    @functools.wraps(inherited)  # aiosmtpd keeps HELP's text on the function
    async def method(self: _Connection, arg: str | None) -> None:
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
    setattr(_Connection, f"smtp_{_verb}", _wrapped(_verb))
