"""One connection kept by one caller for many messages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from email.message import Message
from typing import Any

from mailbackends.mailer.connection import Connection
from mailbackends.mailer.receipt import Receipt
from mailbackends.mailer.route import Route
from mailbackends.mailer.server import Server
from mailbackends.mailer.submission import Submission
from mailbackends.pool import Lease, Pool

__all__ = ["Held"]


class Held:
    """A connection of the pool that is yours until the block ends. Not thread-safe.

    One that breaks, or has carried as many messages as it may, is replaced by another.
    With several servers, one connection to each that was needed is kept.
    """

    def __init__(self, route: Route) -> None:
        self._route = route
        self._kept: dict[Server, _Kept] = {}

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

    def _leases(self, server: Server) -> _Kept:
        if server not in self._kept:
            self._kept[server] = _Kept(server.pool)
        return self._kept[server]


class _Kept:
    """The connection to one server, for the dispatcher to use again and again."""

    def __init__(self, pool: Pool[Connection]) -> None:
        self._pool = pool
        self._lease: Lease[Connection] | None = None
        self._messages = 0

    def acquire(self, *, deadline: float | None = None, fresh: bool = False) -> Lease[Connection]:
        """The connection that is held, if it can still be used, or another."""
        lease = self._lease
        if lease is not None and not fresh and lease.connection.is_alive():
            # Also one that was new when it was taken: the server may have hung up unseen.
            return lease if lease.is_reused else replace(lease, is_reused=True)
        self.give_back(reason="dead")
        self._lease = self._pool.acquire(deadline=deadline, fresh=fresh)
        return self._lease

    def release(
        self, lease: Lease[Connection], *, reusable: bool, messages: int = 1, reason: str = ""
    ) -> None:
        """Keep the connection; one that cannot be used again goes back to the pool."""
        self._messages += messages
        if not reusable:
            self.give_back(reason=reason or "error")

    def give_back(self, *, reason: str = "") -> None:
        """Let go of the connection: for reuse, or for the reason given to be closed."""
        lease, self._lease = self._lease, None
        messages, self._messages = self._messages, 0
        if lease is not None:
            self._pool.release(lease, reusable=not reason, messages=messages, reason=reason)
