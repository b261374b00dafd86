"""What a client is to the benchmark: it is made ready, given messages, and sends them."""

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
    """What to send, and where to."""

    sample: Sample
    port: int
    security: str
    login: tuple[str, str] | None
    cafile: str
    host: str = "127.0.0.1"
    local_hostname: str = "client.example"

    @classmethod
    def from_line(cls, line: Mapping[str, Any]) -> Work:
        """As it stands in a line of JSON."""
        login = line["login"]
        return cls(
            SAMPLES[line["sample"]],
            line["port"],
            line["security"],
            (login[0], login[1]) if login else None,
            line["cafile"],
        )


class Client(ABC):
    """One library, used in one manner. Only `send` is on the clock."""

    def __init__(self, manner: str) -> None:
        self.manner = manner

    def prepare(self, work: Work) -> int:
        """Make ready what an application would have ready. How many `WARM_UP` that sent."""
        return 0

    def make(self, work: Work, count: int) -> Sequence[Any]:
        """The messages, as the application would hand them over; each an object of its own."""
        return [work.sample.email_message() for _ in range(count)]

    @abstractmethod
    def send(self, work: Work, messages: Sequence[Any]) -> None:
        """Send them, and come back when the server has taken the last one."""

    def finish(self) -> None:  # noqa: B027 - not every client has something
        """Let go of what `prepare` made."""

    def measure(self, work: Work, count: int) -> dict[str, float]:
        """Send so many messages: seconds by the clock, and of the processor for this process."""
        messages = self.make(work, count)
        gc.collect()
        cpu, wall = time.process_time(), time.perf_counter()
        self.send(work, messages)
        return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}

    def memory(self, work: Work) -> dict[str, float]:
        """Send one message: the peak of bytes allocated beyond what was there, by tracemalloc."""
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
