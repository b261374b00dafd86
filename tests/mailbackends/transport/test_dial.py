"""Connecting: to the first address that answers, within its time."""

import asyncio
import contextlib
import errno
import functools
import select
import socket
import threading

import pytest

from mailbackends.errors import SMTPTimeoutError
from mailbackends.transport.aio import LoopWaiter
from mailbackends.transport.dial import _interleaved, dial, dial_unix
from mailbackends.transport.waiting import Deadline, run

SOON = 10.0


@pytest.fixture(autouse=True, params=["threads", "asyncio"])
def waiting(request, monkeypatch):
    """Each test waits in its thread, and in an event loop."""
    if request.param == "asyncio":
        waiter = LoopWaiter()
        monkeypatch.setitem(globals(), "run", asyncio.run)
        monkeypatch.setitem(globals(), "dial", functools.partial(dial, waiter=waiter))
        monkeypatch.setitem(globals(), "dial_unix", functools.partial(dial_unix, waiter=waiter))


def soon(seconds=SOON):
    return Deadline.after(seconds, "connecting")


@pytest.fixture
def sockets():
    """Closes the sockets put into it."""
    with contextlib.ExitStack() as stack:
        yield stack.enter_context


@pytest.fixture
def listening(sockets):
    """Create a listening socket, and return its address."""

    def make(host="127.0.0.1", backlog=10):
        listener = sockets(socket.create_server((host, 0), backlog=backlog))
        return listener, listener.getsockname()

    return make


@pytest.fixture
def refusing():
    """An address at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()


@pytest.fixture
def black_hole(sockets, listening):
    """An address that drops packets: its queue of connections is full."""
    _, address = listening(backlog=0)
    for _ in range(4):
        filler = sockets(socket.socket())
        filler.setblocking(False)
        filler.connect_ex(address)
    return address


@pytest.fixture
def resolving(monkeypatch):
    """Makes the name ``many.test`` resolve to these addresses."""

    def make(*addresses):
        def getaddrinfo(host, port, family=0, kind=0, proto=0, flags=0):
            if flags & socket.AI_NUMERICHOST:
                raise socket.gaierror(socket.EAI_NONAME, "no address")
            assert (host, port) == ("many.test", 25)
            return [(socket.AF_INET, kind, 6, "", address) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return make


def test_a_single_address_that_answers_is_connected(listening, sockets):
    _, address = listening()
    sock = sockets(run(dial(*address, soon())))
    assert sock.getpeername() == address
    assert sock.getblocking() is False


def test_a_refused_address_is_passed_over_at_once(listening, sockets, refusing, resolving):
    _, address = listening()
    resolving(refusing, refusing, address)
    assert sockets(run(dial("many.test", 25, soon()))).getpeername() == address


def test_an_address_that_drops_packets_does_not_cost_the_whole_timeout(
    listening, sockets, black_hole, resolving
):
    _, address = listening()
    resolving(black_hole, black_hole, address)
    assert sockets(run(dial("many.test", 25, soon()))).getpeername() == address


def test_a_late_answer_of_the_first_address_is_used_during_the_wait_for_the_second(
    sockets, black_hole, resolving, listening, monkeypatch
):
    listener, address = listening()
    resolving(black_hole, address)
    # Both are under way when the second one answers.
    sock = sockets(run(dial("many.test", 25, soon())))
    assert sock.getpeername() == address
    assert listener.accept()[0].close() is None


def test_if_all_refuse_the_error_of_the_first_is_raised(refusing, resolving):
    resolving(refusing, refusing)
    with pytest.raises(ConnectionRefusedError) as caught:
        run(dial("many.test", 25, soon()))
    assert caught.value.errno == errno.ECONNREFUSED


def test_the_error_names_the_timeout_if_no_address_answers(black_hole, resolving):
    resolving(black_hole, black_hole)
    with pytest.raises(SMTPTimeoutError, match=r"timed out: connecting to many\.test:25"):
        run(dial("many.test", 25, soon(0.4)))


def test_a_refusal_after_an_address_that_drops_packets_ends_the_attempt(
    black_hole, refusing, resolving
):
    resolving(refusing, black_hole)
    with pytest.raises(SMTPTimeoutError):
        run(dial("many.test", 25, soon(0.4)))


def test_after_the_deadline_no_connection_is_opened(listening):
    listener, address = listening()
    listener.settimeout(0.05)
    with pytest.raises(SMTPTimeoutError):
        run(dial(*address, soon(-1.0)))
    with pytest.raises(TimeoutError):
        listener.accept()


def test_an_address_that_the_system_itself_refuses_is_passed_over(listening, sockets, resolving):
    _, address = listening()
    # A connection to a broadcast address is not possible.
    resolving(("255.255.255.255", 25), address)
    assert sockets(run(dial("many.test", 25, soon()))).getpeername() == address
    resolving(("255.255.255.255", 25))
    with pytest.raises(OSError, match=r"\[Errno"):
        run(dial("many.test", 25, soon()))


def test_a_name_without_addresses_is_an_error(resolving):
    resolving()
    with pytest.raises(OSError, match="has no address"):
        run(dial("many.test", 25, soon()))


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".test", "."])
def test_an_invalid_name_is_an_error(name):
    with pytest.raises(OSError):  # noqa: PT011 - the system's own words
        run(dial(name, 25, soon()))


def test_a_name_that_does_not_resolve_is_an_error(monkeypatch):
    def getaddrinfo(*args):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(socket.gaierror, match="not known"):
        run(dial("nowhere.test", 25, soon()))


def test_a_silent_resolver_does_not_delay_beyond_the_deadline(monkeypatch):
    released = threading.Event()

    def getaddrinfo(host, port, family=0, kind=0, proto=0, flags=0):
        if not flags:
            released.wait(SOON)
        raise socket.gaierror(socket.EAI_AGAIN, "later")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(SMTPTimeoutError, match=r"looking up silent\.test"):
        run(dial("silent.test", 25, soon(0.1)))
    released.set()


def test_the_source_address_is_used(listening, sockets):
    listener, address = listening()
    sock = sockets(run(dial(*address, soon(), source_address=("127.0.0.1", 0))))
    peer, source = listener.accept()
    peer.close()
    assert source == sock.getsockname()


def test_a_source_address_of_another_host_is_an_error(listening):
    _, address = listening()
    with pytest.raises(OSError, match=r"\[Errno"):
        run(dial(*address, soon(), source_address=("203.0.113.1", 0)))


def test_without_poll_select_is_used(listening, sockets, refusing, resolving, monkeypatch):
    monkeypatch.delattr(select, "poll")
    _, address = listening()
    resolving(refusing, address)
    assert sockets(run(dial("many.test", 25, soon()))).getpeername() == address


def test_address_families_alternate():
    six, four = socket.AF_INET6, socket.AF_INET
    found = [(six, 1), (six, 2), (six, 3), (four, 4), (four, 5)]
    assert _interleaved(found) == [(six, 1), (four, 4), (six, 2), (four, 5), (six, 3)]
    assert _interleaved([]) == []


# --- Unix sockets ---------------------------------------------------------------------


@pytest.fixture
def unix_listener(sockets, tmp_path):
    listener = sockets(socket.socket(socket.AF_UNIX))
    listener.bind(str(tmp_path / "lmtp"))
    listener.listen(0)
    return listener


def test_a_unix_socket_is_connected(unix_listener, sockets):
    sock = sockets(run(dial_unix(unix_listener.getsockname(), soon())))
    assert sock.getpeername() == unix_listener.getsockname()
    assert sock.getblocking() is False


def test_a_missing_unix_socket_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        run(dial_unix(str(tmp_path / "lmtp"), soon()))


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_a_deadline_that_has_passed_connects_to_no_unix_socket(unix_listener, seconds):
    with pytest.raises(SMTPTimeoutError):
        run(dial_unix(unix_listener.getsockname(), soon(seconds)))


def filled(path, sockets):
    """Connections waiting to be accepted, as many as the queue takes."""
    while True:
        filler = sockets(socket.socket(socket.AF_UNIX))
        filler.setblocking(False)
        try:
            filler.connect(path)
        except BlockingIOError:
            return


def test_a_unix_socket_whose_queue_is_full_is_tried_again(unix_listener, sockets):
    path = unix_listener.getsockname()
    filled(path, sockets)
    taker = threading.Timer(0.1, lambda: unix_listener.accept()[0].close())
    taker.start()
    sockets(run(dial_unix(path, soon())))
    taker.join()


def test_a_unix_socket_whose_queue_stays_full_is_given_up(unix_listener, sockets):
    path = unix_listener.getsockname()
    filled(path, sockets)
    with pytest.raises(SMTPTimeoutError, match=r"timed out: connecting to .*lmtp"):
        run(dial_unix(path, soon(0.1)))
