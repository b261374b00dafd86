"""A connection to a server: command lines out, replies in."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
from datetime import datetime
from typing import Any

from mailbackends.client.formatting import CRLF, Data
from mailbackends.client.reader import ReplyReader
from mailbackends.errors import (
    SMTPException,
    SMTPProtocolError,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)
from mailbackends.protocol import hints
from mailbackends.protocol.masking import Masking, masked_line, secrets_in
from mailbackends.reply import Reply
from mailbackends.wording import SMTPLIB

__all__ = [
    "DEFAULT_TIMEOUT",
    "SMTP_PORT",
    "CodeAndText",
    "CommandChannel",
    "SourceAddress",
    "add_hint",
    "check_timeout",
]

SMTP_PORT = 25

# Stands for the value of socket.setdefaulttimeout(). `smtplib` uses it, too, to distinguish
# that from None, which means no timeout.
DEFAULT_TIMEOUT: Any = socket._GLOBAL_DEFAULT_TIMEOUT  # type: ignore[attr-defined]

SourceAddress = tuple[str, int]

CodeAndText = tuple[int, bytes]
"""A reply as `smtplib` returns it: the code, and the lines of the text joined by a line feed."""


class CommandChannel:
    """The base of `SMTP`: `connect`, `putcmd`, `getreply`, `docmd`, `send`, `close`.

    The connection is closed, and ``sock`` is None, as soon as the server's next reply could
    not be trusted to answer the next command: after a timeout, an end of the connection, data
    that is not a reply, a reply that no command asked for, an interruption while waiting for a
    reply, and a 421.
    """

    debuglevel: int = 0
    sock: socket.socket | None = None
    file: Any = None
    """Always None: replies are read from ``sock``. It exists for programs that reset it."""
    default_port: int = SMTP_PORT

    timeout: float | None
    source_address: SourceAddress | None
    command_encoding: str = "ascii"
    _host: str = ""
    _reader: ReplyReader | None = None
    _masking: Masking
    _is_challenged: bool = False
    """True after a 334: the next line answers a challenge, and is secret."""
    _replies_due: int = 0

    def set_debuglevel(self, debuglevel: int) -> None:
        """Print the conversation on ``sys.stderr``; level 2 adds the time of day.

        Credentials are printed as ``***``.
        """
        self.debuglevel = debuglevel

    def connect(
        self, host: str = "localhost", port: int = 0, source_address: SourceAddress | None = None
    ) -> CodeAndText:
        """Connect, and return the greeting as ``(code, text)``; 220 means success.

        ``host`` may be ``"name:port"`` if ``port`` is not given. An earlier connection is
        closed, and everything that was known of it is forgotten.

        Raises:
            OSError: the connection could not be made, or the port is not a number.
            SMTPServerDisconnected: the server closed the connection before its greeting.
            SMTPTLSError: the TLS handshake failed (`SMTP_SSL`).
            ValueError: the timeout is 0.
        """
        if source_address:
            self.source_address = source_address
        if not port and host.count(":") == 1:
            host, _, digits = host.partition(":")
            try:
                port = int(digits)
            except ValueError:
                raise OSError("nonnumeric port") from None
        port = port or self.default_port
        sys.audit("smtplib.connect", self, host, port)
        self._begin(host)
        sock = self._get_socket(host, port, self.timeout)
        # Otherwise the kernel delays each small write until the one before is acknowledged.
        # (AttributeError: a subclass's `_get_socket` may return a substitute for a socket.)
        with contextlib.suppress(OSError, AttributeError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            return self._greeting(sock)
        except SMTPException as error:
            if isinstance(error, SMTPServerDisconnected) and not isinstance(sock, ssl.SSLSocket):
                error.suggesting(hints.NO_GREETING)
            add_hint(error)
            raise

    def send(self, s: Data) -> None:
        """Send bytes as they are, or text in ``command_encoding``.

        Raises:
            SMTPServerDisconnected: there is no connection, or it broke; ``reply`` is the
                server's last reply, if it sent one before.
            SMTPTimeoutError: the server did not take them in time; likewise.
            SMTPProtocolError: the server sent something that no command asked for.
        """
        if self.debuglevel > 0:
            self._print_debug("send:", repr(self._shown(s)))
        if isinstance(s, str):  # and not content
            for secret in secrets_in(s, is_response=self._is_challenged):
                self._masking.remember(secret)
        if self.sock is None:
            raise SMTPServerDisconnected("please run connect() first")
        data = s.encode(self.command_encoding) if isinstance(s, str) else s
        sys.audit("smtplib.send", self, data)
        if not self._replies_due and not self._replies().is_quiet() and self._has_farewell():
            self._replies_due = 1
            return  # The server no longer reads; getreply() returns its reason.
        self._replies_due += 1
        try:
            self.sock.sendall(data)
        except OSError as error:
            kind = SMTPTimeoutError if isinstance(error, TimeoutError) else SMTPServerDisconnected
            failure = kind("Server not connected")
            last_words = self._replies().last_words()
            failure.reply = last_words and self._masking.masked(last_words)
            self.close()
            raise failure from error
        except BaseException:
            self.close()
            raise

    def putcmd(self, cmd: str, args: str = "") -> None:
        """Send a command line, without waiting for its reply.

        Raises:
            ValueError: it contains a line break or NUL, and would be more than one command.
            SMTPServerDisconnected, SMTPTimeoutError, SMTPProtocolError: as `send`.
        """
        line = cmd if args == "" else f"{cmd} {args}"
        if "\r" in line or "\n" in line:
            shown = self._shown_line(line).replace("\n", "\\n").replace("\r", "\\r")
            raise ValueError(
                f"command and arguments contain prohibited newline characters: {shown}"
            )
        if "\0" in line:
            shown = self._shown_line(line).replace("\0", "\\0")
            raise ValueError(f"command and arguments contain prohibited NUL characters: {shown}")
        self.send(f"{line}{CRLF}")

    def getreply(self) -> CodeAndText:
        """Return the next reply as ``(code, text)``, the lines of the text joined by a line feed.

        The whole reply may take at most ``timeout`` seconds. After a 421, with which the server
        announces that it closes (RFC 5321 section 3.8), the connection is closed. Credentials
        that the server quotes are replaced by ``***``.

        Raises:
            SMTPServerDisconnected: there is no connection, or it ended.
            SMTPTimeoutError: the reply did not come in time.
            SMTPProtocolError: the server sent something that is not a reply.
        """
        reply = self._read()
        code = reply.code
        if self._replies_due:
            self._replies_due -= 1
        self._is_challenged = code == 334
        if code == 421:
            self.close()
        return code, reply.message

    def docmd(self, cmd: str, args: str = "") -> CodeAndText:
        """Send a command and return its reply. Raises what `putcmd` and `getreply` raise."""
        self.putcmd(cmd, args)
        return self.getreply()

    def close(self) -> None:
        """Close the connection at once, without QUIT and without waiting."""
        sock, self.sock, self._reader = self.sock, None, None
        self._replies_due = 0
        if sock is not None:
            sock.close()

    # Methods that a subclass may override

    def _get_socket(self, host: str, port: int, timeout: float | None) -> socket.socket:
        check_timeout(timeout)
        if self.debuglevel > 0:
            self._print_debug("connect: to", (host, port), self.source_address)
        return socket.create_connection((host, port), timeout, self.source_address)

    def _print_debug(self, *args: object) -> None:
        stamp = (datetime.now().time(),) if self.debuglevel > 1 else ()
        print(*stamp, *args, file=sys.stderr)

    # Internal

    def _begin(self, host: str) -> None:
        """Forget what was known of an earlier connection."""
        if self.sock is not None:
            self.close()
        self._host = host
        self._masking = Masking()
        self._is_challenged = False
        self.command_encoding = "ascii"

    def _greeting(self, sock: socket.socket) -> CodeAndText:
        self.sock = sock
        self._replies_due = 1
        code, message = self.getreply()
        if self.debuglevel > 0:
            self._print_debug("connect:", repr(message))
        return code, message

    def _replies(self) -> ReplyReader:
        if self.sock is None:
            raise SMTPServerDisconnected("please run connect() first")
        # A program may have replaced the socket, for example to do TLS itself.
        reader = self._reader
        if reader is None or reader.sock is not self.sock:
            reader = self._reader = ReplyReader(self.sock)
        return reader

    def _has_farewell(self) -> bool:
        try:
            return self._replies().has_farewell()
        except SMTPProtocolError as error:
            self.close()
            error.__traceback__ = None  # It would show what the server sent, unmasked.
            raise

    def _read(self) -> Reply:
        reader = self._replies()
        try:
            return self._masked_reply(reader)
        except SMTPProtocolError as error:
            self.close()
            error.__traceback__ = None  # It would show what the server sent, unmasked.
            raise
        except TimeoutError as error:
            self.close()
            raise SMTPTimeoutError(f"Connection unexpectedly closed: {error}") from error
        except EOFError:
            self.close()
            raise SMTPServerDisconnected("Connection unexpectedly closed") from None
        except OSError as error:
            self.close()
            raise SMTPServerDisconnected(f"Connection unexpectedly closed: {error}") from error
        except BaseException:
            # The reply will still come. Read later, it would be taken for that to another command.
            self.close()
            raise

    def _masked_reply(self, reader: ReplyReader) -> Reply:
        reply = reader.read()
        raw = reader.take_lines(len(reply.lines))
        if self.debuglevel > 0:
            self._show(raw, reply)
        if reply.code == -1:
            last = raw[:-1].rpartition(b"\n")[2]
            shown = self._masking.mask(last.strip())[:200]
            raise SMTPProtocolError(500, b"No reply code: " + shown)
        # A challenge is part of the exchange, and has to be complete.
        return reply if reply.code == 334 else self._masking.masked(reply)

    def _shown(self, data: Data) -> bytes | str:
        """Sent data with credentials masked: text for text, bytes for bytes."""
        if isinstance(data, str):
            return self._shown_line(data)
        return self._shown_line(bytes(data).decode("latin-1")).encode("latin-1")

    def _shown_line(self, line: str) -> str:
        return masked_line(line, is_response=self._is_challenged)

    def _show(self, raw: bytes, reply: Reply) -> None:
        for line in raw.split(b"\n")[:-1]:
            self._print_debug("reply:", repr(self._masking.mask(line + b"\n")))
        shown = self._masking.mask(reply.message)
        self._print_debug(f"reply: retcode ({reply.code}); Msg: {shown!a}")


def add_hint(error: SMTPException) -> None:
    """Show the error's hint, in this interface's words, below its traceback (PEP 678).

    Its text stays the one that programs written for `smtplib` expect.
    """
    error.wording = SMTPLIB
    if (hint := error.hint) and hint not in getattr(error, "__notes__", ()):
        error.add_note(hint)


def check_timeout(timeout: float | None) -> None:
    """Raise ValueError for 0, with which a socket would not wait at all."""
    if timeout is not None and not timeout:
        raise ValueError("Non-blocking socket (timeout=0) is not supported")
