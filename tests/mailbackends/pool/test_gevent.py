"""The pool in a program that gevent has patched: greenlets in the place of threads."""

from __future__ import annotations

import importlib.util

import pytest

from support.processes import run_program

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gevent") is None, reason="gevent is not installed here"
)

# The pool is imported first, as an application's imports may have it, and made later.
PATCHED = """
    import mailbackends.pool
    from gevent import monkey; monkey.patch_all()
    import os, socket, threading, time
    import gevent
    from support.pooled import Dialler, FakeConnection, SocketConnection, pool_of
    from mailbackends.errors import PoolTimeout

    def places_taken(pool):
        stats = pool.stats()
        return stats.in_use, stats.opening, stats.waiters
"""


def run(program: str) -> list[str]:
    return run_program(PATCHED + program).splitlines()


def test_greenlets_wait_in_order_while_others_run():
    assert run("""
    pool = pool_of(Dialler(), size=2)
    order = []

    def send(number):
        lease = pool.acquire()
        order.append(number)
        gevent.sleep(0.001)
        pool.release(lease, reusable=True)

    gevent.joinall([gevent.spawn(send, number) for number in range(20)], raise_error=True)
    print(order == list(range(20)), pool.stats().made, places_taken(pool))
    """) == ["True 2 (0, 0, 0)"]


def test_a_greenlet_that_waits_too_long_times_out():
    assert (
        run("""
    pool = pool_of(Dialler(), size=1, timeout=0.01)
    lease = pool.acquire()

    def wait():
        try:
            pool.acquire()
        except PoolTimeout:
            print("timeout", places_taken(pool))

    gevent.spawn(wait).join()
    """)[-1]
        == "timeout (1, 0, 0)"
    )


@pytest.mark.parametrize("where", ["wait", "connect", "is_alive", "close"])
def test_a_timeout_of_gevent_leaks_no_place(where):
    assert run(f"""
    where = {where!r}
    patience = 100.0

    def dawdle(part):
        if part == where:
            gevent.sleep(patience)

    class Connection(FakeConnection):
        def is_alive(self):
            dawdle("is_alive")
            return True

        def close(self):
            dawdle("close")

    def connect(deadline):
        dawdle("connect")
        return Connection()

    pool = pool_of(connect, size=1, timeout=1000, max_messages_per_connection=2)
    if where == "wait":
        holder = pool.acquire()
    if where == "is_alive":
        pool.release(pool.acquire(), reusable=True)

    def send():
        lease = pool.acquire()
        pool.release(lease, reusable=True, messages=2)

    try:
        with gevent.Timeout(0.01):
            send()
    except gevent.Timeout:
        print("interrupted")
    patience = 0
    if where == "wait":
        pool.release(holder, reusable=True)
    send()
    print(places_taken(pool))
    """) == ["interrupted", "(0, 0, 0)"]


def test_a_waiter_that_is_killed_when_just_served_hands_its_place_on():
    assert run("""
    pool = pool_of(Dialler(), size=1)
    holder = pool.acquire()
    first, second = gevent.spawn(pool.acquire), gevent.spawn(pool.acquire)
    gevent.sleep(0.01)
    print(places_taken(pool))
    first.kill(block=False)  # takes effect when the first runs again
    pool.release(holder, reusable=True)
    lease = second.get(timeout=10)
    pool.release(lease, reusable=True)
    print(places_taken(pool))
    """) == ["(1, 0, 2)", "(0, 0, 0)"]


def test_a_forked_child_starts_empty_and_the_server_sees_nothing():
    assert run("""
    listener = socket.create_server(("127.0.0.1", 0))
    pool = pool_of(lambda deadline: SocketConnection(listener.getsockname()), size=2)
    leases = [pool.acquire(), pool.acquire()]
    pool.release(leases[0], reusable=True)
    peers = [listener.accept()[0] for _ in leases]

    child = os.fork()
    if not child:
        pool.release(leases[1], reusable=True)
        pool.release(pool.acquire(), reusable=True)
        print(pool.stats().retired, pool.stats().idle, flush=True)
        pool.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    for peer in peers:
        peer.settimeout(0.05)
        try:
            print(peer.recv(10))
        except TimeoutError:
            print("nothing")
    pool.release(leases[1], reusable=True)
    pool.close()
    print([peer.recv(10) for peer in peers])
    listener.close()
    for peer in peers:
        peer.close()
    """) == ["{'forked': 2} 1", "nothing", "nothing", "[b'QUIT\\r\\n', b'QUIT\\r\\n']"]


def test_a_connection_that_hangs_cannot_delay_the_exit():
    assert run("""
    class Hanging(FakeConnection):
        def close(self):
            print("hanging", flush=True)
            time.sleep(60)

        def abort(self):
            print("aborted", flush=True)

    pool = pool_of(lambda deadline: Hanging(), size=2)
    for lease in [pool.acquire(), pool.acquire()]:
        pool.release(lease, reusable=True)
    """) == ["hanging", "aborted", "aborted"]
