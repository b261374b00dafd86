"""A Mailer over several servers: what goes on to the next one, and what never does."""

from __future__ import annotations

from collections.abc import Callable
from email.message import EmailMessage

import pytest

from mailbackends import (
    InvalidAddressError,
    Mailer,
    Outcome,
    PoolClosed,
    SMTPConnectionError,
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
)
from support.sink import Sink

MakeMessage = Callable[..., EmailMessage]

TO = "to@example.com"


# --- what goes on ---------------------------------------------------------------------


def test_if_a_server_refuses_connections_the_next_one_gets_the_message(
    nobody: str, two: Sink, message: MakeMessage
) -> None:
    with Mailer([nobody, two.url]) as mailer:
        receipt = mailer.send_message(message())
    assert receipt.accepted == (TO,)
    assert two.message.rcpt_tos == (TO,)


REFUSALS: dict[str, Callable[[Sink], None]] = {
    "sender": lambda sink: sink.refuse_sender("from@example.com", "451 4.3.0 later"),
    "recipient": lambda sink: sink.refuse(TO, "450 4.2.0 greylisted"),
    "content": lambda sink: sink.refuse_content("452 4.3.1 disk full"),
    "hanging up with 421": lambda sink: sink.answer("MAIL", "421 4.3.2 shutting down"),
    "hanging up before the content": lambda sink: sink.hang_up("DATA", times=None),
}


@pytest.mark.parametrize("refuse", REFUSALS.values(), ids=REFUSALS.keys())
def test_a_message_refused_for_now_goes_to_the_next_server(
    refuse: Callable[[Sink], None], one: Sink, two: Sink, message: MakeMessage
) -> None:
    refuse(one)
    with Mailer([one.url, two.url]) as mailer:
        assert mailer.send_message(message()).accepted == (TO,)
    assert (len(one.messages), len(two.messages)) == (0, 1)


def test_a_login_that_one_server_refuses_is_tried_at_the_next(message: MakeMessage) -> None:
    login = ("user", "secret")
    with Sink(login=("user", "changed")) as one, Sink(login=login) as two:
        servers = [f"smtp://{one.host}:{one.port}", f"smtp://{two.host}:{two.port}"]
        with Mailer(servers, username="user", password="secret") as mailer:
            mailer.send_message(message())
        assert two.message.user == "user"


def test_after_a_partial_refusal_the_rest_is_tried_and_the_receipts_are_combined(
    one: Sink, two: Sink, message: MakeMessage
) -> None:
    one.refuse("later@example.com", "450 4.2.0 greylisted")
    one.refuse("never@example.com", "550 5.1.1 no such user")
    with Mailer([one.url, two.url]) as mailer:
        receipt = mailer.send_message(
            message("now@example.com", "later@example.com", "never@example.com")
        )
    assert one.message.rcpt_tos == ("now@example.com",)
    assert two.message.rcpt_tos == ("later@example.com",)
    assert receipt.accepted == ("now@example.com", "later@example.com")
    assert {to: reply.code for to, reply in receipt.refused.items()} == {"never@example.com": 550}


def test_a_recipient_temporarily_refused_everywhere_is_in_the_receipt(
    one: Sink, two: Sink, message: MakeMessage
) -> None:
    for sink in (one, two):
        sink.refuse("later@example.com", "450 4.2.0 greylisted")
    with Mailer([one.url, two.url]) as mailer:
        receipt = mailer.send_message(message(TO, "later@example.com"))
        assert mailer.stats().messages == {Outcome.ACCEPTED: 1}
    assert receipt.refused["later@example.com"].code == 450
    assert (len(one.messages), len(two.messages)) == (1, 0)


# --- what does not ----------------------------------------------------------------------


def test_a_message_with_an_unknown_outcome_is_not_tried_elsewhere(
    one: Sink, two: Sink, message: MakeMessage
) -> None:
    one.hang_up("content")
    with Mailer([one.url, two.url]) as mailer, pytest.raises(SMTPDeliveryUnknown) as raised:
        mailer.send_message(message())
    assert raised.value.unknown == (TO,)
    assert two.connections == 0


def test_a_message_refused_permanently_is_not_tried_elsewhere(
    one: Sink, two: Sink, message: MakeMessage
) -> None:
    with Mailer([one.url, two.url]) as mailer:
        one.refuse_sender("from@example.com", "550 5.7.1 not you", times=1)
        with pytest.raises(SMTPSenderRefused):
            mailer.send_message(message())
        one.refuse(TO, "550 5.1.1 no such user", times=1)
        with pytest.raises(SMTPRecipientsRefused):
            mailer.send_message(message())
        one.refuse_content("554 5.6.0 spam", times=1)
        with pytest.raises(SMTPDataError):
            mailer.send_message(message())
        assert mailer.stats().messages == {Outcome.REFUSED: 3}
    assert two.connections == 0


def test_a_message_that_no_server_can_take_is_tried_at_none(
    one: Sink, two: Sink, message: MakeMessage
) -> None:
    with Mailer([one.url, two.url]) as mailer:
        with pytest.raises(InvalidAddressError):
            mailer.send_message(message(), to_addrs=["a\r\nb@example.com"])
        assert mailer.stats().messages == {Outcome.NOT_SENT: 1}
    assert (one.connections, two.connections) == (0, 0)


def test_accepted_recipients_are_listed_when_the_rest_is_unknown(
    one: Sink, two: Sink, message: MakeMessage
) -> None:
    one.refuse("later@example.com", "450 4.2.0 greylisted")
    two.hang_up("content")
    with Mailer([one.url, two.url]) as mailer, pytest.raises(SMTPDeliveryUnknown) as raised:
        mailer.send_message(message(TO, "later@example.com"))
    assert raised.value.accepted == (TO,)
    assert raised.value.unknown == ("later@example.com",)


def test_a_closed_mailer_tries_no_server(one: Sink, two: Sink, message: MakeMessage) -> None:
    mailer = Mailer([one.url, two.url])
    mailer.close()
    with pytest.raises(PoolClosed) as raised:
        mailer.send_message(message())
    assert raised.value.earlier == ()


# --- errors, deadline ---------------------------------------------------------------------


def test_the_error_names_each_servers_failure_in_one_line(
    nobody: str, one: Sink, message: MakeMessage
) -> None:
    one.answer("CONNECT", "554 5.3.2 no service", times=None)
    with Mailer([nobody, one.url]) as mailer, pytest.raises(SMTPException) as raised:
        mailer.send_message(message())
    error = raised.value
    assert error.outcome is Outcome.NOT_SENT
    assert error.server == f"127.0.0.1:{one.port}"
    assert [type(each) for each in error.earlier] == [SMTPConnectionError]
    text = str(error)
    assert "\n" not in text
    assert "554 5.3.2 no service" in text
    assert f"[{nobody.removeprefix('smtp://')}]" in text


def test_a_server_that_never_greets_leaves_time_for_the_next(
    one: Sink, two: Sink, message: MakeMessage
) -> None:
    one.stall("CONNECT", times=None)
    with Mailer([one.url, two.url], timeout=60.0, deadline=2.0) as mailer:
        mailer.send_message(message())
    assert len(two.messages) == 1


def test_the_deadline_applies_to_all_servers_together(
    one: Sink, two: Sink, message: MakeMessage
) -> None:
    for sink in (one, two):
        sink.stall("CONNECT", times=None)
    with (
        Mailer([one.url, two.url], timeout=60.0, deadline=0.4) as mailer,
        pytest.raises(TimeoutError) as raised,
    ):
        mailer.send_message(message())
    assert isinstance(raised.value, SMTPException)
    assert raised.value.outcome is Outcome.NOT_SENT
    assert len(raised.value.earlier) == 1


def test_no_server_is_tried_once_the_deadline_is_over(
    one: Sink, two: Sink, message: MakeMessage
) -> None:
    one.stall("MAIL", times=None)
    with (
        Mailer([one.url, two.url], timeout=60.0, deadline=0.3) as mailer,
        pytest.raises(TimeoutError),
    ):
        mailer.send_message(message())
    assert two.connections == 0
