"""A proxy that delays everything by half a round trip in each direction.

It runs as a separate process. Bytes are read as fast as they arrive, delayed, and written as
fast as the other side reads them: the delay does not reduce the throughput, as on a line with
a large window. A new connection also takes its round trip, although the kernel has accepted
it: what the client sends is delayed until the handshake would have ended.
Acknowledgements in the kernel are not delayed, so that a client that waits for them (Nagle's
algorithm) looks better here than on a real line.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from bench.lines import serve

__all__: list[str] = []

_CHUNK = 1024 * 1024


class Proxy:
    """One listening port for each target and delay."""

    def __init__(self) -> None:
        self._ports: dict[tuple[int, float], int] = {}

    def handle(self, question: dict[str, Any]) -> Mapping[str, Any]:
        """The port for ``target`` with this round trip in seconds."""
        key = question["target"], question["round_trip"]
        if key not in self._ports:
            listener = socket.create_server(("127.0.0.1", 0), backlog=128)
            self._ports[key] = listener.getsockname()[1]
            threading.Thread(target=self._accept, args=(listener, *key), daemon=True).start()
        return {"port": self._ports[key]}

    def _accept(self, listener: socket.socket, target: int, round_trip: float) -> None:
        while True:
            near, _ = listener.accept()
            start = time.monotonic()
            far = socket.create_connection(("127.0.0.1", target))
            threading.Thread(target=_pass, args=(near, far, start, round_trip), daemon=True).start()


class _Lane:
    """One direction. Nothing blocks."""

    def __init__(
        self, source: socket.socket, target: socket.socket, begin: float, delay: float
    ) -> None:
        self.source, self.target = source, target
        self.begin = begin
        """No byte is sent before this time."""
        self.delay = delay
        self.under_way: deque[tuple[float, memoryview]] = deque()
        self.is_ended = False

    def take(self) -> None:
        """Read what has arrived; an empty chunk is the end of the stream."""
        data = self.source.recv(_CHUNK)
        self.is_ended = not data
        self.under_way.append((max(time.monotonic(), self.begin) + self.delay, memoryview(data)))

    def pass_on(self) -> bool:
        """Write what is due, as far as possible. False after the end."""
        while self.under_way and self.under_way[0][0] <= time.monotonic():
            due, data = self.under_way.popleft()
            if not data:
                self.target.shutdown(socket.SHUT_WR)
                return False
            sent = 0
            with contextlib.suppress(BlockingIOError):
                sent = self.target.send(data)
            if sent < len(data):
                self.under_way.appendleft((due, data[sent:]))
                break
        return True


def _pass(near: socket.socket, far: socket.socket, start: float, round_trip: float) -> None:
    for sock in (near, far):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    half = round_trip / 2
    # SYN and its reply take one round trip; the server's side is ready half of one later.
    lanes = [
        _Lane(near, far, start + round_trip, half),
        _Lane(far, near, start + 1.5 * round_trip, half),
    ]
    with near, far, contextlib.suppress(OSError):
        while lanes:
            now = time.monotonic()
            due = {lane: lane.under_way[0][0] for lane in lanes if lane.under_way}
            reading = [lane.source for lane in lanes if not lane.is_ended]
            writing = [lane.target for lane, at in due.items() if at <= now]
            # poll() counts in milliseconds, select() in microseconds.
            later = [at for at in due.values() if at > now]
            select.select(reading, writing, [], min(later) - now if later else None)
            for lane in list(lanes):
                with contextlib.suppress(BlockingIOError):
                    if not lane.is_ended:
                        lane.take()
                if not lane.pass_on():
                    lanes.remove(lane)


if __name__ == "__main__":
    serve(Proxy().handle)
