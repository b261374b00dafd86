"""Wake-ups: a worker waits for NOTIFY on PostgreSQL, and elsewhere for the next look."""

from __future__ import annotations

import time
from typing import Any

from django.db import connections

__all__ = ["CHANNEL", "Listener"]

CHANNEL = "mailbackends_outbox"
"""Each transaction that queues messages notifies it when it is committed."""


class Listener:
    """Waits for new messages, over a connection that does nothing else."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._connection: Any = None

    def wait(self, seconds: float) -> bool:
        """Wait at most so long; True where there may be new messages."""
        if not _can_listen(connections[self._using]):
            time.sleep(seconds)
            return True
        started = time.monotonic()
        try:
            if self._connection is None:
                self._listen()
                return True  # Messages may have been queued before: look once more.
            for _ in self._connection.notifies(timeout=seconds, stop_after=1):
                return True
            return False
        except Exception:
            # The server ended the connection: the next call opens another one.
            self._drop()
            time.sleep(max(0.0, min(1.0, started + seconds - time.monotonic())))
            return True

    def close(self) -> None:
        """Close the connection."""
        self._drop()

    def _listen(self) -> None:
        made = connections[self._using].copy()
        made.ensure_connection()
        raw = made.connection
        raw.autocommit = True
        raw.execute(f"LISTEN {CHANNEL}")
        self._connection = raw

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _can_listen(connection: Any) -> bool:
    """True with PostgreSQL by psycopg 3; psycopg 2 has another interface."""
    if connection.vendor != "postgresql":
        return False
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    return bool(is_psycopg3)
