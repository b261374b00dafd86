"""Between the sink's conversation and the socket: delayed replies, flights, cuts."""

from __future__ import annotations

import select
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

from support.peer import ClientGone, Peer

__all__ = ["Cut", "Wire"]


@dataclass(frozen=True)
class Cut:
    """Where to break off: after this many bytes received from the client, or sent to it."""

    received: int | None
    sent: int | None
    connection: int | None
    reset: bool


class Wire:
    """Lines and chunks from the client, replies to it."""

    def __init__(
        self, peer: Peer, flights: list[bytes], cuts: Sequence[Cut], quiet: float = 0.0
    ) -> None:
        self.peer = peer
        self.flights = flights
        self.cuts = cuts
        self.quiet = quiet
        self.is_eager = False
        self._replies = bytearray()
        self._is_new_flight = True
        self._broken: Cut | None = None

    def reply(self, data: bytes) -> None:
        """Reply, at the latest when the client has nothing more in transit."""
        self._replies += data
        if self.is_eager:
            self.flush()

    def flush(self) -> None:
        """Send the delayed replies."""
        data, self._replies = bytes(self._replies), bytearray()
        if self._broken is not None or not data:
            return  # what arrived before a cut is processed, and never answered
        self._is_new_flight = True
        before = len(self.peer.sent)
        for cut in self.cuts:
            if cut.sent is not None and before + len(data) >= cut.sent:
                data = data[: cut.sent - before]
                self._broken = cut
        if data:
            self.peer.send(data)
        if self._broken is not None:
            self._break_off()

    def read_line(self) -> bytes:
        """The next line without CRLF."""
        return self._read_until(b"\r\n")

    def read_content(self) -> bytes:
        """The content before the lone dot, dot-stuffing undone (RFC 5321 section 4.5.2)."""
        # With this in front, a dot on the first line is found as on any other.
        if not self.peer.buffer:
            self._fill()
        self.peer.buffer[:0] = b"\r\n"
        content = self._read_until(b"\r\n.\r\n") + b"\r\n"
        return content.replace(b"\r\n.", b"\r\n")[2:]

    def read_chunk(self, size: int) -> bytes:
        """The next ``size`` bytes; delayed replies wait until they have arrived."""
        while len(self.peer.buffer) < size:
            self._fill(flush=False)
        return self.peer.read_exactly(size)

    def has_more(self) -> bool:
        """True if the client has sent more without waiting for the delayed replies."""
        sock = self.peer.sock
        # Not by select(): after QUIT it would take the end of the stream for more data.
        return bool(self.peer.buffer) or (isinstance(sock, ssl.SSLSocket) and sock.pending() > 0)

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Send the delayed replies, then do the handshake."""
        self.flush()
        self.peer.start_tls(context)

    def stall(self) -> None:
        """Send nothing more until the client or the server gives up."""
        self.flush()
        self.peer.read_to_end()
        raise ClientGone

    def _read_until(self, end: bytes) -> bytes:
        searched = 0
        while self.peer.buffer.find(end, searched) < 0:
            searched = max(0, len(self.peer.buffer) - len(end))
            # Half a line is not a reason to reply: the other half is sent without waiting.
            self._fill(flush=not self.peer.buffer)
        return self.peer.read_until(end)

    def _fill(self, flush: bool = True) -> None:
        if flush and not (self.quiet and self._is_arriving(self.quiet)):
            self.flush()
        if self._broken is None:
            for cut in self.cuts:
                if cut.received is not None and len(self.peer.received) >= cut.received:
                    self._broken = cut  # at the very first byte
        if self._broken is not None:
            self._break_off()
        data = self.peer.fill()
        for cut in self.cuts:
            excess = len(self.peer.received) - (cut.received or 0)
            if cut.received is not None and excess >= 0:
                del self.peer.received[cut.received :]
                del self.peer.buffer[len(self.peer.buffer) - excess :]
                data = data[: len(data) - excess]
                self._broken = cut
        if self._is_new_flight:
            self.flights.append(b"")
            self._is_new_flight = False
        self.flights[-1] += data

    def _is_arriving(self, seconds: float) -> bool:
        return self.has_more() or bool(select.select([self.peer.sock], [], [], seconds)[0])

    def _break_off(self) -> None:
        assert self._broken is not None
        if self._broken.reset:
            self.peer.reset()
        raise ClientGone
