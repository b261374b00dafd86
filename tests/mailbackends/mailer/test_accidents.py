"""What happens around a message: slow resolvers, exhausted systems, interrupts, forks, exits."""

from __future__ import annotations

import asyncio
import errno
import gc
import hashlib
import os
import select
import socket
import subprocess
import sys
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterator
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

import mailbackends.mailer
import mailbackends.pool
from mailbackends import (
    AsyncMailer,
    Mailer,
    Outcome,
    PoolTimeout,
    SMTPConnectionError,
    SMTPNotSupportedError,
    SMTPTimeoutError,
)
from mailbackends import Mailer as BlockingMailer
from mailbackends.errors import SMTPException
from mailbackends.events import ConnectionRetired, Event
from mailbackends.mailer import opening
from mailbackends.transport import dial
from support import certs
from support.scram_server import ScramServer
from support.scripted import Peer, ScriptedServer
from support.sink import EXTENSIONS, Sink

PACKAGES = tuple(
    os.path.dirname(str(module.__file__)) for module in (mailbackends.mailer, mailbackends.pool)
)


@pytest.fixture
def unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """This host's name was not looked up yet."""
    monkeypatch.setattr(opening, "_known_names", [])


@pytest.fixture
def late() -> Iterator[threading.Event]:
    """Set at the end, to release slow functions."""
    event = threading.Event()
    yield event
    event.set()


# The deadline


@pytest.mark.usefixtures("unknown_name")
def test_a_slow_lookup_of_this_hosts_name_keeps_to_the_deadline(
    message, sink, late: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda: late.wait(20) and "late.example.com")
    with Mailer(sink.url, deadline=0.5) as mailer:
        assert mailer.send_message(message()).accepted
    assert sink.received().startswith(b"EHLO [127.0.0.1]\r\n")


@pytest.mark.usefixtures("unknown_name")
@pytest.mark.parametrize(
    "name", ["my_host.example.com", "-a.example.com", "a.example.com.", "localhost", "a b.com"]
)
def test_a_name_that_servers_refuse_is_not_sent(
    message, sink, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda: name)
    with Mailer(sink.url) as mailer:
        mailer.send_message(message())
    assert sink.received().startswith(b"EHLO [")


def test_a_slow_token_provider_keeps_to_the_deadline(message, late: threading.Event) -> None:
    def token() -> str:
        late.wait(20)
        return "late"

    with (
        Sink(sasl={"XOAUTH2": lambda *_: None}) as sink,
        Mailer(sink.url, username="shop", token_provider=token, deadline=1) as mailer,
    ):
        with pytest.raises(SMTPTimeoutError, match="preparing the login") as caught:
            mailer.send_message(message())
        assert caught.value.outcome is Outcome.NOT_SENT
        assert mailer.stats().pool.opening == 0


def test_the_rounds_of_scram_keep_to_the_deadline(
    message, late: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server chooses how many there are: here they take until the end of the test."""

    def scram(ask: Callable[[bytes], bytes], initial: bytes | None) -> bool:
        ask(ScramServer("sha256", b"secret").first(initial or ask(b"")))
        return False

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", lambda *_: late.wait(20) and b"")
    with (
        Sink(sasl={"SCRAM-SHA-256": scram}) as sink,
        Mailer(sink.url, username="shop", password="secret", deadline=1) as mailer,
    ):
        with pytest.raises(SMTPTimeoutError, match="preparing the login") as caught:
            mailer.send_message(message())
        assert caught.value.outcome is Outcome.NOT_SENT
        assert mailer.stats().pool.opening == 0
        assert not late.is_set()


def test_a_slow_name_server_keeps_to_the_deadline(
    message, late: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookup = socket.getaddrinfo

    def slow(host: str, *arguments: Any) -> Any:
        if host == "slow.example.com" and arguments[-1] != socket.AI_NUMERICHOST:
            late.wait(20)
        return lookup(host, *arguments)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with Mailer("smtp://slow.example.com", deadline=0.2, local_hostname="c.x") as mailer:
        with pytest.raises(SMTPTimeoutError, match="looking up") as caught:
            mailer.send_message(message())
        assert caught.value.outcome is Outcome.NOT_SENT
        assert mailer.stats().pool.opening == 0


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_silent_tls_server_keeps_to_the_deadline(
    message, late: threading.Event, security: str
) -> None:
    def silent(peer: Peer) -> None:
        if security == "starttls":
            peer.send(b"220 hi\r\n")
            peer.read_line()
            peer.send(b"250-hi\r\n250 STARTTLS\r\n")
            peer.read_line()
            peer.send(b"220 go\r\n")
        peer.read_to_end()

    with (
        ScriptedServer(silent) as server,
        Mailer(
            host="127.0.0.1", port=server.port, security=security, local_hostname="c.x",
            timeout=None, connect_timeout=None, deadline=0.3,
        ) as mailer,
    ):  # fmt: skip
        with pytest.raises(SMTPTimeoutError, match="deadline for the whole message") as caught:
            mailer.send_message(message())
        assert caught.value.outcome is Outcome.NOT_SENT


# An exhausted system


def test_without_a_thread_for_the_lookup_the_outcome_is_known(
    message, sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with Mailer(f"smtp://mail.test:{sink.port}") as mailer:
        monkeypatch.setattr(threading.Thread, "start", exhausted)
        with pytest.raises(SMTPConnectionError, match="can't start new thread") as caught:
            mailer.send_message(message())
    assert caught.value.outcome is Outcome.NOT_SENT
    assert caught.value.is_transient


def test_with_no_descriptor_left_the_error_says_so(
    message, sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lookup(*_: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def exhausted(*_: Any) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with Mailer(f"smtp://mail.test:{sink.port}") as mailer:
        without = {**vars(socket), "getaddrinfo": lookup, "socket": exhausted}
        monkeypatch.setattr(dial, "socket", SimpleNamespace(**without))
        with pytest.raises(SMTPConnectionError, match="Too many open files") as caught:
            mailer.send_message(message())
    assert caught.value.errno == errno.EMFILE


def test_mail_can_be_sent_while_the_process_ends(sink) -> None:
    program = f"""
        import atexit, logging
        from email.message import EmailMessage
        from mailbackends import Mailer
        mailer = Mailer("smtp://localhost:{sink.port}")
        message = EmailMessage()
        message["From"], message["To"] = "a@example.com", "b@example.com"
        atexit.register(lambda: print(mailer.send_message(message).accepted))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)  # noqa: S603
    assert (done.stdout, done.stderr) == ("('b@example.com',)\n", "")
    assert len(sink.messages) == 1


# The pool


def test_a_message_that_is_refused_here_does_not_count_for_its_connection(message) -> None:
    plain = tuple(each for each in EXTENSIONS if each != "SMTPUTF8")
    with Sink(extensions=plain) as sink, Mailer(sink.url, max_messages_per_connection=3) as mailer:
        for _ in range(3):
            with pytest.raises(SMTPNotSupportedError):
                mailer.send_message(message(), to_addrs=["jürgen@example.com"])
            mailer.send_message(message())
        assert mailer.stats().pool.made == 1


def test_a_busy_pool_does_not_mean_that_the_server_cannot_be_reached(message, sink) -> None:
    with Mailer(sink.url, pool_size=1, pool_timeout=0.01) as mailer, mailer.hold() as pinned:
        pinned.open()
        with pytest.raises(PoolTimeout) as caught:
            mailer.send_message(message())
        assert not caught.value.no_connection


def interrupted_at(number: int, mailer: Mailer, message: Any) -> bool:
    """Send with a Ctrl-C just before the line of that number; False if it has fewer."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        if not frame.f_code.co_filename.startswith(PACKAGES):
            return None
        if event == "line":
            lines += 1
            if lines == number:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    gc.disable()
    sys.settrace(trace)
    try:
        mailer.send_message(message)
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
        gc.enable()
    return False


# A socket between its connection and its owner is closed as garbage, with a warning.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_before_any_line_of_a_call_loses_no_place_of_the_pool(message, sink) -> None:
    one = message()
    with Mailer(sink.url, pool_size=1) as mailer:
        number = 1
        while True:
            mailer.send_message(one)  # a connection that is idle
            if not interrupted_at(number, mailer, one):
                break
            pool = mailer.stats().pool
            assert (pool.in_use, pool.opening, pool.waiters) == (0, 0, 0), number
            number += 2
    assert number > 100


# Forks and forgotten Mailers


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_reports_the_connections_that_it_dropped(message, sink) -> None:
    events: list[Event] = []
    with Mailer(sink.url, on_event=events.append) as mailer:
        mailer.send_message(message())
        events.clear()
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:  # pragma: no cover - another process
            silent = list(events)
            mailer.send_message(message())
            mailer.close()
            reasons = [event.reason for event in events if isinstance(event, ConnectionRetired)]
            os.write(write, repr((silent, reasons)).encode())
            os._exit(0)
        os.waitpid(pid, 0)
        assert os.read(read, 1000) == b"([], ['forked', 'closed'])"
        os.close(read)
        os.close(write)
        assert events == []


def test_a_mailer_that_is_garbage_sends_quit_without_a_warning(message, sink) -> None:
    mailer = Mailer(sink.url)
    mailer.send_message(message())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del mailer
        gc.collect()
    sink.wait(lambda: sink.open_connections == 0)
    assert sink.received().endswith(b"QUIT\r\n")


@pytest.mark.threads_only
@pytest.mark.parametrize("is_async", [False, True], ids=["Mailer", "AsyncMailer"])
def test_connections_are_closed_with_their_mailer_and_not_by_the_collector(
    message, sink, is_async: bool
) -> None:
    async def use() -> None:
        await AsyncMailer(sink.url).send_message(message())

    gc.collect()
    gc.disable()
    try:
        asyncio.run(use()) if is_async else BlockingMailer(sink.url).send_message(message())
        sink.wait(lambda: sink.open_connections == 0)
    finally:
        gc.enable()
    assert sink.received().endswith(b"QUIT\r\n")


# Windows, as far as that can be simulated


@pytest.mark.parametrize("tls", ["none", "starttls"])
@pytest.mark.parametrize("extensions", [EXTENSIONS, ()], ids=["bdat", "plain"])
def test_mail_is_sent_without_sendmsg_poll_and_unix_sockets(
    message, monkeypatch: pytest.MonkeyPatch, tls: Any, extensions: Any
) -> None:
    class WithoutSendmsg(socket.socket):
        @property
        def sendmsg(self) -> Any:
            raise AttributeError("sendmsg")

    connect = opening.dial

    async def dialled(*arguments: Any, **options: Any) -> socket.socket:
        return WithoutSendmsg(fileno=(await connect(*arguments, **options)).detach())

    more = {} if tls == "none" else {"ssl_cafile": certs.cafile()}
    # Not in the module itself, which the server uses, too.
    without_poll = SimpleNamespace(**{k: v for k, v in vars(select).items() if k != "poll"})
    with (
        Sink(tls=tls, extensions=extensions) as sink,
        Mailer(sink.url, timeout=0.3, content_timeout=0.3, **more) as mailer,
        monkeypatch.context() as patch,
    ):
        patch.setattr(opening, "dial", dialled)
        patch.setattr("mailbackends.transport.waiting.select", without_poll)
        patch.setattr("mailbackends.transport.stream.select", without_poll)
        for _ in range(2):
            assert mailer.send_message(message()).accepted
        sink.stall("MAIL", times=None)
        with pytest.raises(SMTPException):
            mailer.send_message(message())


def test_without_unix_sockets_the_error_says_so(message, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with (
        Mailer("lmtp+unix:///tmp/nowhere") as mailer,
        pytest.raises(SMTPConnectionError, match="no Unix sockets"),
    ):
        mailer.send_message(message())
