"""`Sink`: a small SMTP and LMTP server with what aiosmtpd lacks.

It announces what a test asks for, including PIPELINING and CHUNKING, and accepts nothing that it
did not announce. It counts round trips, and can break at a given byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from support import certs
from support.conversation import SASL, Conversation
from support.face import STALL, Face, TLSMode
from support.peer import Listener, Peer
from support.wire import Cut, Wire

__all__ = ["EXTENSIONS", "Sink"]

EXTENSIONS = (
    "PIPELINING",
    "SIZE 33554432",
    "8BITMIME",
    "SMTPUTF8",
    "ENHANCEDSTATUSCODES",
    "CHUNKING",
)


class Sink(Face):
    """An SMTP server (LMTP with ``lmtp``) in threads, with the interface of `MailServer`::

        with Sink(extensions=("PIPELINING", "CHUNKING")) as sink:
            ...
        assert len(sink.flights[0]) == 3  # EHLO, the message, QUIT

    ``extensions`` are the EHLO keywords; STARTTLS and AUTH are added as ``tls`` and
    ``login`` ask. Without PIPELINING among them, a second command in one write gets 500
    and the end of the connection, as from OpenSMTPD.

    Replies are delayed until the client has nothing more in transit, as real servers do, and a
    flight is everything that the client sent until then: so flights are round trips, however the
    kernel splits the bytes. ``eager`` sends each reply at once instead. ``quiet`` waits for so many
    seconds whether more is coming before it replies: for clients that write one group in several
    writes.
    """

    def __init__(
        self,
        *,
        extensions: Sequence[str] = EXTENSIONS,
        tls: TLSMode = "none",
        login: tuple[str, str] | None = None,
        require_login: bool = False,
        lmtp: bool = False,
        path: str | None = None,
        mechanisms: Sequence[str] = ("PLAIN", "LOGIN"),
        sasl: Mapping[str, SASL] | None = None,
        eager: bool = False,
        quiet: float = 0.0,
        names: tuple[str, ...] = (),
        expired: bool = False,
    ) -> None:
        """``path`` is that of a Unix socket; ``names`` and ``expired`` are the certificate's.

        ``mechanisms`` are announced if ``login`` is given, followed by those of ``sasl``, which
        maps a name to a function that runs the exchange.
        """
        super().__init__(tls=tls, login=login, require_login=require_login)
        self.extensions = tuple(extensions)
        self.lmtp = lmtp
        self.sasl = dict(sasl or {})
        self.mechanisms = (*mechanisms, *self.sasl) if login else tuple(self.sasl)
        self.eager = eager
        self.quiet = quiet
        self.flights: list[list[bytes]] = []
        """For each connection what the client sent between two waits for a reply."""
        self.violations: list[str] = []
        """The client's violations of RFC 2920 and similar rules; each got 5yz and was
        disconnected.
        """
        self._context = None if tls == "none" else certs.server_context(*names, expired=expired)
        self._cuts: list[Cut] = []
        self._threads = _Threads(self, path)

    def __enter__(self) -> Sink:
        self.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.stop()
        if kind is None and self._threads.errors:
            raise self._threads.errors[0]

    def start(self) -> None:
        """Listen; after `stop`, on the same port as before."""
        self._threads.start()
        self.port = self._threads.port

    def stop(self) -> None:
        """Close all connections without a reply, and the listening socket."""
        self._threads.stop()

    def refuse_delivery(
        self, recipient: str, reply: str = "552 5.2.2 Mailbox full", times: int | None = None
    ) -> None:
        """LMTP: answer for this recipient with ``reply`` after the content."""
        self._script(f"deliver {recipient}", reply, times)

    def received(self, connection: int = 0) -> bytes:
        """All bytes received on this connection, without TLS."""
        return bytes(self._threads.peers[connection].received)

    def sent(self, connection: int = 0) -> bytes:
        """All bytes sent on this connection, without TLS."""
        return bytes(self._threads.peers[connection].sent)

    def cut(
        self,
        *,
        received: int | None = None,
        sent: int | None = None,
        connection: int | None = None,
        reset: bool = False,
    ) -> None:
        """Break off once this many bytes were ``received`` from the client, or ``sent`` to it.

        Bytes are counted above TLS, from the start of the connection. ``connection`` is
        the index of the one to break, None breaks each. ``reset``: with RST, not FIN.
        """
        self._cuts.append(Cut(received, sent, connection, reset))

    def stall(self, at: str = "content", times: int | None = 1) -> None:
        """Never answer the verb ``at``, or the content; the connection stays open."""
        self._script("content" if at == "content" else at.upper(), STALL, times)

    def close_connections(self, last_words: bytes = b"") -> None:
        for peer in self._threads.peers:
            peer.interrupt(last_words)
        self.wait(lambda: self.open_connections == 0)


class _Threads(Listener):
    def __init__(self, sink: Sink, path: str | None) -> None:
        super().__init__(path)
        self.sink = sink

    def accepted(self, peer: Peer) -> None:
        self.sink.flights.append([])
        self.sink._accepted()
        self.sink._count_open(+1)

    def serve(self, peer: Peer) -> None:
        try:
            if self.sink.tls == "tls":
                assert self.sink._context is not None
                peer.start_tls(self.sink._context)
            cuts = [c for c in self.sink._cuts if c.connection in (None, peer.index)]
            wire = Wire(peer, self.sink.flights[peer.index], cuts, self.sink.quiet)
            wire.is_eager = self.sink.eager
            Conversation(self.sink, wire, peer.index).run()
        finally:
            peer.finish()
            self.sink._count_open(-1)
