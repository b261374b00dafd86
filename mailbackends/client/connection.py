"""A connection to a server: lines go out, replies come in."""

from __future__ import annotations

import contextlib
import socket
import sys
from datetime import datetime
from typing import Any

from mailbackends.client.masking import Masking
from mailbackends.client.quoting import CRLF, Data
from mailbackends.client.reader import ReplyReader
from mailbackends.errors import SMTPProtocolError, SMTPServerDisconnected, SMTPTimeoutError
from mailbackends.reply import Reply

__all__ = ["DEFAULT_TIMEOUT", "SMTP_PORT", "Connection", "SourceAddress", "check_timeout"]

SMTP_PORT = 25

# The mark for "as socket.setdefaulttimeout() says", by which `smtplib`, too, tells it
# from None, which is no timeout at all.
DEFAULT_TIMEOUT: Any = socket._GLOBAL_DEFAULT_TIMEOUT  # type: ignore[attr-defined]

SourceAddress = tuple[str, int]


class Connection:
    """What `SMTP` is built on: `connect`, `putcmd`, `getreply`, `docmd`, `send`, `close`.

    The connection is closed, and ``sock`` None, as soon as what the server says next could
    not be trusted to answer what is asked next: after a timeout, an end, something that
    is no reply, a reply nobody asked for, an interruption while a reply was waited for,
    and after each 421.
    """

    debuglevel: int = 0
    sock: socket.socket | None = None
    file: Any = None
    """Always None: replies are read from ``sock``. There for programs that reset it."""
    default_port: int = SMTP_PORT

    timeout: float | None
    source_address: SourceAddress | None
    command_encoding: str = "ascii"
    _host: str = ""
    _reader: ReplyReader | None = None
    _masking: Masking
    _replies_due: int = 0

    def set_debuglevel(self, debuglevel: int) -> None:
        """Show the conversation on ``sys.stderr``: 1 shows it, 2 adds the time of day.

        Credentials are shown as ``***``.
        """
        self.debuglevel = debuglevel

    def connect(
        self, host: str = "localhost", port: int = 0, source_address: SourceAddress | None = None
    ) -> tuple[int, bytes]:
        """Connect, and return the greeting as ``(code, text)``; 220 means welcome.

        ``host`` may be ``"name:port"`` where ``port`` is not given. Whatever was known of
        an earlier connection is forgotten, and that connection closed.

        Raises:
            OSError: the connection could not be made, or the port is no number.
            SMTPServerDisconnected: the server hung up before its greeting.
            SMTPTLSError: no TLS connection could be agreed on (`SMTP_SSL`).
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
        # Without this, the kernel holds back each small write behind an unanswered one.
        # (AttributeError: a subclass's `_get_socket` may return a stand-in for a socket.)
        with contextlib.suppress(OSError, AttributeError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._greeting(sock)

    def send(self, s: Data) -> None:
        """Send bytes as they are, or text in ``command_encoding``.

        Raises:
            SMTPServerDisconnected: there is no connection, or it broke; ``reply`` is what
                the server said before, where it did.
            SMTPTimeoutError: the server did not take them in time; likewise.
            SMTPProtocolError: the server said something although nobody had asked.
        """
        if self.debuglevel > 0:
            self._print_debug("send:", repr(self._masking.sent(s)))
        if self.sock is None:
            raise SMTPServerDisconnected("please run connect() first")
        data = s.encode(self.command_encoding) if isinstance(s, str) else s
        sys.audit("smtplib.send", self, data)
        if not self._replies_due and not self._replies().is_quiet() and self._has_farewell():
            self._replies_due = 1
            return  # nobody reads it any more; getreply() tells why
        self._replies_due += 1
        try:
            self.sock.sendall(data)
        except OSError as error:
            kind = SMTPTimeoutError if isinstance(error, TimeoutError) else SMTPServerDisconnected
            failure = kind("Server not connected")
            failure.reply = self._replies().last_words()
            self.close()
            raise failure from error
        except BaseException:
            self.close()
            raise

    def putcmd(self, cmd: str, args: str = "") -> None:
        """Send a command line, and do not wait for its reply.

        Raises:
            ValueError: a line break or NUL in it: it would be more than one command.
            SMTPServerDisconnected, SMTPTimeoutError, SMTPProtocolError: as `send`.
        """
        line = cmd if args == "" else f"{cmd} {args}"
        if "\r" in line or "\n" in line:
            shown = self._masking.line(line).replace("\n", "\\n").replace("\r", "\\r")
            raise ValueError(
                f"command and arguments contain prohibited newline characters: {shown}"
            )
        if "\0" in line:
            shown = self._masking.line(line).replace("\0", "\\0")
            raise ValueError(f"command and arguments contain prohibited NUL characters: {shown}")
        self.send(f"{line}{CRLF}")

    def getreply(self) -> tuple[int, bytes]:
        """The next reply as ``(code, text)``, the lines of the text joined by a line feed.

        The whole reply takes at most ``timeout`` seconds. After a 421 the connection is
        closed, as the server announces it (RFC 5321 section 3.8).

        Raises:
            SMTPServerDisconnected: there is no connection, or it ended.
            SMTPTimeoutError: the reply did not come in time.
            SMTPProtocolError: what came is no reply.
        """
        reply = self._read()
        code = reply.code
        if self._replies_due:
            self._replies_due -= 1
        self._masking.is_in_exchange = code == 334
        if code == 421:
            self.close()
        return code, reply.message

    def docmd(self, cmd: str, args: str = "") -> tuple[int, bytes]:
        """Send a command and return its reply; raises as `putcmd` and `getreply` do."""
        self.putcmd(cmd, args)
        return self.getreply()

    def close(self) -> None:
        """Close the connection, without a word. Never waits."""
        sock, self.sock, self._reader = self.sock, None, None
        self._replies_due = 0
        if sock is not None:
            sock.close()

    # What a subclass may replace

    def _get_socket(self, host: str, port: int, timeout: float | None) -> socket.socket:
        check_timeout(timeout)
        if self.debuglevel > 0:
            self._print_debug("connect: to", (host, port), self.source_address)
        return socket.create_connection((host, port), timeout, self.source_address)

    def _print_debug(self, *args: object) -> None:
        stamp = (datetime.now().time(),) if self.debuglevel > 1 else ()
        print(*stamp, *args, file=sys.stderr)

    # The rest is ours

    def _begin(self, host: str) -> None:
        """Forget what was known of an earlier connection."""
        if self.sock is not None:
            self.close()
        self._host = host
        self._masking = Masking()
        self.command_encoding = "ascii"

    def _greeting(self, sock: socket.socket) -> tuple[int, bytes]:
        self.sock = sock
        self._replies_due = 1
        code, message = self.getreply()
        if self.debuglevel > 0:
            self._print_debug("connect:", repr(message))
        return code, message

    def _replies(self) -> ReplyReader:
        if self.sock is None:
            raise SMTPServerDisconnected("please run connect() first")
        # A program may have put another socket in its place, as for TLS of its own.
        reader = self._reader
        if reader is None or reader.sock is not self.sock:
            reader = self._reader = ReplyReader(self.sock)
        return reader

    def _has_farewell(self) -> bool:
        try:
            return self._replies().has_farewell()
        except SMTPProtocolError:
            self.close()
            raise

    def _read(self) -> Reply:
        reader = self._replies()
        try:
            reply = reader.read()
            raw = reader.take_lines(len(reply.lines))
            if self.debuglevel > 0:
                self._show(raw, reply)
            if reply.code == -1:
                last = raw[:-1].rpartition(b"\n")[2]
                raise SMTPProtocolError(500, b"No reply code: " + last.strip()[:200])
            return reply
        except SMTPProtocolError:
            self.close()
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
            # The reply will still come. Read later, it would be taken for another one's.
            self.close()
            raise

    def _show(self, raw: bytes, reply: Reply) -> None:
        for line in raw.split(b"\n")[:-1]:
            self._print_debug("reply:", repr(self._masking.received(line + b"\n")))
        shown = self._masking.received(reply.message)
        self._print_debug(f"reply: retcode ({reply.code}); Msg: {shown!a}")


def check_timeout(timeout: float | None) -> None:
    """Raises ValueError for 0, which for a socket means not to wait at all."""
    if timeout is not None and not timeout:
        raise ValueError("Non-blocking socket (timeout=0) is not supported")
