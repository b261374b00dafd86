"""A port for a process that cannot choose a free one itself."""

from __future__ import annotations

import random
import socket

__all__ = ["free_port"]

_dice = random.SystemRandom()


def free_port() -> int:
    """A port of loopback that is not in use.

    From below the range that the system itself hands out (RFC 6056; Linux begins at 32768):
    of that range, another test's server could take it before the process does. Not from the seeded
    generator: another run at the same time would choose the same ports.
    """
    while True:
        port = _dice.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
