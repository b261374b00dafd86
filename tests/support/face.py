"""What `MailServer` and `Sink` have in common: what they record, and how a test makes them refuse.

All of it may be used from any thread, before and while the server runs.
"""

from __future__ import annotations

import email
import email.policy
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Literal
from urllib.parse import quote

from support import certs

__all__ = ["HANG_UP", "STALL", "Face", "Received", "TLSMode"]

TLSMode = Literal["none", "starttls", "tls"]

HANG_UP = "hang up"
"""In place of a reply: the connection is closed (FIN)."""
STALL = "stall"
"""In place of a reply: silence, until the server stops."""


@dataclass(frozen=True)
class Received:
    """One message as it arrived."""

    mail_from: str
    rcpt_tos: tuple[str, ...]
    content: bytes
    """The bytes between DATA or BDAT and the end, dot-stuffing undone."""
    connection: int
    """The index of the connection, into ``commands`` too."""
    mail_options: tuple[str, ...] = ()
    """The parameters of MAIL, such as ``("BODY=8BITMIME", "SIZE=120")``."""
    rcpt_options: tuple[str, ...] = ()
    user: str | None = None
    """The user who had logged in."""
    is_tls: bool = False

    @property
    def message(self) -> EmailMessage:
        """The content, parsed."""
        return email.message_from_bytes(self.content, policy=email.policy.default)


class Face(ABC):
    """The public interface of a server that runs in a thread within its ``with`` block."""

    host = "127.0.0.1"
    port: int = 0

    def __init__(
        self,
        *,
        tls: TLSMode = "none",
        login: tuple[str, str] | None = None,
        require_login: bool = False,
    ) -> None:
        self.tls: TLSMode = tls
        self.login = login
        self.require_login = require_login
        self.cafile = certs.cafile()
        self.connections = 0
        """How many connections have been accepted so far."""
        self.open_connections = 0
        self.commands: list[list[str]] = []
        """For each connection its command lines, without line ends."""
        self.messages: list[Received] = []
        self._changed = threading.Condition()
        self._scripted: dict[str, list[tuple[str, int | None]]] = {}

    @property
    def url(self) -> str:
        """The URL for a `Mailer` that logs in here and verifies the certificate."""
        scheme = {"none": "smtp", "starttls": "smtp+starttls", "tls": "smtps"}[self.tls]
        user = ":".join(quote(part, safe="") for part in self.login) + "@" if self.login else ""
        query = "" if self.tls == "none" else f"?ssl_cafile={quote(self.cafile)}"
        return f"{scheme}://{user}{self.host}:{self.port}{query}"

    @property
    def message(self) -> Received:
        """The one message that arrived. Raises AssertionError unless there is exactly one."""
        assert len(self.messages) == 1, f"{len(self.messages)} messages arrived"
        return self.messages[0]

    # --- what the server should do ---------------------------------------------------

    def refuse(
        self,
        recipient: str,
        reply: str = "550 5.1.1 No such user",
        times: int | None = None,
    ) -> None:
        """Answer RCPT for ``recipient`` with ``reply``, ``times`` times or always."""
        self._script(f"rcpt {recipient}", reply, times)

    def refuse_sender(
        self, sender: str, reply: str = "550 5.1.0 Go away", times: int | None = None
    ) -> None:
        """Answer MAIL from ``sender`` with ``reply``."""
        self._script(f"mail {sender}", reply, times)

    def refuse_content(self, reply: str = "554 5.6.0 Not this", times: int | None = None) -> None:
        """Answer the end of the content with ``reply``; the message is not stored."""
        self._script("content", reply, times)

    def answer(self, verb: str, reply: str, times: int | None = 1) -> None:
        """Answer the command ``verb`` with ``reply`` and do nothing else.

        ``reply`` may be `HANG_UP`. After a reply of 421 the connection is closed. The
        verb ``CONNECT`` stands for the greeting, where the server can do that.
        """
        self._script(verb.upper(), reply, times)

    def hang_up(self, at: str = "content", times: int | None = 1) -> None:
        """Close the connection in place of the reply to the verb ``at``, or to the content."""
        self._script("content" if at == "content" else at.upper(), HANG_UP, times)

    @abstractmethod
    def close_connections(self, last_words: bytes = b"") -> None:
        """Send ``last_words`` on each open connection, and close it; returns when done."""

    def wait(self, condition: Callable[[], bool], seconds: float = 5.0) -> None:
        """Wait until ``condition()`` holds, as in ``s.wait(lambda: s.open_connections == 0)``.

        Raises AssertionError after ``seconds``.
        """
        with self._changed:
            assert self._changed.wait_for(condition, seconds), f"not within {seconds} seconds"

    # --- for the servers themselves -------------------------------------------------

    def _script(self, key: str, reply: str, times: int | None) -> None:
        with self._changed:
            self._scripted.setdefault(key, []).append((reply, times))

    def _scripted_reply(self, key: str) -> str | None:
        with self._changed:
            queue = self._scripted.get(key)
            if not queue:
                return None
            reply, times = queue[0]
            if times == 1:
                queue.pop(0)
            elif times is not None:
                queue[0] = (reply, times - 1)
            return reply

    def _accepted(self) -> int:
        with self._changed:
            self.connections += 1
            self.commands.append([])
            self._changed.notify_all()
            return self.connections - 1

    def _count_open(self, change: int) -> None:
        with self._changed:
            self.open_connections += change
            self._changed.notify_all()

    def _keep(self, received: Received) -> None:
        with self._changed:
            self.messages.append(received)
            self._changed.notify_all()
