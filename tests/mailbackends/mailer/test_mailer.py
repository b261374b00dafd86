"""The Mailer: receipts, batches, hold, open, stats, close."""

from __future__ import annotations

import contextlib
import itertools
import logging
import pickle
import threading
from collections.abc import Iterator
from email.message import EmailMessage

import pytest

from mailbackends import (
    InvalidAddressError,
    Mailer,
    Outcome,
    PoolClosed,
    Receipt,
    SMTPConnectionError,
    SMTPDataError,
    SMTPDeliveryUnknown,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
    Submission,
)
from support.sink import Sink

A, B = "a@example.com", "b@example.com"


@pytest.fixture
def mailer(sink: Sink) -> Iterator[Mailer]:
    with Mailer(sink.url) as mailer:
        yield mailer


# --- receipts -------------------------------------------------------------------------


def test_a_receipt_lists_the_accepted_recipients_and_the_message_id(message, sink, mailer) -> None:
    sent = message(A, B)
    sent["Message-ID"] = "<1@example.com>"
    receipt = mailer.send_message(sent)
    assert receipt.accepted == (A, B)
    assert receipt.refused == {}
    assert receipt.reply.code == 250
    assert receipt.reply.message.startswith(b"2.0.0 Ok: queued as")
    assert receipt.message_id == "<1@example.com>"
    assert receipt.duration > 0
    assert receipt.outcome is Outcome.ACCEPTED
    assert str(receipt).startswith("<1@example.com> accepted for 2 recipients in 0.")
    assert "queued as 1" in str(receipt)


def test_a_partial_refusal_is_never_silent(message, sink, mailer, caplog) -> None:
    sink.refuse(B, "550 5.1.1 No such\t\x1b[31muser")
    with caplog.at_level(logging.WARNING, "mailbackends.mailer"):
        receipt = mailer.send_message(message(A, B))
    assert receipt.accepted == (A,)
    assert receipt.refused[B].code == 550
    assert str(receipt.refused[B].enhanced) == "5.1.1"
    assert f"<{B}> refused: 550 5.1.1 No such" in str(receipt)
    assert "\x1b" not in str(receipt)
    assert str(receipt) in caplog.text


def test_a_receipt_survives_pickling(message, sink, mailer) -> None:
    sink.refuse(B)
    receipt = mailer.send_message(message(A, B))
    assert pickle.loads(pickle.dumps(receipt)) == receipt  # noqa: S301 - our own bytes


def test_each_error_survives_pickling_with_its_attributes(message, sink) -> None:
    faults = {
        SMTPSenderRefused: lambda: sink.refuse_sender("from@example.com", times=1),
        SMTPRecipientsRefused: lambda: [sink.refuse(who, times=1) for who in (A, B)],
        SMTPDataError: lambda: sink.refuse_content("451 4.3.0 Later", times=1),
        SMTPDeliveryUnknown: lambda: sink.hang_up("content"),
    }
    with Mailer(sink.url) as mailer:
        for kind, arm in faults.items():
            arm()
            with pytest.raises(kind) as caught:
                mailer.send_message(message(A, B))
            error = caught.value
            again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
            assert type(again) is kind
            assert str(again) == str(error)
            assert "\n" not in str(error)
            assert sink.host in str(error)
            for name in ("outcome", "reply", "refused", "accepted", "server", "is_transient"):
                assert getattr(again, name) == getattr(error, name), name


def test_the_text_of_an_error_names_recipients_replies_server_and_outcome(
    message, sink, mailer
) -> None:
    sink.refuse(A, "550-5.1.1 No such\r\n550 5.1.1 user")
    sink.refuse(B, "450 4.2.1 Later")
    with pytest.raises(SMTPRecipientsRefused) as caught:
        mailer.send_message(message(A, B))
    assert str(caught.value) == (
        f"all 2 recipients refused: <{A}> 550 5.1.1 No such 5.1.1 user; <{B}> 450 4.2.1 Later "
        f"[{sink.host}:{sink.port}]: the message was refused"
    )


# --- batches --------------------------------------------------------------------------


def test_a_batch_yields_an_outcome_for_each_message_in_order(message, sink, mailer) -> None:
    sink.refuse_sender("bad@example.com")
    items = [
        message(subject="1"),
        Submission(message(subject="2"), from_addr="bad@example.com"),
        Submission(b"Subject: 3\r\n\r\n", "from@example.com", [A]),
    ]
    results = list(mailer.stream_messages(items))
    assert [type(result) for result in results] == [Receipt, SMTPSenderRefused, Receipt]
    assert [m.message["Subject"] for m in sink.messages] == ["1", "3"]
    assert mailer.stats().messages == {Outcome.ACCEPTED: 2, Outcome.REFUSED: 1}


def test_a_batch_takes_a_message_only_when_it_is_its_turn(message, sink, mailer) -> None:
    taken: list[int] = []

    def endless() -> Iterator[EmailMessage]:
        for number in itertools.count():
            taken.append(number)
            yield message(subject=str(number))

    results = mailer.stream_messages(endless())
    assert (taken, sink.connections) == ([], 0)
    for expected in range(3):
        assert isinstance(next(results), Receipt)
        assert taken == list(range(expected + 1))
        assert len(sink.messages) == expected + 1


def test_a_batch_continues_if_no_connection_can_be_opened(message, sink) -> None:
    sink.stop()
    with Mailer(sink.url) as mailer:
        results = list(mailer.stream_messages([message(), message()]))
        assert [type(result) for result in results] == [SMTPConnectionError] * 2
        assert mailer.stats().messages == {Outcome.NOT_SENT: 2}
    sink.start()


def test_an_exception_of_the_iterable_reaches_the_caller(message, sink, mailer) -> None:
    def broken() -> Iterator[EmailMessage]:
        yield message()
        raise ZeroDivisionError

    results = mailer.stream_messages(broken())
    assert isinstance(next(results), Receipt)
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert mailer.stats().pool.in_use == 0


def test_send_messages_sends_when_called_and_returns_the_outcomes(message, sink, mailer) -> None:
    items = [message("a@example.com"), message("b\0@example.com"), message("c@example.com")]
    results = mailer.send_messages(item for item in items)
    assert len(sink.messages) == 2
    assert isinstance(results, list)
    assert [type(result) for result in results] == [Receipt, InvalidAddressError, Receipt]


def test_send_messages_sends_nothing_if_the_iterable_raises(message, sink, mailer) -> None:
    def broken() -> Iterator[EmailMessage]:
        yield message()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        mailer.send_messages(broken())
    assert sink.messages == []


def test_with_several_connections_too_the_outcomes_come_before_the_iterables_exception(
    message, sink
) -> None:
    def broken() -> Iterator[EmailMessage]:
        for _ in range(5):
            yield message()
        raise ZeroDivisionError

    results: list[Receipt | Exception] = []
    with Mailer(sink.url, batch_connections=4) as mailer, pytest.raises(ZeroDivisionError):
        results.extend(mailer.stream_messages(broken()))
    assert [type(result) for result in results] == [Receipt] * 5
    assert len(sink.messages) == 5


def test_a_batch_over_several_connections_keeps_its_order(message, sink) -> None:
    with Mailer(sink.url, batch_connections=3) as mailer:
        results = list(mailer.stream_messages(message(f"{n}@example.com") for n in range(60)))
        assert 1 < mailer.stats().pool.made <= 3
    assert [r.accepted for r in results] == [(f"{n}@example.com",) for n in range(60)]
    assert len(sink.messages) == 60


def test_a_batch_whose_loop_is_left_sends_nothing_more(message, sink) -> None:
    with Mailer(sink.url, batch_connections=2) as mailer:
        results = mailer.stream_messages(message() for _ in range(1000))
        next(results)
        results.close()
        count = len(sink.messages)
        assert count < 100
        assert mailer.stats().pool.in_use == 0
        mailer.send_message(message())
        assert len(sink.messages) == count + 1


# --- hold and open --------------------------------------------------------------------


def test_a_pinned_connection_is_not_shared(message, sink, mailer) -> None:
    with mailer.hold() as held:
        held.send_message(message())
        mailer.send_message(message())
        held.send_message(message())
        assert mailer.stats().pool.in_use == 1
    assert [m.connection for m in sink.messages] == [0, 1, 0]
    assert mailer.stats().pool.idle == 2


def test_hold_opens_nothing_before_the_first_message(sink, mailer) -> None:
    with mailer.hold():
        assert mailer.stats().pool.open == 0
    assert sink.connections == 0


def test_a_pinned_connection_is_returned_when_the_block_raises(message, sink, mailer) -> None:
    with contextlib.suppress(ZeroDivisionError), mailer.hold() as held:
        held.send_message(message())
        raise ZeroDivisionError
    assert (mailer.stats().pool.idle, mailer.stats().pool.in_use) == (1, 0)


def test_open_makes_a_connection_ready_once(message, sink, mailer) -> None:
    assert mailer.open() is True
    assert mailer.open() is False
    mailer.send_message(message())
    assert sink.connections == 1
    sink.close_connections()
    assert mailer.open() is True


def test_open_raises_the_same_error_as_sending(sink) -> None:
    sink.answer("CONNECT", "554 5.3.2 No")
    with Mailer(sink.url) as mailer, pytest.raises(SMTPException, match="554") as caught:
        mailer.open()
    assert f"{sink.host}:{sink.port}" in str(caught.value)


# --- stats and close ------------------------------------------------------------------


def test_the_stats_count_connections_and_messages(message, sink, mailer) -> None:
    mailer.send_message(message())
    mailer.send_message(message())
    sink.hang_up("content")
    with pytest.raises(SMTPDeliveryUnknown):
        mailer.send_message(message())
    stats = mailer.stats()
    assert (stats.pool.made, stats.pool.reused, stats.pool.open) == (1, 2, 0)
    assert stats.pool.retired == {"error": 1}
    assert stats.messages == {Outcome.ACCEPTED: 2, Outcome.UNKNOWN: 1}


def test_a_closed_mailer_sends_quit_and_no_more_messages(message, sink, mailer) -> None:
    mailer.send_message(message())
    mailer.close()
    mailer.close()
    sink.wait(lambda: sink.open_connections == 0)
    assert sink.commands[0][-1] == "QUIT"
    with pytest.raises(PoolClosed) as caught:
        mailer.send_message(message())
    assert caught.value.outcome is Outcome.NOT_SENT


def test_a_mailer_closed_while_it_sends_finishes_the_message(message, sink) -> None:
    mailer = Mailer(sink.url)
    with mailer.hold() as held:
        held.send_message(message())
        mailer.close()
        held.send_message(message())
    sink.wait(lambda: sink.open_connections == 0)
    assert len(sink.messages) == 2
    assert sink.commands[0][-1] == "QUIT"


def test_a_caller_waiting_for_a_connection_gets_pool_closed(message, sink) -> None:
    mailer = Mailer(sink.url, pool_size=1)
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            mailer.send_message(message())
        except SMTPException as error:
            errors.append(error)

    with mailer.hold() as held:
        held.open()
        thread = threading.Thread(target=wait)
        thread.start()
        while not mailer.stats().pool.waiters:
            pass
        mailer.close()
        thread.join(5)
    assert [type(error) for error in errors] == [PoolClosed]
