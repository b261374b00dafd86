"""A port for a process that cannot be told to take any."""

from __future__ import annotations

import random
import socket

__all__ = ["free_port"]

_dice = random.SystemRandom()


def free_port() -> int:
    """A port of loopback on which nobody listens.

    From below the range that the system itself hands out (RFC 6056; Linux begins at 32768):
    of that range, another test's server could take it before the process does. Dice that no
    test has loaded: a run beside this one would throw the same.
    """
    while True:
        port = _dice.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
