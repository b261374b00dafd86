"""Measures the real round trip and throughput to the sink, between the clients' turns."""

from __future__ import annotations

import socket
import time

__all__ = ["echoes", "throughput"]

_BYTES = 64 * 1024 * 1024


def echoes(port: int, count: int) -> list[float]:
    """The seconds that each of ``count`` bytes and its echo took."""
    with _connected(port) as sock:
        _echo(sock)  # which waits until the connection is made
        return [_echo(sock) for _ in range(count)]


def throughput(port: int) -> float:
    """The throughput in bytes per second, measured with 64 MiB."""
    with _connected(port) as sock:
        _echo(sock)
        round_trip = _echo(sock)
        start = time.perf_counter()
        sock.sendall(b"!" + _BYTES.to_bytes(8))
        sock.sendall(bytes(_BYTES))
        sock.recv(1)
        taken = time.perf_counter() - start
    return _BYTES / max(taken - round_trip, 1e-9)


def _connected(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=60)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _echo(sock: socket.socket) -> float:
    start = time.perf_counter()
    sock.sendall(b".")
    sock.recv(1)
    return time.perf_counter() - start
