"""One client in a separate process, controlled by lines of JSON."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any

from bench.clients.base import Client, Work
from bench.lines import serve
from bench.profiling import profiled

__all__ = ["make_client"]


def make_client(family: str, manner: str) -> Client:
    """The client of the module ``bench.clients.<family>``, used in this way."""
    client: Client = importlib.import_module(f"bench.clients.{family}").make(manner)
    return client


class Worker:
    """Runs its client on request."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def handle(self, question: dict[str, Any]) -> Mapping[str, Any]:
        """Measure ``count`` messages. Also returns how many the sink must have received."""
        work, count = Work.from_line(question), question["count"]
        before = self.client.prepare(work)
        try:
            match question["do"]:
                case "measure":
                    answer: Mapping[str, Any] = self.client.measure(work, count)
                case "memory":
                    answer = self.client.memory(work)
                    count = 1
                case "profile":
                    messages = self.client.make(work, count)
                    answer = profiled(lambda: self.client.send(work, messages), question["cpu"])
                case unknown:
                    raise ValueError(unknown)
        finally:
            self.client.finish()
        return {"sent": count, "warm": before, **answer}


if __name__ == "__main__":
    serve(Worker(make_client(*sys.argv[1:])).handle)
