"""The driver runs a dialogue over a stream, and raises each fault in it."""

import socket
import ssl

import pytest

from mailbackends.errors import (
    InvalidMessageError,
    Outcome,
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPProtocolError,
    SMTPServerDisconnected,
    SMTPTimeoutError,
    SMTPTLSError,
)
from mailbackends.mime.content import Content, from_bytes
from mailbackends.mime.pieces import Encoded
from mailbackends.protocol.command import Command
from mailbackends.protocol.dialogue import ask, greeting, hello, quit_now, starttls
from mailbackends.protocol.envelope import Envelope
from mailbackends.protocol.session import State
from mailbackends.protocol.transaction import deliver
from mailbackends.transport.waiting import Timeouts
from support import certs
from support.far_end import FarEnd

HASTY = Timeouts(command=0.2, content=0.2)
ONE = Envelope("me@x", ("a@x",))


def introduced(server, *keywords):
    """The server's part up to the first message."""
    server.say(b"220 hi")
    server.read_until(b"\r\n")
    server.say(b"250-hi", *(b"250-" + keyword.encode() for keyword in keywords), b"250 HELP")


def introduce(server):
    server.run(greeting(server.session))
    server.run(hello(server.session, "here"))


# --- without faults ------------------------------------------------------------------


def test_a_message_is_sent_from_greeting_to_quit():
    got = []

    def play(server):
        introduced(server, "PIPELINING")
        server.answer(b"250 ok", b"250 ok", b"354 go")
        got.append(server.read_until(b"\r\n.\r\n"))
        server.say(b"250 queued")
        server.read_until(b"QUIT\r\n")

    with FarEnd(play) as server:
        introduce(server)
        delivery = server.run(
            deliver(server.session, ONE, from_bytes(b"Subject: hi\r\n\r\nho\r\n"))
        )
        assert delivery.accepted == ["a@x"]
        assert server.session.is_reusable
        quit_now(server.session)
        server.driver.send_at_once()
    assert got == [b"Subject: hi\r\n\r\nho"]


def test_a_reply_may_arrive_byte_by_byte():
    def play(server):
        for byte in b"220-hello\r\n220 there\r\n":
            server.sock.sendall(bytes([byte]))

    with FarEnd(play) as server:
        assert server.run(greeting(server.session)).message == b"hello\nthere"


def test_a_wait_that_ends_without_a_byte_continues():
    def play(server):
        server.go.wait(10)
        server.say(b"220 hi")

    with FarEnd(play) as server:
        wait = server.driver.stream.wait

        async def nothing_yet(deadline, **options):
            server.driver.stream.wait = wait
            server.go.set()

        server.driver.stream.wait = nothing_yet
        assert server.run(greeting(server.session)).code == 220


# --- reading while writing ------------------------------------------------------------


def test_a_server_that_reads_only_when_its_replies_are_read_does_not_deadlock():
    count = 3000
    recipients = tuple(f"recipient{number}@x" for number in range(count))

    def play(server):
        introduced(server, "PIPELINING")
        server.answer(b"250 ok")
        # Its writes block as soon as its replies are not read, and then it reads no more.
        server.answer(*[b"250 " + b"x" * 400] * count)
        server.answer(b"354 go")
        server.read_until(b"\r\n.\r\n")
        server.say(b"250 queued")

    with FarEnd(play, buffer=4096) as server:
        introduce(server)
        envelope = Envelope("me@x", recipients)
        delivery = server.run(deliver(server.session, envelope, from_bytes(b"hi\r\n")))
    assert len(delivery.accepted) == count


def test_content_that_is_refused_before_its_end_is_not_sent_to_its_end():
    def play(server):
        introduced(server, "PIPELINING")
        server.answer(b"250 ok", b"250 ok", b"354 go")
        server.say(b"552 enough")
        server.stopped.wait(10)

    pulled = []

    class Endless(Encoded):
        size = 1 << 40

        def pieces(self):
            while True:
                pulled.append(1)
                yield b"x" * 998 + b"\r\n"

        def holds(self, text):
            return False

    with FarEnd(play) as server:
        introduce(server)
        with pytest.raises(SMTPDataError) as caught:
            server.run(deliver(server.session, ONE, Content((Endless(),), False, Endless.size)))
        assert caught.value.outcome is Outcome.REFUSED
        assert server.session.state is State.CLOSED
    assert len(pulled) < 100_000


# --- the end --------------------------------------------------------------------------


def test_the_end_of_the_stream_is_raised_in_the_dialogue():
    with FarEnd(lambda server: server.sock.close()) as server:
        with pytest.raises(SMTPServerDisconnected, match="Connection unexpectedly closed"):
            server.run(greeting(server.session))
        assert server.session.state is State.CLOSED


def test_half_a_reply_before_the_end_is_not_a_reply():
    def play(server):
        server.sock.sendall(b"220-hi\r\n220 the")
        server.sock.close()

    with FarEnd(play) as server, pytest.raises(SMTPServerDisconnected):
        server.run(greeting(server.session))


def test_a_reset_is_reported_with_its_reason():
    def play(server):
        introduced(server)
        server.sock.recv(1)
        server.reset()

    with FarEnd(play, tcp=True) as server:
        introduce(server)
        with pytest.raises(SMTPServerDisconnected, match=r"closed: .*reset") as caught:
            server.run(ask(server.session, Command("NOOP")))
        assert isinstance(caught.value.__cause__, ConnectionResetError)
        assert server.session.state is State.CLOSED


def hang_up_with(*words):
    def play(server):
        introduced(server, "PIPELINING")
        server.go.wait(10)
        server.say(*words)
        server.sock.shutdown(socket.SHUT_RD)
        server.sock.close()

    return play


def test_the_last_reply_of_a_server_that_closed_during_a_write_is_read():
    with FarEnd(hang_up_with(b"421 too slow")) as server:
        introduce(server)
        server.go.set()
        server.thread.join()
        # Its buffer is full, and its end is closed: writing fails, and the reason can be read.
        with pytest.raises(SMTPServerDisconnected) as caught:
            server.run(deliver(server.session, ONE, from_bytes(b"hi\r\n")))
        assert caught.value.reply.code == 421
        assert caught.value.outcome is Outcome.NOT_SENT


def test_without_a_last_reply_the_error_has_the_systems_reason():
    with FarEnd(hang_up_with()) as server:
        introduce(server)
        server.go.set()
        server.thread.join()
        with pytest.raises(SMTPServerDisconnected, match=r"closed: .*[Bb]roken pipe") as caught:
            server.run(deliver(server.session, ONE, from_bytes(b"hi\r\n")))
        assert caught.value.outcome is Outcome.NOT_SENT
        assert isinstance(caught.value.__cause__, BrokenPipeError)


def test_half_a_reply_is_not_the_last_reply():
    with FarEnd(hang_up_with()) as server:
        introduce(server)
        server.go.set()
        server.thread.join()
        server.session.receive_data(b"421-half")
        with pytest.raises(SMTPServerDisconnected):
            server.run(deliver(server.session, ONE, from_bytes(b"hi\r\n")))


def test_an_alert_after_the_handshake_is_explained():
    with FarEnd(lambda server: server.stopped.wait(10)) as server:
        error = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert")

        def fail():
            raise error

        server.say(b"")
        server.driver.stream.receive_some = fail

        async def no_wait(deadline):
            pass

        server.driver.stream.wait = no_wait
        with pytest.raises(SMTPServerDisconnected) as caught:
            server.run(greeting(server.session))
        hint = "the server wants a certificate from us: give it as ssl_certfile"
        assert caught.value.hint == hint


def test_a_break_after_the_content_is_an_unknown_delivery():
    def play(server):
        introduced(server)
        server.answer(b"250 ok", b"250 ok", b"354 go")
        server.read_until(b"\r\n.\r\n")
        server.sock.close()

    with FarEnd(play) as server:
        introduce(server)
        with pytest.raises(SMTPDeliveryUnknown) as caught:
            server.run(deliver(server.session, ONE, from_bytes(b"hi\r\n")))
        assert caught.value.unknown == ("a@x",)


def test_a_malformed_reply_closes():
    with FarEnd(lambda server: server.say(b"what?")) as server:
        with pytest.raises(SMTPProtocolError):
            server.run(greeting(server.session))
        assert server.session.state is State.CLOSED


def test_a_reply_before_its_command_closes():
    def play(server):
        server.say(b"220 hi", b"250 ok", b"250 ok")

    with FarEnd(play) as server:
        server.run(greeting(server.session))
        with pytest.raises(SMTPProtocolError, match="before its command"):
            server.run(hello(server.session, "here"))


# --- time -----------------------------------------------------------------------------


def drip(data, *, forever=b""):
    """A server that sends a byte now and then."""

    def play(server):
        for byte in data:
            server.sock.sendall(bytes([byte]))
        while not server.stopped.wait(0.02):
            server.sock.sendall(forever)

    return play


@pytest.mark.parametrize("play", [drip(b""), drip(b"220-", forever=b"x")], ids=["silent", "drips"])
def test_a_reply_has_a_time_limit_however_its_bytes_arrive(play):
    with FarEnd(play) as server:
        with pytest.raises(SMTPTimeoutError, match="timed out: waiting for a reply"):
            server.run(greeting(server.session), HASTY)
        assert server.session.state is State.CLOSED


def test_an_endless_reply_is_an_error_however_fast_it_arrives():
    def play(server):
        while True:
            server.say(*[b"220-" + b"x" * 500] * 100)

    with FarEnd(play) as server, pytest.raises(SMTPProtocolError, match="Reply too long"):
        server.run(greeting(server.session))


def large():
    return from_bytes(b"x" * 76 + b"\r\n" + b"y" * 20_000_000)


@pytest.mark.parametrize("forever", [b"", b"x"], ids=["silent", "drips"])
def test_a_server_that_reads_nothing_times_out_even_if_it_sends_bytes(forever):
    def play(server):
        introduced(server)
        server.answer(b"250 ok", b"250 ok", b"354 go")
        drip(b"250-", forever=forever)(server)

    with FarEnd(play) as server:
        introduce(server)
        with pytest.raises(SMTPTimeoutError, match="waiting for the server to take more") as c:
            server.run(deliver(server.session, ONE, large()), HASTY)
        assert c.value.outcome is Outcome.NOT_SENT


def test_the_reply_to_the_content_has_a_separate_limit():
    def play(server):
        introduced(server)
        server.answer(b"250 ok", b"250 ok", b"354 go")
        server.read_until(b"\r\n.\r\n")
        server.stopped.wait(10)

    with FarEnd(play) as server:
        introduce(server)
        timeouts = Timeouts(command=10.0, content=0.1)
        with pytest.raises(SMTPDeliveryUnknown, match="the reply to the content"):
            server.run(deliver(server.session, ONE, from_bytes(b"hi\r\n")), timeouts)


# --- interruptions --------------------------------------------------------------------


def test_after_an_interruption_the_connection_cannot_be_used_again():
    with FarEnd(lambda server: introduced(server)) as server:
        introduce(server)

        def interrupted(deadline, *, for_writing=False):
            raise KeyboardInterrupt

        server.driver.stream.wait = interrupted
        with pytest.raises(KeyboardInterrupt):
            server.run(ask(server.session, Command("RSET")))
        assert not server.session.is_reusable
        assert server.session.state is State.CLOSED


def test_content_that_breaks_off_while_it_is_read_ends_the_connection():
    class Broken(Encoded):
        size = 1000

        def pieces(self):
            yield b"x\r\n"
            raise InvalidMessageError("the attachment has become shorter")

        def holds(self, text):
            return False

    def play(server):
        introduced(server)
        server.answer(b"250 ok", b"250 ok", b"354 go")
        server.stopped.wait(10)

    with FarEnd(play) as server:
        introduce(server)
        with pytest.raises(InvalidMessageError) as caught:
            server.run(deliver(server.session, ONE, Content((Broken(),), False, Broken.size)))
        assert caught.value.outcome is Outcome.NOT_SENT
        assert server.session.state is State.CLOSED


def test_after_starttls_the_dialogue_continues_under_tls():
    context = certs.server_context()

    def play(server):
        introduced(server, "STARTTLS")
        server.answer(b"220 go")
        server.sock = context.wrap_socket(server.sock, server_side=True)
        server.answer(b"250 under TLS")

    client = ssl.create_default_context(cafile=certs.cafile())
    with FarEnd(play, tls_context=client, tls_hostname="localhost") as server:
        introduce(server)
        server.run(starttls(server.session, "here"))
        assert server.session.is_tls
        assert server.session.state is State.READY


def test_starttls_without_a_context_is_an_error_before_the_handshake():
    def play(server):
        introduced(server, "STARTTLS")
        server.answer(b"220 go")
        server.stopped.wait(10)

    with FarEnd(play) as server:
        introduce(server)
        with pytest.raises(SMTPTLSError, match="no context was given"):
            server.run(starttls(server.session, "here"))


def test_quit_is_written_as_far_as_possible_without_waiting():
    def play(server):
        introduced(server)
        server.stopped.wait(10)

    with FarEnd(play) as server:
        introduce(server)
        stream = server.driver.stream
        while stream.send_some([b"x" * 65536]):
            pass
        quit_now(server.session)
        server.driver.send_at_once()
        assert server.driver._unsent
