"""The interface of a client: it is prepared, given messages, and sends them."""

from __future__ import annotations

import gc
import time
import tracemalloc
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.samples import SAMPLES, Sample

__all__ = ["Client", "Work"]


@dataclass(frozen=True, slots=True)
class Work:
    """What to send, and to which server."""

    sample: Sample
    port: int
    security: str
    login: tuple[str, str] | None
    cafile: str
    host: str = "127.0.0.1"
    local_hostname: str = "client.example"

    @classmethod
    def from_line(cls, line: Mapping[str, Any]) -> Work:
        """The values as JSON types."""
        login = line["login"]
        return cls(
            SAMPLES[line["sample"]],
            line["port"],
            line["security"],
            (login[0], login[1]) if login else None,
            line["cafile"],
        )


class Client(ABC):
    """One library, used in one way. Only `send` is measured."""

    def __init__(self, manner: str) -> None:
        self.manner = manner

    def prepare(self, work: Work) -> int:
        """Prepare what an application would have prepared. Returns how many `WARM_UP` were sent."""
        return 0

    def make(self, work: Work, count: int) -> Sequence[Any]:
        """The messages as an application would pass them; each is a new object."""
        return [work.sample.email_message() for _ in range(count)]

    @abstractmethod
    def send(self, work: Work, messages: Sequence[Any]) -> None:
        """Send the messages, and return when the server has accepted the last one."""

    def finish(self) -> None:  # noqa: B027 - not every client has something
        """Release what `prepare` created."""

    def measure(self, work: Work, count: int) -> dict[str, float]:
        """Send ``count`` messages. Returns the seconds elapsed, and those of processor time."""
        messages = self.make(work, count)
        gc.collect()
        cpu, wall = time.process_time(), time.perf_counter()
        self.send(work, messages)
        return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}

    def memory(self, work: Work) -> dict[str, float]:
        """Send one message. Returns the peak of newly allocated bytes, by tracemalloc."""
        tracemalloc.start()
        try:
            messages = self.make(work, 1)
            gc.collect()
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            self.send(work, messages)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        return {"peak": peak - before}
