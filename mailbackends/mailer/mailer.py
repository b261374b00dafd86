"""The Mailer: send messages to one server over connections that live across calls."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.message import Message
from math import inf
from typing import Any

from mailbackends.errors import (
    ConfigurationError,
    InvalidAddressError,
    InvalidMessageError,
    Outcome,
    SMTPException,
)
from mailbackends.events import EventHook, at_server, guarded
from mailbackends.mailer.batch import in_order
from mailbackends.mailer.connection import Connection
from mailbackends.mailer.dispatch import Dispatcher
from mailbackends.mailer.held import Held
from mailbackends.mailer.options import Options
from mailbackends.mailer.receipt import Receipt
from mailbackends.mailer.submission import Submission
from mailbackends.pool import Pool, PoolStats
from mailbackends.transport.tls import client_context

__all__ = ["Mailer", "MailerStats"]


@dataclass(frozen=True, slots=True)
class MailerStats:
    """A Mailer at one moment: its pool, and its messages by outcome since it was made."""

    pool: PoolStats
    messages: dict[Outcome, int]


class Mailer:
    """Sends messages to one server. Make one per process and configuration, for all threads.

    ``server`` is a URL (see `mailbackends.mailer.url`) or `Options`; keyword arguments are
    the fields of `Options` and take precedence. Nothing connects before the first message.
    ``on_event`` is called with each `mailbackends.events.Event`.

    Raises:
        ConfigurationError: an option is unknown, unusable or contradicts another.
    """

    def __init__(
        self,
        server: str | Options | None = None,
        *,
        on_event: EventHook | None = None,
        **options: Any,
    ) -> None:
        self.options = _options(server, options)
        # Made once: loading the system's certificates takes longer than sending a message.
        self._context = _context(self.options)
        emit = on_event
        if on_event is not None:
            chosen = self.options
            address = chosen.socket_path or chosen.host
            port = None if chosen.socket_path else chosen.server_port
            emit = at_server(on_event, address, port)
        self._dispatcher = Dispatcher(self.options, guarded(emit))
        self._pool: Pool[Connection] = Pool(
            self._connect,
            size=self.options.pool_size,
            timeout=inf if self.options.pool_timeout is None else self.options.pool_timeout,
            max_messages=self.options.max_messages,
            max_age=self.options.max_age,
            max_idle=self.options.max_idle,
            on_event=emit,
        )

    def send_message(
        self,
        msg: Message[Any, Any] | bytes,
        from_addr: str | None = None,
        to_addrs: str | Iterable[str] | None = None,
        mail_options: Iterable[str] = (),
        rcpt_options: Iterable[str] = (),
    ) -> Receipt:
        """Send one message, and return what the server took responsibility for.

        Sender and recipients come from the message's fields where they are not given
        (RFC 5322 section 3.6): Sender or From; To, Cc and Bcc. Bcc is never transmitted.
        A message as bytes goes as it is, line ends apart, and needs both given.
        ``mail_options`` and ``rcpt_options`` are parameters such as ``"RET=HDRS"``.

        Raises:
            InvalidAddressError, InvalidMessageError: before a byte was sent.
            SMTPException: ``outcome`` tells what became of the message.
        """
        submission = Submission(msg, from_addr, to_addrs, mail_options, rcpt_options)
        return self._dispatcher.send(submission, self._pool)

    def send_messages(
        self, messages: Iterable[Message[Any, Any] | Submission]
    ) -> Iterator[Receipt | Exception]:
        """Send each message, and yield its `Receipt` or the exception, in order.

        An iterable of any length, or without end, is taken as it is sent; nothing is sent
        before the result is iterated over. A refusal does not stop the rest. With the
        option ``connections`` so many messages are on their way side by side.
        """
        return in_order(self._outcome, messages, self.options.connections)

    @contextlib.contextmanager
    def hold(self) -> Iterator[Held]:
        """Keep one connection of the pool for the block, taken at the first message."""
        held = Held(self._pool, self._dispatcher)
        try:
            yield held
        finally:
            held.give_back()

    def open(self) -> bool:
        """See to it that a connection stands ready. Returns True where one had to be made.

        Raises:
            SMTPException: as `send_message`, where none can be made.
        """
        with self.hold() as held:
            try:
                return held.open()
            except SMTPException as error:
                error.server = self.options.server
                raise

    def stats(self) -> MailerStats:
        """The connections and messages so far."""
        return MailerStats(self._pool.stats(), self._dispatcher.outcomes)

    def close(self) -> None:
        """Close idle connections now and the others when they are done; send no more."""
        self._pool.close()

    def __enter__(self) -> Mailer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Mailer {self.options.protocol} {self.options.security} {self.options.server}>"

    def _outcome(self, item: Message[Any, Any] | Submission) -> Receipt | Exception:
        submission = item if isinstance(item, Submission) else Submission(item)
        try:
            return self._dispatcher.send(submission, self._pool)
        except (SMTPException, InvalidAddressError, InvalidMessageError) as error:
            return error

    def _connect(self, deadline: float | None) -> Connection:
        return Connection.open(self.options, self._context, deadline)


def _options(server: str | Options | None, options: dict[str, Any]) -> Options:
    if isinstance(server, Options):
        return server.replace(**options)
    if isinstance(server, str):
        return Options.from_url(server, **options)
    if server is None:
        return Options.from_mapping(options)
    raise ConfigurationError(f"a Mailer takes a URL or Options, not {type(server).__name__}")


def _context(options: Options) -> Any:
    if options.security == "none":
        return None
    return options.ssl_context or client_context(
        cafile=options.ssl_cafile,
        certfile=options.ssl_certfile,
        keyfile=options.ssl_keyfile,
        minimum_version=options.tls_minimum_version,
    )
