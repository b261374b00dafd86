"""A maildir that servers deliver into, read once per message."""

from __future__ import annotations

from pathlib import Path

from interop.servers.base import Arrival, from_mailbox

__all__ = ["Maildir"]


class Maildir:
    """The messages in ``new`` and ``cur``; each file is read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, Arrival] = {}

    def forget(self) -> None:
        """Remove all messages."""
        self.stored()
        for path in [*self._folder.glob("new/*"), *self._folder.glob("cur/*")]:
            path.unlink(missing_ok=True)
        self._read.clear()

    def stored(self) -> list[Arrival]:
        """All messages that are there now."""
        for path in [*self._folder.glob("new/*"), *self._folder.glob("cur/*")]:
            if path.name not in self._read:
                self._read[path.name] = from_mailbox(path.read_bytes())
        return list(self._read.values())
