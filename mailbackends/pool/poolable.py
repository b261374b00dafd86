"""What the pool asks of a connection, and asking it so that its faults stay there."""

from __future__ import annotations

import logging
from typing import Protocol

__all__ = ["Poolable", "abort", "close", "is_alive"]

logger = logging.getLogger("mailbackends.pool")


class Poolable(Protocol):
    """A connection that can live in a pool."""

    def is_alive(self) -> bool:
        """False where the peer has hung up or sent anything unasked. Never waits."""

    def close(self) -> None:
        """Say goodbye and hang up, within about a second; the peer's answer is not awaited."""

    def abort(self) -> None:
        """Close the descriptor without one byte on the wire.

        Another process may go on using the same connection: no ``shutdown()``, no TLS
        alert. After `close` or `abort` this does nothing.
        """


def is_alive(connection: Poolable) -> bool:
    """Whether it can be used again; one that cannot even be looked at cannot."""
    try:
        return connection.is_alive()
    except Exception:
        logger.debug("the look at an idle connection failed", exc_info=True)
        return False


def close(connection: Poolable) -> None:
    """Hang up politely, or without QUIT if that fails."""
    try:
        connection.close()
    except Exception:
        logger.debug("closing a connection failed", exc_info=True)
        abort(connection)


def abort(connection: Poolable) -> None:
    """Hang up without QUIT."""
    try:
        connection.abort()
    except Exception:
        logger.debug("aborting a connection failed", exc_info=True)
