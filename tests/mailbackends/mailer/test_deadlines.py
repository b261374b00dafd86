"""A server that stops or is slow at any step delays a caller only for the time allowed."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from mailbackends import (
    Mailer,
    Outcome,
    PoolTimeout,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPTimeoutError,
)
from support import certs
from support.scripted import Peer, ScriptedServer
from support.sink import EXTENSIONS, Sink

CHUNKED = EXTENSIONS
PIPELINED = tuple(e for e in EXTENSIONS if e != "CHUNKING")
PLAIN = tuple(e for e in PIPELINED if e != "PIPELINING")

TIMEOUT = 0.15  # seconds
DEADLINE = 0.6
# A loaded machine is slow, and a hang would last forever: nothing in between matters.
GRACE = 3.0


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds + GRACE


def mailer_for(sink: Sink, **options) -> Mailer:
    given = {"timeout": TIMEOUT, "content_timeout": TIMEOUT, "deadline": DEADLINE}
    return Mailer(sink.url, local_hostname="me.test", **{**given, **options})


@pytest.mark.parametrize("each", [True, False], ids=["always", "once"])
@pytest.mark.parametrize(
    "step", ["CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "content"]
)
def test_a_server_that_stops_at_a_step_for_the_first_message(
    message, step: str, each: bool
) -> None:
    with (
        Sink(extensions=PLAIN, tls="starttls", login=("user", "secret")) as sink,
        mailer_for(sink) as mailer,
        within(DEADLINE),
    ):
        sink.stall(step, times=None if each else 1)
        with pytest.raises(SMTPException) as caught:
            mailer.send_message(message())
    is_told_apart = {"content": (SMTPDeliveryUnknown, Outcome.UNKNOWN)}
    kind, outcome = is_told_apart.get(step, (SMTPTimeoutError, Outcome.NOT_SENT))
    assert (type(caught.value), caught.value.outcome) == (kind, outcome)
    assert "timed out" in str(caught.value)
    assert "waiting for" in str(caught.value)
    assert sink.messages == []


@pytest.mark.parametrize("extensions", [CHUNKED, PIPELINED, PLAIN], ids=["1", "2", "n"])
@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "content"])
def test_a_server_that_stops_for_good_at_a_message_over_a_used_connection(
    message, step: str, extensions: Sequence[str]
) -> None:
    if step == "DATA" and extensions == CHUNKED:
        step = "BDAT"
    with Sink(extensions=extensions) as sink, mailer_for(sink) as mailer:
        mailer.send_message(message())
        sink.stall(step, times=None)
        with within(DEADLINE), pytest.raises(SMTPException) as caught:
            mailer.send_message(message())
        assert caught.value.outcome in (Outcome.NOT_SENT, Outcome.UNKNOWN)
        assert mailer.stats().pool.in_use == 0
    assert len(sink.messages) == 1


def test_the_reply_to_the_content_has_a_separate_limit(message) -> None:
    with Sink() as sink, mailer_for(sink, timeout=60, deadline=None) as mailer:
        sink.stall("content")
        with within(TIMEOUT), pytest.raises(SMTPDeliveryUnknown, match="reply to the content"):
            mailer.send_message(message())


def test_the_deadline_applies_without_a_timeout(message) -> None:
    options = {"timeout": None, "content_timeout": None, "deadline": TIMEOUT}
    with Sink(extensions=PLAIN) as sink, mailer_for(sink, **options) as mailer, within(TIMEOUT):
        sink.stall("MAIL")
        with pytest.raises(SMTPTimeoutError, match="the deadline for the whole message"):
            mailer.send_message(message())


def test_a_mailer_does_not_wait_for_a_server_that_ignores_quit(message) -> None:
    with Sink() as sink:
        sink.stall("QUIT")
        mailer = mailer_for(sink, timeout=60)
        mailer.send_message(message())
        with within(0):
            mailer.close()


# A server that continues slowly


@pytest.mark.parametrize("place", ["greeting", "EHLO", "MAIL"])
def test_a_reply_that_arrives_byte_by_byte_gets_no_more_time(place: str) -> None:
    stop = threading.Event()

    def play(peer: Peer) -> None:
        words = {"greeting": b"220 hi\r\n", "EHLO": b"250 hi\r\n", "MAIL": b"250 ok\r\n"}
        for step, reply in words.items():
            if step != "greeting":
                peer.read_line()
            if step == place:
                while not stop.wait(0.02):
                    peer.send(b"2")
            peer.send(reply)

    with ScriptedServer(play) as server, within(TIMEOUT):
        mailer = Mailer(
            host=server.host, port=server.port, local_hostname="me.test", timeout=TIMEOUT
        )
        try:
            with pytest.raises(SMTPException) as caught:
                mailer.send_message(b"hello", "from@example.com", "to@example.com")
        finally:
            stop.set()
    assert caught.value.outcome is Outcome.NOT_SENT


def test_the_deadline_ends_a_write_to_a_server_that_reads_slowly() -> None:
    stop = threading.Event()

    def play(peer: Peer) -> None:
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        peer.send(b"220 hi\r\n")
        for reply in (b"250 hi\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            peer.read_line()
            peer.send(reply)
        while not stop.wait(0.02) and peer.sock.recv(1000):
            pass

    with ScriptedServer(play) as server, within(DEADLINE):
        mailer = Mailer(
            host=server.host, port=server.port, local_hostname="me.test",
            timeout=60, deadline=DEADLINE,
        )  # fmt: skip
        try:
            with pytest.raises(SMTPTimeoutError, match="take more") as caught:
                # More than the buffers of both ends take.
                mailer.send_message(bytes(8_000_000), "from@example.com", "to@example.com")
        finally:
            stop.set()
    assert caught.value.outcome is Outcome.NOT_SENT


def test_the_deadline_ends_a_series_of_slow_replies(message) -> None:
    people = [f"user{number}@example.com" for number in range(100)]

    def play(peer: Peer) -> None:
        peer.send(b"220 hi\r\n")
        while peer.read_line():
            time.sleep(TIMEOUT / 2)
            peer.send(b"250 ok\r\n")

    with ScriptedServer(play) as server, within(DEADLINE):
        mailer = Mailer(
            host=server.host, port=server.port, local_hostname="me.test",
            timeout=TIMEOUT, deadline=DEADLINE,
        )  # fmt: skip
        with pytest.raises(SMTPTimeoutError) as caught:
            mailer.send_message(message(*people))
    assert caught.value.outcome is Outcome.NOT_SENT


# Before the greeting


def test_a_host_that_accepts_no_connection_times_out() -> None:
    with socket.socket() as deaf, contextlib.ExitStack() as stack:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        # The kernel's queue takes one connection; the next SYN gets no answer.
        for _ in range(2):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        mailer = Mailer(host="127.0.0.1", port=deaf.getsockname()[1], connect_timeout=TIMEOUT)
        with within(TIMEOUT), pytest.raises(SMTPTimeoutError, match="connecting") as caught:
            mailer.send_message(b"hello", "from@example.com", "to@example.com")
    assert caught.value.outcome is Outcome.NOT_SENT


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_a_handshake_that_never_ends_times_out(security) -> None:
    def play(peer: Peer) -> None:
        if security == "starttls":
            peer.send(b"220 hi\r\n")
            peer.read_line()
            peer.send(b"250-hi\r\n250 STARTTLS\r\n")
            peer.read_line()
            peer.send(b"220 go\r\n")
        peer.read_to_end()

    with ScriptedServer(play) as server:
        mailer = Mailer(
            host=server.host, port=server.port, local_hostname="me.test", security=security,
            ssl_cafile=certs.cafile(), connect_timeout=TIMEOUT,
        )  # fmt: skip
        with within(TIMEOUT), pytest.raises(SMTPTimeoutError, match="TLS handshake") as caught:
            mailer.send_message(b"hello", "from@example.com", "to@example.com")
    assert caught.value.outcome is Outcome.NOT_SENT


@pytest.mark.parametrize("limit", ["pool_timeout", "deadline"])
def test_the_wait_for_a_connection_is_limited_by_both(message, sink: Sink, limit: str) -> None:
    options = {"deadline": 60.0, "pool_timeout": 60.0, limit: TIMEOUT}
    with mailer_for(sink, pool_size=1, **options) as mailer, mailer.hold() as held:
        held.open()
        with within(TIMEOUT), pytest.raises(PoolTimeout, match=limit) as caught:
            mailer.send_message(message())
        assert caught.value.outcome is Outcome.NOT_SENT
        assert mailer.stats().pool.waiters == 0
    assert sink.messages == []
