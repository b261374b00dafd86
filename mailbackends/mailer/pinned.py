"""One connection kept by one caller for many messages."""

from __future__ import annotations

from collections.abc import Iterable
from email.message import Message
from typing import Any

from mailbackends.mailer.leased import LeasedConnection
from mailbackends.mailer.receipt import Receipt
from mailbackends.mailer.router import Route
from mailbackends.mailer.server import Server
from mailbackends.mailer.submission import Submission

__all__ = ["PinnedConnection"]


class PinnedConnection:
    """A connection of the pool that is yours until the block ends. Not thread-safe.

    One that breaks, or has carried as many messages as it may, is replaced by another.
    With several servers, one connection to each that was needed is kept.
    """

    def __init__(self, route: Route) -> None:
        self._route = route
        self._kept: dict[Server, LeasedConnection] = {}

    def send_message(
        self,
        msg: Message[Any, Any] | bytes,
        from_addr: str | None = None,
        to_addrs: str | Iterable[str] | None = None,
        mail_options: Iterable[str] = (),
        rcpt_options: Iterable[str] = (),
    ) -> Receipt:
        """As `Mailer.send_message`, over the connection that is held."""
        submission = Submission(msg, from_addr, to_addrs, mail_options, rcpt_options)
        return self._route.send(submission, self._leases)

    def open(self) -> bool:
        """Take the connection now. Returns True where a new one had to be made.

        Raises:
            SMTPException: as `send_message`, where none can be made.
        """
        return self._route.open(self._leases)

    def give_back(self) -> None:
        """Let go of what is held."""
        while self._kept:
            _, kept = self._kept.popitem()
            kept.give_back()

    def _leases(self, server: Server) -> LeasedConnection:
        if server not in self._kept:
            self._kept[server] = LeasedConnection(server.pool)
        return self._kept[server]
