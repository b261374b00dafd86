"""Upkeep across a fork, and at the end of a process."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from mailbackends import Mailer as BlockingMailer
from support.background import until, upkeep_threads
from support.processes import in_child, run_program
from support.sink import Sink

pytestmark = pytest.mark.usefixtures("no_upkeep_thread_is_left")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


@needs_fork
def test_a_child_starts_its_thread_when_it_first_needs_one(sink: Sink, message: Any) -> None:
    with BlockingMailer(sink.url, min_idle=2) as mailer:
        assert mailer.warm_up(10) == 2

        def use() -> list[Any]:
            before = len(upkeep_threads())
            mailer.send_message(message())
            until(lambda: mailer.stats().pool.idle == 2)
            stats = mailer.stats().pool
            mailer.close()
            return [before, stats.made, stats.retired]

        assert in_child(use) == [0, 2, {"forked": 2}]
        # The parent's connections are untouched, and its thread goes on.
        stats = mailer.stats().pool
        assert (stats.idle, stats.made, stats.retired) == (2, 2, {})
        assert len(upkeep_threads()) == 1
        mailer.send_message(message())
        assert mailer.stats().pool.made == 2
    assert sink.connections == 4


@needs_fork
def test_warm_up_in_a_child_as_in_post_fork(sink: Sink) -> None:
    with BlockingMailer(sink.url, min_idle=1) as mailer:

        def use() -> int:
            ready = mailer.warm_up(10)
            mailer.close()
            return ready

        assert [in_child(use) for _ in range(3)] == [1, 1, 1]
        assert mailer.stats().pool.made == 0
        assert not upkeep_threads()
    assert sink.connections == 3


@needs_fork
def test_a_fork_while_connections_are_opened_and_checked(
    sink: Sink, message: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailbackends.pool.upkeep._INTERVAL", 0.002)
    monkeypatch.setattr("mailbackends.pool.upkeep._SHORTEST_INTERVAL", 0.001)
    monkeypatch.setattr("mailbackends.pool.upkeep._SHORTEST_LOOK", 0.001)
    monkeypatch.setattr("mailbackends.mailer.upkeep._SHORTEST", 0.0)
    with BlockingMailer(sink.url, min_idle=2) as mailer:
        mailer.warm_up()

        def use() -> int:
            mailer.send_message(message())
            until(lambda: mailer.stats().pool.idle >= 2)
            mailer.close()
            return 1

        assert [in_child(use) for _ in range(20)] == [1] * 20
        mailer.send_message(message())
    assert len(sink.messages) == 21


PROGRAM = """
    import sys, time
    from mailbackends import Mailer

    mailer = Mailer(sys.argv[1], min_idle=2)
    assert mailer.warm_up(10) == 2
"""


@pytest.mark.parametrize(
    "ending",
    ["", "sys.exit(0)", "mailer.close()", "del mailer"],
)
def test_the_thread_does_not_keep_the_process_alive(sink: Sink, ending: str) -> None:
    started = time.monotonic()
    run_program(PROGRAM + f"    {ending}\n", sink.url)
    assert time.monotonic() - started < 10
    sink.wait(lambda: sink.open_connections == 0)
    # Each connection was ended with QUIT, by the exit or before.
    assert [flights[-1] for flights in sink.flights] == [b"QUIT\r\n"] * 2


def test_a_process_ends_during_an_attempt() -> None:
    run_program("""
        import socket
        from mailbackends import Mailer

        listener = socket.create_server(("127.0.0.1", 0))
        mailer = Mailer(host="127.0.0.1", port=listener.getsockname()[1], min_idle=1)
        mailer.warm_up(0.3)
        assert mailer.stats().pool.opening == 1
        print("end")
        listener.close()
    """)


def test_a_blocking_mailer_with_upkeep_loads_no_asyncio(sink: Sink) -> None:
    run_program(PROGRAM + "    assert 'asyncio' not in sys.modules\n", sink.url)


def test_upkeep_in_a_greenlet_of_gevent(sink: Sink) -> None:
    pytest.importorskip("gevent")
    run_program(
        """
        from gevent import monkey

        monkey.patch_all()

        import sys
        import gevent
        from mailbackends import Mailer

        mailer = Mailer(sys.argv[1], min_idle=2, max_idle=3.0)
        assert mailer.warm_up(10) == 2
        given = b"From: a@x\\r\\nTo: b@x\\r\\n\\r\\nhi\\r\\n", "a@x", ["b@x"]
        gevent.spawn(mailer.send_message, *given).get()
        while mailer.stats().pool.checked < 1:
            gevent.sleep(0.05)
        assert mailer.stats().pool.made == 2
        mailer.close()
        """,
        sink.url,
    )
    assert len(sink.messages) == 1
