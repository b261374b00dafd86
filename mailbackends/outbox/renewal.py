"""The leases of a worker, renewed in a thread while it sends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

__all__ = ["Renewal"]


class Renewal:
    """Calls a function every so many seconds, in a thread, for the time of a block."""

    def __init__(self, renew: Callable[[], None], seconds: float) -> None:
        self._renew = renew
        self._seconds = seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="mailbackends-outbox-leases", daemon=True
        )

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        with suppress(RuntimeError):
            self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            self._renew()
