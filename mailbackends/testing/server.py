"""`LoopbackServer`: aiosmtpd on 127.0.0.1 in a thread of its own, which keeps what it gets."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Literal, get_args
from urllib.parse import quote

from mailbackends.testing.assertions import assert_nothing_sent, assert_sent
from mailbackends.testing.conversation import Conversation
from mailbackends.testing.received import ReceivedMail

__all__ = ["LoopbackServer", "ReceivedMail"]

TLS = Literal["none", "starttls", "tls"]
Step = Literal["EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "content"]

_SCHEMES = {"none": "smtp", "starttls": "smtp+starttls", "tls": "smtps"}


class LoopbackServer:
    """Listens between ``with`` and its end, on a port that the system chose.

    ``messages`` holds what came, ``connections`` counts those that were accepted. Both may
    be read from any thread. Nothing is delivered anywhere.

    Args:
        tls: ``"starttls"``, or ``"tls"`` from the first byte. The certificate is for
            127.0.0.1 and localhost, signed by ``cafile``. Needs trustme.
        login: user name and password, without which no mail is taken.
    """

    host = "127.0.0.1"

    def __init__(self, *, tls: TLS = "none", login: tuple[str, str] | None = None) -> None:
        if tls not in get_args(TLS):
            raise ValueError(f"tls={tls!r} is none of {', '.join(map(repr, get_args(TLS)))}")
        self.tls = tls
        self.login = login
        self.port = 0
        self.messages: list[ReceivedMail] = []
        self.connections = 0
        self.cafile: str | None = None
        """The authority to be trusted, where there is TLS."""
        self._context: Any = None
        if tls != "none":
            from mailbackends.testing import certificates

            self.cafile = certificates.cafile()
            self._context = certificates.server_context()
        self._refusals: dict[str, str] = {}
        self._faults: list[tuple[str, str | None]] = []
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="LoopbackServer", daemon=True)

    @property
    def url(self) -> str:
        """For a `Mailer`: ``smtp://127.0.0.1:port``, with login and authority if there are."""
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
        """Answer the next ``at`` with this reply, so many times; None drops the connection.

        Dropped at ``"content"`` is what a client cannot know the outcome of: the message was
        read to its end. It is not in ``messages`` then.
        """
        if at not in get_args(Step):
            raise ValueError(f"at={at!r} is none of {', '.join(map(repr, get_args(Step)))}")
        with self._lock:
            self._faults += [(at, reply)] * times

    def clear(self) -> None:
        """Forget messages, refusals and faults; connections stay."""
        self.messages.clear()
        self._refusals.clear()
        with self._lock:
            self._faults.clear()

    def assert_sent(self, **expected: Any) -> ReceivedMail:
        """The first message with this subject, text, ...: see `assertions.Expected`.

        Raises:
            AssertionError: there is none. The text shows what each has other than expected.
        """
        __tracebackhide__ = True
        return assert_sent(self.messages, **expected)

    def assert_nothing_sent(self) -> None:
        """No message came.

        Raises:
            AssertionError: one did.
        """
        __tracebackhide__ = True
        assert_nothing_sent(self.messages)

    def take_fault(self, at: str) -> tuple[bool, str | None]:
        """Whether `fail_next` asked for a fault at this step, which then is over, and its reply."""
        with self._lock:
            for fault in self._faults:
                if fault[0] == at:
                    self._faults.remove(fault)
                    return True, fault[1]
        return False, None

    def refusal_of(self, recipient: str) -> str | None:
        """The reply that `refuse` asked for, or None."""
        return self._refusals.get(recipient)

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
        open_now: set[Conversation] = set()
        listener = await self._loop.create_server(
            lambda: Conversation(self, open_now, self._context),
            self.host,
            0,
            ssl=self._context if self.tls == "tls" else None,
        )
        self.port = listener.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        listener.close()
        left = list(open_now)
        for conversation in left:
            conversation.abort()
        await asyncio.gather(*(conversation.ended.wait() for conversation in left))
