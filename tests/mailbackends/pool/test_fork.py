"""Forking with real connections, as gunicorn with preload and Celery's prefork do."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest

from mailbackends.pool import Pool
from support.pooled import Dialler, SocketConnection, pool_of
from support.processes import in_child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


class Server:
    """Accepts connections, and returns the bytes received over each."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.peers: list[socket.socket] = []

    def connect(self, deadline: float | None = None) -> SocketConnection:
        return SocketConnection(self.listener.getsockname())

    def accept(self, count: int) -> None:
        self.listener.settimeout(10)
        self.peers += [self.listener.accept()[0] for _ in range(count)]

    def seen(self) -> list[bytes | None]:
        """What was received on each connection: b"" is an end of file, None nothing at all."""
        return [self._seen(peer) for peer in self.peers]

    def _seen(self, peer: socket.socket) -> bytes | None:
        peer.setblocking(False)
        try:
            return peer.recv(1000)
        except BlockingIOError:
            return None

    def wait_for(self, number: int) -> bytes:
        self.peers[number].settimeout(10)
        return self.peers[number].recv(1000)

    def close(self) -> None:
        for each in (self.listener, *self.peers):
            each.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def pool(server: Server) -> Iterator[Pool[SocketConnection]]:
    pool = pool_of(server.connect, size=3)
    yield pool
    pool.close()


def counts(pool: Pool[Any]) -> dict[str, Any]:
    return {name: value for name, value in asdict(pool.stats()).items() if value}


def is_reused(pool: Pool[Any]) -> bool:
    lease = pool.acquire()
    pool.release(lease, reusable=True)
    return lease.is_reused


def test_the_child_starts_empty_and_the_server_and_the_parent_notice_nothing(server, pool):
    leases = [pool.acquire() for _ in range(3)]
    for lease in leases[1:]:
        pool.release(lease, reusable=True)
    server.accept(3)
    before = pool.stats()

    assert in_child(lambda: counts(pool)) == {"retired": {"forked": 3}}

    assert server.seen() == [None, None, None]
    assert pool.stats() == before
    leases[0].connection.socket.sendall(b"NOOP\r\n")
    assert server.wait_for(0) == b"NOOP\r\n"
    pool.release(leases[0], reusable=True)
    assert is_reused(pool)


def test_the_connection_ends_when_the_parent_ends_it_while_the_child_still_runs(server, pool):
    pool.release(pool.acquire(), reusable=True)
    server.accept(1)
    ready, go_on = os.pipe(), os.pipe()

    def wait_in_child() -> None:
        os.write(ready[1], b"!")
        os.read(go_on[0], 1)

    child = threading.Thread(target=in_child, args=(wait_in_child,))
    child.start()
    os.read(ready[0], 1)
    pool.close()
    assert server.wait_for(0) == b"QUIT\r\n"
    # An end of file comes only when no process holds the descriptor any more.
    assert server.wait_for(0) == b""
    os.write(go_on[1], b"!")
    child.join(10)
    for descriptor in (*ready, *go_on):
        os.close(descriptor)


def test_the_child_opens_its_own_connections_and_fills_its_own_places(server, pool):
    leases = [pool.acquire() for _ in range(3)]
    server.accept(3)

    def use() -> dict[str, Any]:
        mine = [pool.acquire() for _ in range(3)]
        assert not any(lease.is_reused for lease in mine)
        for lease in mine:
            pool.release(lease, reusable=True)
        assert is_reused(pool)
        return counts(pool)

    assert in_child(use) == {
        "open": 3,
        "idle": 3,
        "made": 3,
        "reused": 1,
        "retired": {"forked": 3},
    }
    assert server.seen() == [None, None, None]
    for lease in leases:
        pool.release(lease, reusable=True)


@pytest.mark.parametrize("reusable", [True, False])
def test_a_lease_of_the_parent_cannot_be_used_in_the_child(server, pool, reusable):
    lease = pool.acquire()
    server.accept(1)

    def use() -> dict[str, Any]:
        with pytest.raises(OSError, match="Bad file descriptor"):
            lease.connection.socket.sendall(b"MAIL FROM:<>\r\n")
        pool.release(lease, reusable=reusable)
        pool.release(lease, reusable=reusable)
        return counts(pool)

    assert in_child(use) == {"retired": {"forked": 1}}
    assert server.seen() == [None]
    pool.release(lease, reusable=True)


def test_closing_in_the_child_sends_nothing_on_the_parents_connections(server, pool):
    pool.release(pool.acquire(), reusable=True)
    server.accept(1)
    in_child(pool.close)
    assert server.seen() == [None]
    assert is_reused(pool)


def test_a_grandchild_starts_empty_too(server, pool):
    lease = pool.acquire()
    server.accept(1)

    def use() -> Any:
        pool.release(pool.acquire(), reusable=True)
        return in_child(lambda: counts(pool))

    assert in_child(use) == {"retired": {"forked": 1}}
    assert server.seen() == [None]
    pool.release(lease, reusable=True)


def test_a_fork_while_a_thread_holds_the_lock_and_another_waits_does_not_block(server):
    holds, let_go = threading.Event(), threading.Event()
    blocker: threading.Thread | None = None
    ticks = 0.0

    def clock() -> float:
        # The pool reads the clock with its lock held when a connection is released.
        nonlocal ticks
        if threading.current_thread() is blocker:
            holds.set()
            let_go.wait(10)
        ticks += 1
        return ticks

    pool = pool_of(server.connect, size=1, clock=clock)
    lease = pool.acquire()
    server.accept(1)
    waiter = threading.Thread(target=lambda: pool.release(pool.acquire(), reusable=True))
    waiter.start()
    while not pool.stats().waiters:
        pass
    blocker = threading.Thread(target=lambda: pool.release(lease, reusable=True))
    blocker.start()
    holds.wait(10)

    def use() -> dict[str, Any]:
        pool.release(pool.acquire(), reusable=True)
        return counts(pool)

    assert in_child(use) == {"open": 1, "idle": 1, "made": 1, "retired": {"forked": 1}}
    assert server.seen() == [None]
    let_go.set()
    blocker.join(10)
    waiter.join(10)
    assert pool.stats().reused == 1
    pool.close()


def test_a_fork_without_hooks_is_noticed_by_the_process_id(monkeypatch):
    dial = Dialler()
    pool = pool_of(dial)
    held, idle = pool.acquire(), pool.acquire()
    pool.release(idle, reusable=True)
    with monkeypatch.context() as patched:
        patched.setattr(os, "getpid", lambda: -1)
        assert counts(pool) == {"retired": {"forked": 2}}
        pool.release(held, reusable=True)
        assert counts(pool) == {"retired": {"forked": 2}}
    assert [connection.ended for connection in dial.opened] == [["aborted"], ["aborted"]]
