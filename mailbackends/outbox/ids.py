"""The ids of rows, and the tokens of leases."""

from __future__ import annotations

import os
import secrets
import threading
import time
from uuid import UUID

__all__ = ["lease_token", "uuid7"]

_MILLION = 1_000_000  # nanoseconds in a millisecond

_lock = threading.Lock()
_last = 0
"""The time of the newest id, in 1/4096 milliseconds since 1970."""


def uuid7() -> UUID:
    """A UUID that sorts by the time it was made (RFC 9562 section 5.7).

    In one process each sorts after all that were made before it, also within one millisecond, and
    after the clock was set back. The 12 bits that follow the milliseconds count their fractions,
    and go on where the clock does not (section 6.2, method 3). The other 62 bits are random.
    """
    global _last
    with _lock:
        _last = moment = max((time.time_ns() << 12) // _MILLION, _last + 1)
    milliseconds, fraction = moment >> 12, moment & 0xFFF
    unguessable = int.from_bytes(os.urandom(8)) >> 2
    return UUID(int=milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | unguessable)


def lease_token(worker: str) -> str:
    """A new token for one call of `Store.claim`: no two leases on a message have the same.

    It is stored in ``lease_by``, and begins with the worker's name. At most 100 characters.
    """
    return f"{worker[-80:]} {secrets.token_hex(8)}"


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.Lock()  # Another thread of the parent may have had the old one.


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
