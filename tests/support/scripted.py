"""`ScriptedServer`: plays one conversation word by word, right or wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from support.peer import ClientGone, Listener, Peer

__all__ = ["ClientGone", "Peer", "ScriptedServer", "Step"]

Step = tuple[bytes | re.Pattern[bytes] | None, bytes | None]
"""What the client must send, and the bytes of the answer.

The client's line must start with ``bytes``, in any case, or match a pattern at its start; None does
not wait (the greeting). The answer is sent as it is, including line ends; None closes the
connection.
"""

Play = Sequence[Step] | Callable[[Peer], None]


class ScriptedServer(Listener):
    """A server for faults: the n-th connection plays the n-th conversation, the last for good.

    A conversation is a list of steps, after which the connection is closed as soon as
    the client closes it, or a function that is given the `Peer`::

        with ScriptedServer([(None, b"220 hi\\r\\n"), (b"EHLO", b"250 mine\\r\\n")]) as server:
            ...
        assert server.lines(0) == [b"EHLO there"]

    A client that strays from the script, and a function that raises, fail the test at the
    end of the ``with`` block.
    """

    def __init__(self, *conversations: Play) -> None:
        super().__init__()
        self.conversations = conversations

    @property
    def connections(self) -> int:
        """How many connections have been accepted so far."""
        return len(self.peers)

    def received(self, connection: int = 0) -> bytes:
        """All bytes received on this connection."""
        return bytes(self.peers[connection].received)

    def lines(self, connection: int = 0) -> list[bytes]:
        """The lines received on this connection, without their CRLF."""
        return self.received(connection).split(b"\r\n")[:-1]

    def serve(self, peer: Peer) -> None:
        play = self.conversations[min(peer.index, len(self.conversations) - 1)]
        if callable(play):
            play(peer)
            return
        for expected, answer in play:
            if expected is not None:
                self._expect(peer, expected)
            if answer is None:
                return
            peer.send(answer)
        peer.read_to_end()

    def _expect(self, peer: Peer, expected: bytes | re.Pattern[bytes]) -> None:
        line = peer.read_line()
        if isinstance(expected, bytes):
            follows = line.upper().startswith(expected.upper())
        else:
            follows = expected.match(line) is not None
        if not follows:
            raise AssertionError(f"the script says {expected!r}, the client said {line!r}")

    def __enter__(self) -> ScriptedServer:
        self.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.stop()
        if kind is None and self.errors:
            raise self.errors[0]
