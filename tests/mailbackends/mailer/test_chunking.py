"""Servers that announce CHUNKING and do not support BDAT, and connections that died while idle."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mailbackends import Mailer, Outcome, Receipt, SMTPDeliveryUnknown, SMTPTimeoutError, Submission
from mailbackends.mailer import connection as connection_module
from mailbackends.mailer.quirks import ServerQuirks
from mailbackends.protocol.chunking import Chunking
from support.line import Break, Cut
from support.machine import Habits
from support.turns import Network, taking_turns

FLIGHT = ("PIPELINING", "CHUNKING")
LOCK_STEP = ("CHUNKING",)
HELLO = b"220 x.test\r\n250-x.test\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
EVIL = b"MAIL FROM:<evil@x>\r\nRCPT TO:<victim@x>\r\nDATA\r\nS: no\r\n\r\nforged\r\n.\r\nQUIT\r\n"

each_way = pytest.mark.parametrize("extensions", [FLIGHT, LOCK_STEP], ids=["grouped", "lock-step"])
unproved = pytest.mark.usefixtures("bdat_unproved")


@pytest.fixture
def network() -> Iterator[Network]:
    with taking_turns(Network(Habits(FLIGHT))) as network:
        yield network


def mailer_for(network: Network, **options: object) -> Mailer:
    return Mailer(host="127.0.0.1", port=network.ports[0], local_hostname="c.x", **options)  # type: ignore[arg-type]


def content(number: int) -> bytes:
    return b"N: %d\r\n\r\n%s" % (number, EVIL)


def send(mailer: Mailer, number: int) -> Receipt:
    return mailer.send_message(content(number), "s@x", ["a@x", "b@x"])


def delivered_once(*numbers: int) -> dict[tuple[bytes, str], int]:
    return {(content(number), to): 1 for number in numbers for to in ("a@x", "b@x")}


def received(network: Network) -> bytes:
    return b"".join(b"".join(line.reads) for line in network.lines)


@unproved
@each_way
@pytest.mark.parametrize("code", ["500", "501", "502", "503", "504", "550", "554", "555", "452"])
def test_a_server_that_refuses_bdat_gets_this_message_and_the_next_ones_by_data(
    network: Network, extensions: tuple[str, ...], code: str
) -> None:
    delivered = network.begin(habits=lambda *_: Habits(extensions, without_bdat=code))
    with mailer_for(network) as mailer:
        for number in range(3):
            assert send(mailer, number).accepted == ("a@x", "b@x")
    assert delivered.count == delivered_once(0, 1, 2)
    assert received(network).count(b"BDAT") == 1
    assert len(network.lines) == 1
    assert delivered.violations == []
    network.end()


@unproved
@each_way
@pytest.mark.parametrize("code", ["500", "502", "503", "554"])
def test_a_server_that_reads_the_chunk_and_refuses_it_gets_the_message_by_data(
    network: Network, extensions: tuple[str, ...], code: str
) -> None:
    habits = Habits(extensions, answers={"BDAT": f"{code} no"})
    delivered = network.begin(habits=lambda *_: habits)
    with mailer_for(network) as mailer:
        for number in range(3):
            assert send(mailer, number).accepted == ("a@x", "b@x")
    assert delivered.count == delivered_once(0, 1, 2)
    assert received(network).count(b"BDAT") == 1
    network.end()


@unproved
@each_way
def test_a_server_that_never_answers_bdat_costs_one_timeout_and_loses_nothing(
    network: Network, extensions: tuple[str, ...]
) -> None:
    delivered = network.begin(habits=lambda *_: Habits(extensions, without_bdat="silent"))
    with mailer_for(network) as mailer:
        for number in range(3):
            assert send(mailer, number).accepted == ("a@x", "b@x")
    assert delivered.count == delivered_once(0, 1, 2)
    assert received(network).count(b"BDAT") == 1
    assert len(network.lines) == 2
    network.end()


@unproved
def test_a_batch_in_flight_begins_once_bdat_has_worked(network: Network) -> None:
    delivered = network.begin()
    with mailer_for(network, batch_pipeline=4) as mailer:
        messages = [Submission(content(number), "s@x", ["a@x", "b@x"]) for number in range(6)]
        outcomes = mailer.send_messages(messages)
        assert all(isinstance(each, Receipt) for each in outcomes)
    assert delivered.count == delivered_once(*range(6))
    whole = received(network)
    assert whole.count(b"BDAT 6\r\n") == 1
    assert whole.count(b" LAST\r\n") == 6
    assert delivered.violations == []
    network.end()


@unproved
def test_after_bdat_worked_a_message_takes_one_write(network: Network) -> None:
    network.begin()
    with mailer_for(network) as mailer:
        for number in range(3):
            send(mailer, number)
        writes = [data for data in network.lines[0].reads if b"MAIL" in data or b"BDAT" in data]
    assert [data.count(b"BDAT") for data in writes] == [1, 1, 1, 1]
    assert b"LAST" not in writes[0]
    assert all(b"MAIL" in data and b"LAST" in data for data in writes[2:])


def test_a_server_on_which_bdat_no_longer_works_gets_the_message_by_data(network: Network) -> None:
    """For example another server with the same name: BDAT had worked."""
    delivered = network.begin(habits=lambda *_: Habits(FLIGHT, without_bdat="502"))
    with mailer_for(network) as mailer:
        message = b"N: 0\r\n\r\nno commands\r\n"
        for _ in range(2):
            assert mailer.send_message(message, "s@x", ["a@x"]).accepted == ("a@x",)
    assert delivered.count == {(message, "a@x"): 2}
    assert received(network).count(b"BDAT") == 1


def test_content_after_a_bdat_that_is_not_answered_is_unknown_once(network: Network) -> None:
    """BDAT had worked."""
    delivered = network.begin(habits=lambda *_: Habits(FLIGHT, without_bdat="silent"))
    with mailer_for(network) as mailer:
        with pytest.raises(SMTPDeliveryUnknown):
            send(mailer, 0)
        for number in (1, 2):
            assert send(mailer, number).accepted == ("a@x", "b@x")
    assert delivered.count == delivered_once(1, 2)
    assert received(network).count(b"BDAT") == 1


# --- connections that died silently ---------------------------------------------


def test_a_pooled_connection_that_died_silently_is_noticed_before_the_content(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(HELLO) + 3 * len(b"250 ok\r\n") + len(b"250 taken\r\n")
    delivered = network.begin(
        lambda index, _: Cut("sent", size, Break.STALL) if index == 0 else None
    )
    # Idle for longer than a firewall remembers a connection; each connection reads it when opened.
    monkeypatch.setattr(connection_module, "_FRESH", 0.0)
    with mailer_for(network) as mailer:
        assert send(mailer, 0).accepted == ("a@x", "b@x")
        assert send(mailer, 1).accepted == ("a@x", "b@x")
    assert delivered.count == delivered_once(0, 1)
    assert len(network.lines) == 2
    assert b"N: 1" not in b"".join(network.lines[0].reads)


@pytest.mark.parametrize("extensions", [FLIGHT, ("PIPELINING",), (), LOCK_STEP])
@pytest.mark.parametrize("is_reused", [False, True], ids=["new connection", "reused connection"])
@unproved
def test_a_server_that_hangs_after_mail_costs_one_timeout_for_each_connection(
    network: Network, extensions: tuple[str, ...], is_reused: bool
) -> None:
    hangs = Habits(extensions, without_bdat="502", answers={"MAIL hang@x": "hang"})
    network.begin(habits=lambda *_: hangs)
    with mailer_for(network) as mailer:
        if is_reused:
            send(mailer, 0)
        with pytest.raises(SMTPTimeoutError) as caught:
            mailer.send_message(content(1), "hang@x", ["a@x"])
        assert caught.value.outcome is Outcome.NOT_SENT
    assert len(network.lines) == 1 + is_reused


# --- Exim's limit ---------------------------------------------------------------------


def test_when_rset_is_refused_the_messages_after_it_go_over_a_new_connection(
    network: Network,
) -> None:
    delivered = network.begin(habits=lambda *_: Habits(FLIGHT, most_resets=4))
    with mailer_for(network, batch_pipeline=8) as mailer:
        messages = [Submission(content(number), "s@x", ["a@x", "b@x"]) for number in range(20)]
        outcomes = mailer.send_messages(messages)
        assert all(isinstance(each, Receipt) for each in outcomes), outcomes
        send(mailer, 20)
    assert delivered.count == delivered_once(*range(21))
    # No lock-step: the recipients still go in one write.
    last = next(data for data in reversed(network.lines[-1].reads) if b"MAIL" in data)
    assert b"RCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\n" in last


# --- what is remembered, and for how long
# ---------------------------------------------------------------


def test_a_refusal_of_bdat_is_forgotten_after_ten_minutes_and_a_proof_is_not() -> None:
    now = 0.0
    quirks = ServerQuirks(lambda: now)
    quirks._chunking = Chunking.UNPROVED, 0.0
    assert quirks.chunking is Chunking.UNPROVED
    quirks.note_chunking(None)
    assert quirks.chunking is Chunking.UNPROVED
    quirks.note_chunking(Chunking.OFF)
    now = 599.0
    assert quirks.chunking is Chunking.OFF
    now = 601.0
    assert quirks.chunking is Chunking.UNPROVED
    quirks.note_chunking(Chunking.PROVED)
    now = 10_000.0
    assert quirks.chunking is Chunking.PROVED
