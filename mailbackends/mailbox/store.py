"""`Store`: messages in memory or in an SQLite file. Safe for threads and processes."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from mailbackends.mailbox.message import StoredMessage

__all__ = ["Arrival", "Mail", "Store", "Summary"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS mail (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    received REAL NOT NULL,
    arrival TEXT NOT NULL,
    outcome TEXT NOT NULL,
    subject TEXT NOT NULL,
    author TEXT NOT NULL,
    addressees TEXT NOT NULL,
    recipients INTEGER NOT NULL,
    excerpt TEXT NOT NULL,
    attachments INTEGER NOT NULL,
    size INTEGER NOT NULL,
    is_read INTEGER NOT NULL DEFAULT 0,
    words TEXT NOT NULL,
    content BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS fact (name TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT OR IGNORE INTO fact VALUES ('version', '0');
"""
_SUMMARY = (
    "id, received, outcome, subject, author, addressees, recipients, excerpt, attachments, size,"
    " is_read"
)
# Changes by another process are only visible in the file.
_POLL = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a message arrived, and the replies to its sender."""

    sender: str = ""
    """The reverse-path; empty for the null sender."""
    accepted: tuple[str, ...] = ()
    """The accepted recipients of the envelope, including Bcc."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Recipient -> the reply that refused it."""
    outcome: str = "accepted"
    """"accepted", "refused", or "unknown" if the connection was dropped without a reply."""
    reply: str = ""
    """The reply to the content, or an empty string."""
    duration: float = 0.0
    """Seconds from MAIL to the reply."""
    connection: int = 0
    """The number of the connection to the mailbox, from 1."""
    user: str | None = None
    """The user name of the login, or None."""
    options: tuple[str, ...] = ()
    """The parameters of MAIL, such as ``BODY=8BITMIME``."""

    def as_dict(self) -> dict[str, Any]:
        """The values as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Arrival:
        """The inverse of `as_dict`."""
        tuples = {name: tuple(values[name]) for name in ("accepted", "options")}
        return cls(**{**values, **tuples})


@dataclass(frozen=True, slots=True)
class Summary:
    """A line in the list."""

    id: int
    received: float
    """Seconds since the epoch."""
    outcome: str
    subject: str
    author: str
    addressees: str
    recipients: int
    """The number of recipients in the envelope, accepted or refused."""
    excerpt: str
    attachments: int
    size: int
    """The size of the content in bytes."""
    is_read: bool

    def as_dict(self) -> dict[str, Any]:
        """The values as JSON types."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Mail:
    """A message with its summary and arrival."""

    summary: Summary
    arrival: Arrival
    content: bytes


class Store:
    """Messages, newest first. If there are more than ``keep``, the oldest are deleted.

    Args:
        path: an SQLite file, which is created if necessary, readable only by its owner;
            None keeps everything in memory. Several processes may share a file.
        keep: the number of messages kept.

    Raises:
        sqlite3.Error, OSError: the file cannot be used.
    """

    def __init__(self, path: str | Path | None = None, *, keep: int = 1000) -> None:
        self.path: Path | None = Path(path) if path is not None else None
        self.keep = keep
        self._changed = threading.Condition(threading.RLock())
        self._is_closed = False
        if self.path is not None:
            # Mail contains links to reset passwords: no other user may read the file.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        self._db = sqlite3.connect(
            self.path or ":memory:", check_same_thread=False, isolation_level=None, timeout=10
        )
        self._db.executescript(_SCHEMA)
        self._db.execute(
            "INSERT OR IGNORE INTO fact VALUES ('token', ?)", (secrets.token_urlsafe(24),)
        )

    @property
    def token(self) -> str:
        """The token that forms must contain; the same for all processes with this file."""
        return str(self._one("SELECT value FROM fact WHERE name = 'token'")[0])

    @property
    def version(self) -> int:
        """A number that increases with each change."""
        return int(self._one("SELECT value FROM fact WHERE name = 'version'")[0])

    def add(self, content: bytes, arrival: Arrival) -> int:
        """Store a message, and return its number."""
        message = StoredMessage(content)
        excerpt = message.excerpt
        words = " ".join(
            [
                *(message.subject, message.author, message.addressees, message.searchable),
                *(arrival.sender, *arrival.accepted, *arrival.refused),
            ]
        )
        values = (
            time.time(),
            json.dumps(arrival.as_dict()),
            arrival.outcome,
            message.subject,
            message.author,
            message.addressees or ", ".join(arrival.accepted),
            len(arrival.accepted) + len(arrival.refused),
            excerpt,
            len(message.attachments),
            len(content),
            words.casefold(),
            content,
        )
        with self._change() as db:
            cursor = db.execute(
                "INSERT INTO mail (received, arrival, outcome, subject, author, addressees,"
                " recipients, excerpt, attachments, size, words, content)"
                " VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                values,
            )
            db.execute(
                "DELETE FROM mail WHERE id <= (SELECT id FROM mail ORDER BY id DESC"
                " LIMIT 1 OFFSET ?)",
                (self.keep,),
            )
        return int(cursor.lastrowid or 0)

    def find(
        self, search: str = "", *, limit: int = 100, before: int | None = None
    ) -> list[Summary]:
        """The messages that contain all words of ``search``, newest first.

        ``before`` is the number of a message: only older ones are returned.
        """
        where, values = _conditions(search)
        if before is not None:
            where, values = f"{where} AND id < ?", [*values, before]
        rows = self._all(
            f"SELECT {_SUMMARY} FROM mail WHERE {where} ORDER BY id DESC LIMIT ?",  # noqa: S608
            (*values, limit),
        )
        return [_summary(*row) for row in rows]

    def count(self, search: str = "") -> int:
        """The number of messages that contain all words of ``search``."""
        where, values = _conditions(search)
        return int(self._one(f"SELECT count(*) FROM mail WHERE {where}", values)[0])  # noqa: S608

    def unread(self) -> int:
        """The number of unread messages."""
        return int(self._one("SELECT count(*) FROM mail WHERE NOT is_read")[0])

    def get(self, number: int) -> Mail | None:
        """The message with this number, or None."""
        rows = self._all(
            f"SELECT {_SUMMARY}, arrival, content FROM mail WHERE id = ?",  # noqa: S608
            (number,),
        )
        for *values, arrival, content in rows:
            came = Arrival.from_dict(json.loads(arrival))
            return Mail(_summary(*values), came, bytes(content))
        return None

    def mark_read(self, number: int) -> None:
        """Mark the message as read."""
        if self._all("SELECT 1 FROM mail WHERE id = ? AND NOT is_read", (number,)):
            with self._change() as db:
                db.execute("UPDATE mail SET is_read = 1 WHERE id = ?", (number,))

    def delete(self, number: int) -> bool:
        """Delete the message; False if it does not exist."""
        if not self._all("SELECT 1 FROM mail WHERE id = ?", (number,)):
            return False
        with self._change() as db:
            return db.execute("DELETE FROM mail WHERE id = ?", (number,)).rowcount > 0

    def clear(self) -> int:
        """Delete all messages, and return their number."""
        with self._change() as db:
            return db.execute("DELETE FROM mail").rowcount

    def wait(self, version: int, seconds: float) -> int:
        """The version, as soon as it differs from ``version``, or after so many seconds."""
        end = time.monotonic() + seconds
        with self._changed:
            while not self._is_closed and self.version == version:
                left = end - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(min(left, _POLL) if self.path else left)
            return version if self._is_closed else self.version

    def close(self) -> None:
        """Close the file, or free the memory. Calls of `wait` return."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            self._db.close()

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        with self._changed:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("UPDATE fact SET value = value + 1 WHERE name = 'version'")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
            self._changed.notify_all()

    def _all(self, sql: str, values: Any = ()) -> list[Any]:
        with self._changed, closing(self._db.execute(sql, values)) as cursor:
            return cursor.fetchall()

    def _one(self, sql: str, values: Any = ()) -> Any:
        return self._all(sql, values)[0]


def _summary(*values: Any) -> Summary:
    summary = Summary(*values)
    return replace(summary, is_read=bool(summary.is_read))


def _conditions(search: str) -> tuple[str, list[Any]]:
    words = search.casefold().split()[:20]
    # instr() instead of LIKE: the words may contain % and _.
    return " AND ".join(["1"] + ["instr(words, ?) > 0"] * len(words)), list(words)
