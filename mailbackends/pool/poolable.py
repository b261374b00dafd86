"""The interface of a pooled connection, and calls to it that never raise."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

__all__ = ["Checkable", "Poolable", "abort", "close", "is_alive"]

logger: logging.Logger = logging.getLogger("mailbackends.pool")


class Poolable(Protocol):
    """A connection that can live in a pool."""

    def is_alive(self) -> bool:
        """False if the peer has closed the connection or sent unexpected data. Never waits."""

    def close(self) -> None:
        """Close it politely, within about a second, without waiting for the peer's answer."""

    def abort(self) -> None:
        """Close the descriptor without sending a byte.

        Another process may go on using the same connection: no ``shutdown()``, no TLS
        alert. After `close` or `abort` this does nothing.
        """


class Checkable(Poolable, Protocol):
    """A connection that upkeep can check."""

    async def check(self, seconds: float, is_wanted: Callable[[], bool]) -> bool:
        """True if the peer answered within ``seconds``, and it can be used again.

        The wait ends soon once ``is_wanted`` returns False. Never raises an `Exception`.
        """


def is_alive(connection: Poolable) -> bool:
    """True if it can be used again; False if the check itself fails."""
    try:
        return connection.is_alive()
    except Exception:
        logger.debug("checking an idle connection failed", exc_info=True)
        return False


def close(connection: Poolable) -> None:
    """Close it politely, or abort it if that fails."""
    try:
        connection.close()
    except Exception:
        logger.debug("closing a connection failed", exc_info=True)
        abort(connection)


def abort(connection: Poolable) -> None:
    """Close it without sending anything."""
    try:
        connection.abort()
    except Exception:
        logger.debug("aborting a connection failed", exc_info=True)
