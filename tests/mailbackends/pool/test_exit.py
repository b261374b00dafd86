"""The exit of a process closes its connections politely, in bounded time, and no others."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time

import pytest

from mailbackends.pool import process
from support.pooled import Dialler, pool_of
from support.processes import run_program

PROGRAM = """
    import os, sys, time
    from support.pooled import SocketConnection, pool_of

    pool = pool_of(lambda deadline: SocketConnection(("127.0.0.1", int(sys.argv[1]))), size=3)

    def make_idle(count):
        for lease in [pool.acquire() for _ in range(count)]:
            pool.release(lease, reusable=True)
"""

HANGING = """
    import time
    from support.pooled import FakeConnection, pool_of

    class Hanging(FakeConnection):
        def close(self):
            print("hanging", flush=True)
            time.sleep(60)

        def abort(self):
            print("aborted", flush=True)

    pools = [pool_of(lambda deadline: Hanging(), size=2) for _ in range(2)]
    for pool in pools:
        for lease in [pool.acquire() for _ in range(2)]:
            pool.release(lease, reusable=True)
"""


def heard(listener: socket.socket, count: int) -> list[bytes]:
    """All bytes received over each of `count` connections until its end."""
    listener.settimeout(10)
    peers = [listener.accept()[0] for _ in range(count)]
    answers = []
    for peer in peers:
        peer.settimeout(10)
        with peer, peer.makefile("rb") as stream:
            answers.append(stream.read())
    return answers


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def port(listener: socket.socket) -> str:
    return str(listener.getsockname()[1])


def test_idle_connections_are_closed_politely_when_the_program_ends(listener):
    run_program(PROGRAM + "    make_idle(2)", port(listener))
    assert heard(listener, 2) == [b"QUIT\r\n"] * 2


def test_an_exception_at_the_end_does_no_harm(listener):
    run_program(PROGRAM + "    make_idle(1); sys.exit(0)", port(listener))
    assert heard(listener, 1) == [b"QUIT\r\n"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("end", ["sys.exit()", "os._exit(0)", "pool.close(); sys.exit()"])
def test_an_exiting_child_sends_nothing_on_its_parents_connections(listener, end):
    program = f"""
    make_idle(2)
    child = os.fork()
    if not child:
        {end}
    assert os.waitpid(child, 0)[1] == 0
    os._exit(0)  # the parent sends no QUIT, so that any would be the child's
    """
    run_program(PROGRAM + program, port(listener))
    assert heard(listener, 2) == [b"", b""]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no such timer")
def test_a_connection_that_hangs_cannot_delay_the_exit():
    start = time.monotonic()
    output = run_program(HANGING)
    # The only time in these tests: the bound itself. The hanging ones would take 240 s.
    assert time.monotonic() - start < 20
    assert output.split() == ["hanging"] + ["aborted"] * 4


@pytest.fixture
def pool():
    pool = pool_of(Dialler())
    pool.release(pool.acquire(), reusable=True)
    return pool


@pytest.fixture
def alarm():
    """Restores what the application has set for SIGALRM after the test."""
    handler = signal.getsignal(signal.SIGALRM)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, handler)


def alarm_state() -> tuple[object, bool]:
    return signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0] > 0


@pytest.mark.usefixtures("alarm")
def test_an_alarm_that_the_application_has_set_is_left_alone(pool, monkeypatch):
    monkeypatch.setattr(process, "_living", lambda: [pool])
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 1000)
    before, during = alarm_state(), []
    monkeypatch.setattr(pool, "_emit", lambda event: during.append(alarm_state()))
    process._at_exit()
    assert during == [before]
    assert pool.stats().retired == {"closed": 1}


@pytest.mark.usefixtures("alarm")
def test_the_alarm_of_the_test_leaves_no_trace(pool, monkeypatch):
    monkeypatch.setattr(process, "_living", lambda: [pool])
    before, during = alarm_state(), []
    monkeypatch.setattr(pool, "_emit", lambda event: during.append(alarm_state()))
    process._at_exit()
    assert during != [before]
    assert alarm_state() == before


def test_outside_the_main_thread_the_pools_are_closed_without_an_alarm(pool, monkeypatch):
    monkeypatch.setattr(process, "_living", lambda: [pool])
    thread = threading.Thread(target=process._at_exit)
    thread.start()
    thread.join(10)
    assert pool.stats().retired == {"closed": 1}


def test_the_end_of_a_program_that_never_used_its_pool_is_silent():
    assert run_program("from support.pooled import *; pool = pool_of(Dialler())") == ""


def test_importing_the_pool_starts_no_thread():
    program = "import threading, mailbackends.pool; print(threading.active_count())"
    assert run_program(program) == "1\n"
