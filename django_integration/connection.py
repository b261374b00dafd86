"""What stands in ``backend.connection`` while a backend is open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from email.message import Message
from typing import Any

from django_integration.registry import Route, registry
from mailbackends import Receipt

__all__ = ["PooledConnection"]


class PooledConnection:
    """The pool of one configuration, with the methods of a connection that send.

    For code written to Django's own backend, where ``backend.connection`` is the
    connection of `smtplib`. It holds none of the pool's connections: each call takes one
    and gives it back, so a backend that nobody closes withholds nothing from the others.
    """

    def __init__(self, route: Route) -> None:
        self.route = route

    @property
    def timeout(self) -> float | None:
        """The longest wait for one reply, in seconds."""
        return self.route.servers[0].timeout

    @property
    def local_hostname(self) -> str | None:
        """Our name in EHLO; None: this machine's."""
        return self.route.servers[0].local_hostname

    def open(self) -> bool:
        """Make sure that a connection stands ready; True where a new one was made.

        Raises: as `mailbackends.Mailer.send_message`.
        """
        with registry.mailer(self.route) as mailer:
            return mailer.open()

    def sendmail(
        self,
        from_addr: str,
        to_addrs: str | Sequence[str],
        msg: bytes | str,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
    ) -> dict[str, tuple[int, bytes]]:
        """As `smtplib.SMTP.sendmail`: the recipients that were refused, with code and text.

        Raises: as `mailbackends.Mailer.send_message`; UnicodeEncodeError for text that is
            not ASCII.
        """
        content = msg.encode("ascii") if isinstance(msg, str) else msg
        receipt = self.send_message(content, from_addr, to_addrs, mail_options, rcpt_options)
        return {who: (reply.code, reply.message) for who, reply in receipt.refused.items()}

    def send_message(
        self,
        msg: Message[Any, Any] | bytes,
        from_addr: str | None = None,
        to_addrs: str | Iterable[str] | None = None,
        mail_options: Sequence[str] = (),
        rcpt_options: Sequence[str] = (),
    ) -> Receipt:
        """As `mailbackends.Mailer.send_message`."""
        with registry.mailer(self.route) as mailer:
            return mailer.send_message(msg, from_addr, to_addrs, mail_options, rcpt_options)

    def quit(self) -> None:
        """Does nothing: the pool closes its connections."""

    close = quit

    def __repr__(self) -> str:
        return f"<PooledConnection to {self.route.servers[0].server}>"
