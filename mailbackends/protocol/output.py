"""What a session has to send: commands and contents, and how much of them was sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from math import inf

from mailbackends.protocol.gates import Buffer, ContentSent, Gate

__all__ = ["Output"]


class Output:
    """The bytes of one session, in order. `Session` queues them; a driver takes and sends them."""

    def __init__(self) -> None:
        self._queued = 0
        # Bytes, and contents that are made while they are sent.
        self._outgoing: deque[Buffer | tuple[Iterator[Buffer], ContentSent]] = deque()
        self._taken = 0
        self._sent = 0
        self.gated: list[ContentSent] = []
        """The contents whose gates were not passed yet; see `pass_gates`."""

    def data_to_send(self, limit: int) -> list[Buffer]:
        """The next buffers, ``limit`` bytes or a little more; empty when all has been taken.

        Content is pulled from its iterator only here, so that it is never in memory as a
        whole. A driver calls until the list is empty: only then is the content's end known.
        """
        taken: list[Buffer] = []
        size = 0
        while self._outgoing and size < limit:
            first = self._outgoing[0]
            if isinstance(first, tuple):
                buffer = next(first[0], None)
                if buffer is None:
                    # The size of dot-stuffed content is known only now. Nothing follows it, as
                    # commands may follow a chunk.
                    self._queued = max(self._queued, self._taken + size)
                    first[1].end = self._taken + size
                    self._outgoing.popleft()
                    continue
            else:
                buffer = first
                self._outgoing.popleft()
            if buffer:  # An empty one could never be sent.
                taken.append(buffer)
                size += len(buffer)
        self._taken += size
        return taken

    @property
    def has_output(self) -> bool:
        """True if `data_to_send` has something left to take."""
        return bool(self._outgoing)

    def pass_gates(self) -> list[Gate]:
        """The gates that must be passed before the buffers taken last may be sent.

        If the end of any content is among them, these are the gates of all contents whose
        size is known: messages in one flight pass in one call, before the first of them leaves.
        """
        if not any(c.is_ending or (c.end or inf) <= self._taken for c in self.gated):
            return []
        passed = [c for c in self.gated if c.is_ending or c.end is not None]
        self.gated = [c for c in self.gated if c not in passed]
        return [c.gate for c in passed if c.gate is not None]

    def bytes_sent(self, count: int) -> None:
        """Note that the operating system has taken ``count`` more bytes."""
        self._sent += count

    def was_sent(self, content: ContentSent | None) -> bool:
        """True once the operating system has taken the last byte of the content.

        From then on the server may have the message, whatever happens (RFC 1047).
        """
        return content is not None and content.end is not None and self._sent >= content.end

    @property
    def queued(self) -> int:
        """The bytes queued in the whole session, those of contents of unknown size excepted."""
        return self._queued

    def has_sent(self, count: int) -> bool:
        """True once so many bytes were sent in the whole session."""
        return self._sent >= count
