"""One connection that is ready for messages: dialled, greeted, encrypted and logged in."""

from __future__ import annotations

import functools
import logging
import ssl
from collections.abc import Callable
from dataclasses import replace

from mailbackends.client.hostname import own_name
from mailbackends.errors import SMTPConnectionError, SMTPException, SMTPTimeoutError
from mailbackends.mailer.options import Options
from mailbackends.mailer.submission import Job
from mailbackends.protocol import dialogue
from mailbackends.protocol.session import Dialogue, Session
from mailbackends.protocol.transaction import Delivery, deliver
from mailbackends.transport.deadline import Timeouts
from mailbackends.transport.dial import dial, dial_unix
from mailbackends.transport.driver import Driver
from mailbackends.transport.stream import Stream

__all__ = ["Connection"]

logger = logging.getLogger("mailbackends.wire")


# Our own name, once it was asked for: the resolver may take seconds, and it does not change.
_known_names: list[str] = []


class Connection:
    """What the pool keeps. Not thread-safe: whoever holds it has it alone."""

    def __init__(self, options: Options, driver: Driver) -> None:
        self._options = options
        self._driver = driver
        self._timeouts = _timeouts(options)
        self.messages = 0

    @classmethod
    def open(
        cls, options: Options, context: ssl.SSLContext | None, latest: float | None
    ) -> Connection:
        """Connect, and come as far as the first MAIL, before ``latest`` on the clock.

        Raises:
            SMTPConnectionError: nobody answers there.
            SMTPException: whatever greeting, TLS or login say.
        """
        timeouts = _timeouts(options)
        timeouts.latest = latest
        stream = _dial(options, timeouts)
        try:
            trace = _trace(options.server) if logger.isEnabledFor(logging.DEBUG) else None
            session = Session(is_lmtp=options.protocol == "lmtp", trace=trace)
            driver = Driver(session, stream, tls_context=context, tls_hostname=options.host)
            if options.security == "tls" and context is not None:
                stream.start_tls(context, options.host, timeouts.for_handshake())
                session.is_tls = True
            name = options.local_hostname or _own_name(stream)
            driver.run(_introduction(session, options, name), timeouts)
        except BaseException:
            stream.abort()
            raise
        return cls(options, driver)

    @property
    def is_ready(self) -> bool:
        """True where the session itself could go on."""
        return self._driver.session.is_reusable

    @property
    def is_reusable(self) -> bool:
        """False where another message could not go over this connection."""
        limit = self._options.max_messages
        if (announced := self._driver.session.extensions.max_messages) is not None:
            limit = min(limit, announced)
        return self.is_ready and self.messages < limit

    @property
    def is_pipelined(self) -> bool:
        """True where the server announces PIPELINING and the options allow it."""
        return self._options.pipelining and "PIPELINING" in self._driver.session.extensions

    @property
    def is_one_flight(self) -> bool:
        """True where the content may go out before the server was heard at all."""
        is_chunked = self._options.chunking and "CHUNKING" in self._driver.session.extensions
        return self.is_pipelined and is_chunked

    def deliver(
        self,
        job: Job,
        recipients: tuple[str, ...],
        latest: float | None,
        *,
        lock_step: bool = False,
    ) -> Delivery:
        """Send one message to these recipients, or to as many as the server announces (RFC 9422).

        ``lock_step`` is for a server that is known to need it.

        Raises:
            SMTPException: with its outcome. `is_reusable` tells what the connection is worth.
            InvalidMessageError: before anything was sent.
        """
        session = self._driver.session
        prepared = job.prepare(
            session.extensions, is_tls=session.is_tls, fast=self._options.fast_paths
        )
        self.messages += 1
        envelope, part = prepared.envelope, recipients[: session.extensions.max_recipients]
        if part is not envelope.forward_paths:
            envelope = replace(envelope, forward_paths=part)
        transaction = deliver(
            session,
            envelope,
            prepared.content,
            pipelining=self._options.pipelining and not lock_step,
            chunking=self._options.chunking and not lock_step,
        )
        self._timeouts.latest = latest
        return self._driver.run(transaction, self._timeouts)

    # What the pool asks

    def is_alive(self) -> bool:
        """False where the server has hung up, or said anything unasked. Never waits."""
        return self.is_ready and self._driver.stream.is_quiet()

    def close(self) -> None:
        """Say QUIT where the server can take it, and hang up. Its answer is not awaited."""
        try:
            if self.is_ready:
                dialogue.quit_now(self._driver.session)
                self._driver.send_at_once()
        except OSError:
            logger.debug("QUIT did not go out", exc_info=True)
        finally:
            self.abort()

    def abort(self) -> None:
        """Close the descriptor without a byte on the wire."""
        self._driver.session.close()
        self._driver.stream.abort()


def _own_name(stream: Stream) -> str:
    if not _known_names:
        _known_names.append(own_name(stream.sock))
    return _known_names[0]


def _introduction(session: Session, options: Options, name: str) -> Dialogue[None]:
    yield from dialogue.greeting(session)
    yield from dialogue.hello(session, name)
    if options.security == "starttls":
        yield from dialogue.starttls(session, name)
    if options.credentials is not None:
        yield from dialogue.login(session, options.credentials, options.auth_mechanisms)


def _dial(options: Options, timeouts: Timeouts) -> Stream:
    deadline = timeouts.for_connect()
    try:
        if options.socket_path is not None:
            return Stream(dial_unix(options.socket_path, deadline))
        host = options.host.strip("[]")
        return Stream(
            dial(host, options.server_port, deadline, source_address=options.source_address)
        )
    except SMTPException:
        raise
    except TimeoutError as error:
        raise SMTPTimeoutError(f"{deadline.exceeded()} to {options.server}") from error
    except OSError as error:
        raise SMTPConnectionError.because_of(error, options.server) from error


def _timeouts(options: Options) -> Timeouts:
    return Timeouts(
        connect=options.connect_timeout or options.timeout,
        command=options.timeout,
        content=options.content_timeout,
    )


def _trace(server: str) -> Callable[[str], None]:
    return functools.partial(logger.debug, "%s %s", server)
