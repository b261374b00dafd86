"""`Talk`: a server's reply to each verb, correct by default, and wrong where a test asks for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from support import certs
from support.peer import ClientGone, Listener, Peer

__all__ = ["HANG_UP", "SILENCE", "Answer", "Talk", "TalkServer"]


class _HungUp(ClientGone):
    """The server itself closed the connection."""


Answer = str | bytes | Callable[[Peer], None]
"""A reply without its last CRLF; or bytes, sent as they are; or what to do instead."""


def HANG_UP(peer: Peer) -> None:
    """End the connection in place of a reply."""
    raise _HungUp


def SILENCE(peer: Peer) -> None:
    """Send nothing more, and wait for the client to close."""
    peer.read_to_end()
    raise ClientGone


_DEFAULTS: dict[str, Answer] = {
    "connect": "220 mail.test ESMTP",
    "ehlo": "250-mail.test\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n250 HELP",
    "mail": "250 2.1.0 Sender ok",
    "rcpt": "250 2.1.5 Recipient ok",
    "data": "354 Go ahead",
    "content": "250 2.0.0 Queued",
    "auth": "235 2.7.0 Welcome",
    "response": "235 2.7.0 Welcome",
    "starttls": "220 2.0.0 Go ahead",
    "quit": "221 2.0.0 Bye",
}


class Talk:
    """One conversation: for each verb, in lower case, its answer or a list of them.

    A list is used in order; after it, and for verbs that are not named, the reply is a good one.
    ``connect`` is the greeting, ``content`` what follows the content, and ``response`` what follows
    a line sent in answer to a 334. LHLO counts as EHLO.
    """

    def __init__(self, *, implicit_tls: bool = False, **answers: Answer | Sequence[Answer]) -> None:
        self._implicit_tls = implicit_tls
        self._answers = {
            verb: list(given) if isinstance(given, list | tuple) else given
            for verb, given in answers.items()
        }

    def __call__(self, peer: Peer) -> None:
        """Answer the client until it closes."""
        answers: dict[str, Any] = {
            verb: list(given) if isinstance(given, list) else given
            for verb, given in self._answers.items()
        }

        def say(verb: str) -> bytes:
            given = answers.get(verb)
            if isinstance(given, list):
                given = given.pop(0) if given else None
            if given is None:
                given = _DEFAULTS.get(verb, "250 2.0.0 Ok")
            if callable(given):
                given(peer)
                return b""
            reply = given if isinstance(given, bytes) else f"{given}\r\n".encode()
            peer.send(reply)
            return reply

        if self._implicit_tls:
            peer.start_tls(certs.server_context())
        reply = say("connect")
        while True:
            line = peer.read_line()
            verb = "response" if reply.startswith(b"334") else self._verb_of(line)
            reply = say(verb)
            if verb == "starttls" and reply.startswith(b"220"):
                peer.start_tls(certs.server_context())
            elif verb == "data" and reply.startswith(b"354"):
                while peer.read_line() != b".":
                    pass
                reply = say("content")
            elif verb == "quit":
                peer.read_to_end()
                return
            if reply.startswith(b"421"):
                return

    def _verb_of(self, line: bytes) -> str:
        verb = line.partition(b" ")[0].decode("latin-1").lower()
        return "ehlo" if verb == "lhlo" else verb


class TalkServer(Listener):
    """Plays ``talk`` on each connection; the n-th of several on the n-th connection."""

    def __init__(self, *talks: Callable[[Peer], None], path: str | None = None) -> None:
        super().__init__(path)
        self.talks = talks
        self._ended = threading.Condition()
        self._number_ended = 0

    def __enter__(self) -> TalkServer:
        self.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.stop()
        if kind is None and self.errors:
            raise self.errors[0]

    def serve(self, peer: Peer) -> None:
        try:
            self.talks[min(peer.index, len(self.talks) - 1)](peer)
        except _HungUp:
            raise
        except ClientGone:
            # What the client sent after the server's last reply counts too.
            if peer.sock.fileno() >= 0:
                peer.read_to_end()
            raise
        finally:
            with self._ended:
                self._number_ended += 1
                self._ended.notify_all()

    def received(self) -> list[bytes]:
        """The bytes received on each connection, once the clients have closed them all."""
        with self._ended:
            assert self._ended.wait_for(lambda: self._number_ended == len(self.peers), timeout=10)
        return [bytes(peer.received) for peer in self.peers]
