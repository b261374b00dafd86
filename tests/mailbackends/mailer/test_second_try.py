"""A second try is made only if the end of the content was not sent, over a new connection."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from mailbackends import (
    Mailer,
    Outcome,
    SMTPConnectError,
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)
from support.machine import Habits
from support.sink import EXTENSIONS, Sink
from support.turns import Network, taking_turns

CHUNKED = EXTENSIONS
PIPELINED = tuple(e for e in EXTENSIONS if e != "CHUNKING")
PLAIN = tuple(e for e in PIPELINED if e != "PIPELINING")
ALL = pytest.mark.parametrize(
    "extensions", [CHUNKED, PIPELINED, PLAIN], ids=["chunked", "pipelined", "plain"]
)


# An idle connection


@ALL
@pytest.mark.parametrize("tls", ["none", "starttls"])
@pytest.mark.parametrize("last_words", [b"", b"421 4.4.2 Idle for too long\r\n", b"nonsense"])
def test_a_connection_that_the_server_closed_meanwhile_is_replaced_before_a_byte_is_sent(
    message, extensions: Sequence[str], tls, last_words: bytes
) -> None:
    with Sink(extensions=extensions, tls=tls) as sink, Mailer(sink.url) as mailer:
        mailer.send_message(message(subject="1"))
        sink.close_connections(last_words)
        mailer.send_message(message(subject="2"))
        pool = mailer.stats().pool
    assert [m.message["Subject"] for m in sink.messages] == ["1", "2"]
    assert sink.commands[0][-1][:4] in ("BDAT", "DATA")
    assert (pool.made, pool.reused, pool.retired["dead"]) == (2, 0, 1)


@pytest.mark.parametrize("words", [b"421 4.3.2 Going down soon\r\n", b"2", b"250 Hello\r\n"])
def test_a_connection_with_an_unsolicited_reply_is_replaced(words: bytes) -> None:
    with taking_turns(Network(Habits(("PIPELINING", "CHUNKING")))) as network:
        with Mailer(host="127.0.0.1", port=network.ports[0], local_hostname="c.x") as mailer:
            mailer.send_message(b"1", "s@x", "a@x")
            network.lines[0].interject(words)
            mailer.send_message(b"2", "s@x", "a@x")
            assert mailer.stats().pool.retired == {"dead": 1}
        assert len(network.lines) == 2
        assert network.delivered.count == {(b"1\r\n", "a@x"): 1, (b"2\r\n", "a@x"): 1}


def test_a_server_that_was_restarted_is_found_again(message) -> None:
    with Sink() as sink, Mailer(sink.url) as mailer:
        mailer.send_message(message())
        sink.stop()
        sink.start()
        mailer.send_message(message())
        assert len(sink.messages) == 2


# A used connection that breaks during the message


@pytest.mark.parametrize(
    ("extensions", "verb"),
    [*((PIPELINED, v) for v in ("MAIL", "RCPT", "DATA")),
     *((PLAIN, v) for v in ("MAIL", "RCPT", "DATA"))],
)  # fmt: skip
@pytest.mark.parametrize("fault", ["hang up", "421"])
def test_a_message_is_sent_once_more_if_the_connection_breaks_before_the_content(
    message, extensions: Sequence[str], verb: str, fault: str
) -> None:
    with Sink(extensions=extensions) as sink, Mailer(sink.url) as mailer:
        mailer.send_message(message(subject="1"))
        if fault == "421":
            sink.answer(verb, "421 4.3.2 Going down")
        else:
            sink.hang_up(verb)
        mailer.send_message(message(subject="2"))
        assert mailer.stats().pool.made == 2
        assert mailer.stats().messages == {Outcome.ACCEPTED: 2}
    assert [m.message["Subject"] for m in sink.messages] == ["1", "2"]


@ALL
@pytest.mark.parametrize("is_reused", [True, False])
def test_a_message_is_never_sent_again_after_the_content(
    message, extensions: Sequence[str], is_reused: bool
) -> None:
    with Sink(extensions=extensions) as sink, Mailer(sink.url) as mailer:
        if is_reused:
            mailer.send_message(message())
        sink.hang_up("content")
        with pytest.raises(SMTPDeliveryUnknown) as caught:
            mailer.send_message(message("a@example.com", "b@example.com"))
        assert caught.value.outcome is Outcome.UNKNOWN
        assert caught.value.unknown == ("a@example.com", "b@example.com")
        assert not caught.value.is_transient
        assert sink.connections == 1
        # The next one goes over a new connection.
        mailer.send_message(message())
    assert sink.connections == 2


def test_a_second_try_that_breaks_too_is_the_last(message) -> None:
    with Sink(extensions=PLAIN) as sink, Mailer(sink.url) as mailer:
        mailer.send_message(message())
        for _ in range(2):
            sink.hang_up("RCPT")
        with pytest.raises(SMTPServerDisconnected) as caught:
            mailer.send_message(message())
        assert caught.value.outcome is Outcome.NOT_SENT
        assert caught.value.is_transient
    assert sink.connections == 2


def test_the_second_try_takes_no_other_used_connection(message) -> None:
    with Sink(extensions=PLAIN) as sink, Mailer(sink.url) as mailer:
        with mailer.hold() as one, mailer.hold() as two:
            one.send_message(message())
            two.send_message(message())
        sink.hang_up("MAIL")
        mailer.send_message(message())
        pool = mailer.stats().pool
    assert (pool.made, pool.reused) == (3, 1)


def test_if_no_second_connection_can_be_opened_its_error_is_raised(message) -> None:
    with Sink(extensions=PLAIN) as sink, Mailer(sink.url) as mailer:
        mailer.send_message(message())
        sink.hang_up("MAIL")
        sink.answer("CONNECT", "554 5.3.2 Closed")
        with pytest.raises(SMTPConnectError, match="Closed") as caught:
            mailer.send_message(message())
        assert caught.value.outcome is Outcome.NOT_SENT


def test_the_refusal_is_raised_if_no_second_connection_can_be_opened(message) -> None:
    with Sink(extensions=PLAIN) as sink, Mailer(sink.url) as mailer:
        mailer.send_message(message())
        sink.answer("MAIL", "450 4.7.1 Try again later")
        sink.answer("CONNECT", "421 4.7.0 Too many connections")
        with pytest.raises(SMTPSenderRefused, match="Try again later") as caught:
            mailer.send_message(message())
        assert caught.value.outcome is Outcome.REFUSED
        assert caught.value.is_transient
        assert not caught.value.no_connection


@pytest.mark.parametrize(
    ("extensions", "verb", "answer"),
    [
        (PLAIN, "MAIL", "421 4.7.0 Too many errors"),
        (PIPELINED, "MAIL", "503 5.5.1 Say hello first"),
        (PIPELINED, "RCPT", "503 5.5.1 Say hello first"),
    ],
)
def test_the_error_of_a_second_connection_has_what_the_server_said_on_the_first(
    message, extensions: Sequence[str], verb: str, answer: str
) -> None:
    with Sink(extensions=extensions) as sink, Mailer(sink.url) as mailer:
        mailer.send_message(message())
        sink.answer(verb, answer)
        sink.answer("CONNECT", "421 4.3.2 Too many connections")
        with pytest.raises(SMTPConnectError, match=r"Too many connections.*before that") as caught:
            mailer.send_message(message())
        assert (caught.value.outcome, caught.value.is_transient) == (Outcome.NOT_SENT, True)
        [before] = caught.value.earlier
        assert answer[4:] in str(before)
        assert caught.value.as_dict()["earlier"] == [before.as_dict()]


def test_the_error_does_not_mention_an_idle_connection_that_was_closed(message) -> None:
    with Sink(extensions=PLAIN) as sink, Mailer(sink.url) as mailer:
        mailer.send_message(message())
        sink.hang_up("MAIL")
        sink.answer("CONNECT", "554 5.3.2 Closed")
        with pytest.raises(SMTPConnectError) as caught:
            mailer.send_message(message())
        assert caught.value.earlier == ()


# A refusal is an answer


@ALL
@pytest.mark.parametrize("code", ["451 4.3.0 Later", "554 5.6.0 Never"])
def test_a_refusal_is_not_tried_again(message, extensions: Sequence[str], code: str) -> None:
    with Sink(extensions=extensions) as sink, Mailer(sink.url) as mailer:
        mailer.send_message(message())
        sink.refuse_content(code, times=1)
        with pytest.raises(SMTPDataError) as caught:
            mailer.send_message(message())
        assert caught.value.outcome is Outcome.REFUSED
        assert caught.value.is_transient is code.startswith("4")
    assert sink.connections == 1
    assert len(sink.messages) == 1


@ALL
def test_a_421_to_the_content_is_a_refusal_for_now(message, extensions: Sequence[str]) -> None:
    with Sink(extensions=extensions) as sink, Mailer(sink.url) as mailer:
        sink.refuse_content("421 4.3.2 Going down", times=1)
        with pytest.raises(SMTPDataError) as caught:
            mailer.send_message(message())
        assert caught.value.outcome is Outcome.REFUSED
        assert caught.value.is_transient
        mailer.send_message(message())
    assert sink.connections == 2
    assert len(sink.messages) == 1


def test_a_connection_that_could_not_be_opened_is_not_tried_again(message) -> None:
    with Sink() as sink, Mailer(sink.url) as mailer:
        sink.hang_up("EHLO")
        with pytest.raises(SMTPServerDisconnected) as caught:
            mailer.send_message(message())
        assert caught.value.outcome is Outcome.NOT_SENT
    assert sink.connections == 1


# A held connection


def test_a_pinned_connection_is_replaced_if_it_breaks(message) -> None:
    with Sink(extensions=PLAIN) as sink, Mailer(sink.url) as mailer, mailer.hold() as held:
        held.send_message(message())
        for _ in range(3):
            sink.hang_up("RCPT")
            held.send_message(message())
    assert len(sink.messages) == sink.connections == 4


@pytest.mark.parametrize("extensions", [CHUNKED, PIPELINED], ids=["chunked", "pipelined"])
@pytest.mark.parametrize("in_flight", [None, 4], ids=["hold", "batch"])
def test_commands_out_of_order_lead_to_a_new_connection_though_the_old_one_could_go_on(
    message, extensions: Sequence[str], in_flight: int | None
) -> None:
    more = {} if in_flight is None else {"batch_pipeline": in_flight}
    with Sink(extensions=extensions) as sink, Mailer(sink.url, **more) as mailer:
        if in_flight is None:
            with mailer.hold() as held:
                held.send_message(message())
                sink.answer("MAIL", "503 5.5.1 Out of order")
                held.send_message(message())
        else:
            results = mailer.stream_messages(message() for _ in range(2))
            next(results)
            sink.answer("MAIL", "503 5.5.1 Out of order")
            next(results)
            assert list(results) == []
        pool = mailer.stats().pool
        assert (pool.made, pool.in_use, pool.idle) == (2, 0, 1)
    # The refusal is the first connection's last message.
    assert [received.connection for received in sink.messages] == [0, 1]
