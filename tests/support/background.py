"""What other threads and processes do: wait for it, and see whether they have ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["until", "upkeep_threads"]


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until the condition is true; fail after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not happen within {seconds:g} seconds"
        time.sleep(0.005)


def upkeep_threads() -> list[threading.Thread]:
    """The threads of upkeep that run in this process."""
    return [each for each in threading.enumerate() if each.name == "mailbackends-upkeep"]
