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
    quiet: float = 0.0
    """Seconds without a message before each message. A pool closes connections as idle then."""

    @property
    def max_idle(self) -> float | None:
        """The option ``max_idle``, in proportion to the quiet time; None for the default."""
        return self.quiet * 0.95 if self.quiet else None

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
            quiet=line["quiet"],
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
        if work.quiet:
            return self._after_quiet_times(work, messages)
        cpu, wall = time.process_time(), time.perf_counter()
        self.send(work, messages)
        return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}

    def _after_quiet_times(self, work: Work, messages: Sequence[Any]) -> dict[str, float]:
        spent = {"wall": 0.0, "cpu": 0.0}
        for message in messages:
            time.sleep(work.quiet)
            cpu, wall = time.process_time(), time.perf_counter()
            self.send(work, [message])
            spent["wall"] += time.perf_counter() - wall
            spent["cpu"] += time.process_time() - cpu
        return spent

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
