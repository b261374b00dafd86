"""The end of a process with a Mailer in it: QUIT if that is possible, and no waiting."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading

import pytest

from support import certs
from support.machine import Habits
from support.processes import run_program
from support.running import Running
from support.scripted import Peer, ScriptedServer
from support.turns import Network

FLIGHT = ("PIPELINING", "CHUNKING")

PROGRAM = """
    import os, sys, threading, time
    from mailbackends import Mailer, Submission

    mailer = Mailer(sys.argv[1], local_hostname="c.x")

    def send(number=0):
        mailer.send_message(b"N: %d" % number, "s@x", "a@x")

    mine = Submission(b"N: 5", "s@x", "a@x")
    send()
"""


def url(network: Network) -> str:
    scheme, query = ("smtp", "")
    if network.context is not None:
        scheme, query = "smtps", f"?ssl_cafile={certs.cafile()}"
    return f"{scheme}://127.0.0.1:{network.ports[0]}{query}"


ENDINGS = {
    "the program is over": "",
    "it exits": "sys.exit(0)",
    "the mailer was closed": "mailer.close()",
    "the mailer is garbage": "del mailer, send",
    "in the midst of a batch": "batch = mailer.stream_messages([mine] * 3); next(batch)",
    "a thread has sent too": "threading.Thread(target=send, args=[1]).start()",
}  # fmt: skip


@pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_each_connection_ends_with_quit(ending: str, tls: bool) -> None:
    context = certs.server_context() if tls else None
    with Running(Network(Habits(FLIGHT), context)) as network:
        run_program(textwrap.dedent(PROGRAM) + ENDINGS[ending], url(network), timeout=20)
    for line in network.lines:
        if ending != "the mailer is garbage":
            assert line.received.endswith(b"QUIT\r\n")
        assert line.received.count(b"QUIT") <= 1
    assert all(times == 1 for times in network.delivered.count.values())


def test_a_killed_process_sends_no_quit() -> None:
    with Running(Network(Habits(FLIGHT))) as network:
        run_program(textwrap.dedent(PROGRAM) + "os._exit(0)", url(network))
    assert b"QUIT" not in network.lines[0].received


def test_a_program_that_fails_still_sends_quit() -> None:
    with Running(Network(Habits(FLIGHT))) as network, pytest.raises(AssertionError, match="oops"):
        run_program(textwrap.dedent(PROGRAM) + "raise ValueError('oops')", url(network))
    assert network.lines[0].received.endswith(b"QUIT\r\n")


def test_a_daemon_thread_that_is_sending_does_not_delay_the_exit() -> None:
    """The server never answers the second message; the program ends while it waits."""
    asked = threading.Event()

    def play(peer: Peer) -> None:
        peer.send(b"220 hi\r\n")
        for reply in (b"250 hi", b"250 ok", b"250 ok", b"354 go", b"250 taken"):
            if reply.endswith(b"taken"):
                peer.read_until(b"\r\n.\r\n")
            else:
                peer.read_line()
            peer.send(reply + b"\r\n")
        peer.read_line()
        asked.set()
        peer.read_to_end()

    ending = """
        threading.Thread(target=send, daemon=True).start()
        sys.stdin.readline()
    """
    with ScriptedServer(play) as server:
        program = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", textwrap.dedent(PROGRAM) + textwrap.dedent(ending),
             f"smtp://127.0.0.1:{server.port}"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
        )  # fmt: skip
        assert asked.wait(20)
        assert program.stdin is not None
        program.stdin.close()
        assert program.wait(timeout=10) == 0
        assert len(server.peers) == 1


def test_a_message_sent_by_another_exit_function_goes_out() -> None:
    """Exit functions run last in, first out: one registered before still finds the Mailer open."""
    ending = """
        import atexit
        atexit.register(send, 1)
    """
    with Running(Network(Habits(FLIGHT))) as network:
        run_program(textwrap.dedent(PROGRAM) + textwrap.dedent(ending), url(network))
    assert network.delivered.count == {(b"N: 0\r\n", "a@x"): 1, (b"N: 1\r\n", "a@x"): 1}
    assert network.lines[0].received.endswith(b"QUIT\r\n")
