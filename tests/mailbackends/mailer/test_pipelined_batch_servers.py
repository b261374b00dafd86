"""Messages in flight one after the other, to a server that does not support it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mailbackends import Mailer, Outcome, Submission
from mailbackends.mailer.in_flight import InFlightTransactions
from support.line import Line
from support.machine import Habits
from support.outcomes import mails, outcomes
from support.scripted import Peer, ScriptedServer
from support.sink import Sink
from support.turns import Network, taking_turns

FLIGHT = ("PIPELINING", "CHUNKING")
DOWN = b"421 4.3.2 Going down\r\n"


@pytest.fixture
def network() -> Iterator[Network]:
    with taking_turns(Network(Habits(FLIGHT))) as network:
        yield network


def mailer_for(network: Network, in_flight: int) -> Mailer:
    port = network.ports[0]
    return Mailer(host="127.0.0.1", port=port, local_hostname="c.x", batch_pipeline=in_flight)


def letters(count: int, first: int = 0) -> list[Submission]:
    return [Submission(b"N: %d\r\n" % n, "s@x", "a@x") for n in range(first, first + count)]


def begun(lines: list[Line]) -> list[int]:
    """How many messages began in each write with any."""
    return mails([data for line in lines for data in line.reads])


# Commands after the last chunk


@pytest.mark.parametrize("how", ["503", "drop", "deaf"])
def test_a_server_that_drops_commands_after_a_content_gets_no_more_of_them(
    network: Network, how: str
) -> None:
    stumbling = Habits(FLIGHT, stumbles=how, takes_groups=True)
    delivered = network.begin(habits=lambda *_: stumbling)
    with mailer_for(network, 4) as mailer:
        first = outcomes(mailer.stream_messages(letters(9)))
        before = begun(network.lines)
        assert max(before) == 4
        assert outcomes(mailer.stream_messages(letters(4, 9))) == [Outcome.ACCEPTED] * 4
        pool = mailer.stats().pool
        assert (pool.in_use, pool.opening) == (0, 0)
        assert begun(network.lines)[len(before) :] == [1] * 4
    for number, outcome in enumerate(first):
        count = delivered.count[b"N: %d\r\n" % number, "a@x"]
        assert outcome in (Outcome.ACCEPTED, Outcome.UNKNOWN)
        assert count == 1 if outcome is Outcome.ACCEPTED else count <= 1
    network.end()


@pytest.mark.parametrize("reply", range(2, 26))
def test_a_server_that_goes_on_after_421_gets_no_message_twice(
    network: Network, reply: int
) -> None:
    odd = Habits(FLIGHT, last_reply=reply, last_words="421 4.3.0 What?", goes_on=True)
    delivered = network.begin(habits=lambda index, _: odd if index == 0 else None)
    network.may_be_stuck = True
    with mailer_for(network, 4) as mailer:
        found = outcomes(mailer.stream_messages(letters(9)))
        assert outcomes(mailer.stream_messages(letters(4, 9))) == [Outcome.ACCEPTED] * 4
    assert max(delivered.count.values()) == 1
    for number, outcome in enumerate(found):
        is_there = (b"N: %d\r\n" % number, "a@x") in delivered.count
        assert outcome is Outcome.UNKNOWN or is_there is (outcome is Outcome.ACCEPTED)
    network.end()


@pytest.mark.parametrize("in_flight", [1, 4])
def test_a_421_to_the_first_of_two_recipients_leads_to_no_second_delivery(
    network: Network, in_flight: int
) -> None:
    # Greeting, EHLO; MAIL, RCPT, RCPT, BDAT; then, pipelined, RSET; MAIL.
    before = 2 + 4 + (0 if in_flight == 1 else 1) + 1
    odd = Habits(FLIGHT, last_reply=before, last_words="421 4.3.0 What?", goes_on=True)
    delivered = network.begin(habits=lambda index, _: odd if index == 0 else None)
    network.may_be_stuck = True
    given = [Submission(b"N: %d\r\n" % n, "s@x", ["a@x", "b@x"]) for n in range(3)]
    with mailer_for(network, in_flight) as mailer:
        list(mailer.stream_messages(given))
    assert network.lines[0].machine.replies > before
    assert max(delivered.count.values()) == 1


def test_what_follows_a_content_refused_with_421_is_unknown_and_not_sent_again() -> None:
    """The server accepts the other messages before it closes, without a reply."""
    taken: list[bytes] = []

    def refuse_the_second(peer: Peer) -> None:
        peer.send(b"220 x\r\n")
        peer.read_line()
        peer.send(b"250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
        for number in range(4):
            replies = b""
            while not (line := peer.read_line()).startswith(b"BDAT"):
                replies += b"250 ok\r\n"
            content = peer.read_exactly(int(line.split()[1]))
            if number != 1:
                taken.append(content)
            if number < 2:
                ends = [b"250 taken\r\n", b"421 4.3.0 Not this one\r\n"]
                peer.send(replies + ends[number])

    with ScriptedServer(refuse_the_second, refuse_the_second) as server:
        url = f"smtp://127.0.0.1:{server.port}"
        with Mailer(url, local_hostname="c.x", batch_pipeline=4) as mailer:
            found = outcomes(mailer.send_messages(letters(4)))
        assert server.connections == 1
    assert found == [Outcome.ACCEPTED, Outcome.REFUSED, Outcome.UNKNOWN, Outcome.UNKNOWN]
    assert taken == [b"N: 0\r\n", b"N: 2\r\n", b"N: 3\r\n"]


@pytest.mark.threads_only
@pytest.mark.parametrize("closes", [True, False])
def test_groups_of_outcomes_do_not_take_a_421_for_the_end_of_the_connection(closes: bool) -> None:
    """The 421 to the last message comes with the replies to those before it."""
    taken: list[bytes] = []

    def announce_that_it_closes(peer: Peer) -> None:
        peer.send(b"220 x\r\n")
        peer.read_line()
        peer.send(b"250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
        replies = b""
        for number in range(4):
            last = number == 3 and peer.index == 0
            commands = []
            while not (line := peer.read_line()).startswith((b"BDAT", b"QUIT")):
                commands.append(line)
            if line.startswith(b"QUIT"):
                return
            content = peer.read_exactly(int(line.split()[1]))
            if last:
                peer.send(replies + DOWN)
                replies = b""
                if closes:
                    return
            taken.append(content)
            replies += b"250 ok\r\n" * (len(commands) - last) + b"250 taken\r\n"
            if last or number == 0 or peer.index:
                peer.send(replies)
                replies = b""

    with ScriptedServer(announce_that_it_closes) as server:
        url = f"smtp://127.0.0.1:{server.port}"
        with Mailer(url, local_hostname="c.x", batch_pipeline=4) as mailer:
            found = [each for group in mailer.stream_groups(letters(4)) for each in group]
    assert sorted(taken) == [b"N: %d\r\n" % n for n in range(4)]
    assert outcomes(found)[-1] is (Outcome.ACCEPTED if closes else Outcome.UNKNOWN)
    assert server.connections == (2 if closes else 1)


# The end of a connection


def test_an_unsolicited_reply_ends_the_use_of_the_connection(network: Network) -> None:
    with mailer_for(network, 4) as mailer:
        results = mailer.stream_messages(letters(4))
        found = outcomes([next(results)])
        network.lines[0].interject(DOWN)
        found += outcomes(results)
        assert found == [Outcome.ACCEPTED] * 4
        assert mailer.stats().pool.retired == {"dead": 1}
    assert len(network.lines) == 2
    assert begun(network.lines) == [1, 1, 2]
    assert sorted(network.delivered.count.values()) == [1] * 4


@pytest.mark.parametrize("verb", ["RSET", "MAIL", "RCPT"])
@pytest.mark.parametrize("ahead", [1, 2, 3])
def test_a_421_for_too_many_messages_leaves_none_unknown(message, verb: str, ahead: int) -> None:
    with Sink() as sink, Mailer(sink.url, batch_pipeline=4) as mailer:
        results = mailer.stream_messages(message(subject=str(n)) for n in range(9))
        found = outcomes(next(results) for _ in range(ahead))
        sink.answer(verb, "421 4.7.0 Too many messages")
        found += outcomes(results)
    assert found == [Outcome.ACCEPTED] * 9
    assert [received.message["Subject"] for received in sink.messages] == [*"012345678"]


@pytest.mark.parametrize("ahead", [1, 2, 3])
def test_a_server_that_refuses_rset_gets_each_message_once(message, ahead: int) -> None:
    with Sink() as sink, Mailer(sink.url, batch_pipeline=4) as mailer:
        results = mailer.stream_messages(message(subject=str(n)) for n in range(9))
        found = outcomes(next(results) for _ in range(ahead))
        sink.answer("RSET", "502 5.5.1 Not here")
        found += outcomes(results)
    subjects = [received.message["Subject"] for received in sink.messages]
    assert len(set(subjects)) == len(subjects)
    for number, outcome in enumerate(found):
        assert outcome in (Outcome.ACCEPTED, Outcome.UNKNOWN)
        assert outcome is Outcome.UNKNOWN or str(number) in subjects


def test_messages_that_were_not_sent_share_one_new_connection(
    message, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        Sink() as sink,
        Mailer(sink.url, batch_pipeline=8, max_messages_per_connection=1000) as mailer,
    ):
        results = mailer.stream_messages(message() for _ in range(12))
        found = outcomes([next(results)])
        finish = InFlightTransactions._finish_oldest

        async def broken(self: InFlightTransactions) -> None:
            self._driver.session.close()
            self._driver.stream.abort()
            await finish(self)

        with monkeypatch.context() as patch:
            patch.setattr(InFlightTransactions, "_finish_oldest", broken)
            found += outcomes([next(results)])
        found += outcomes(results)
        assert found == [Outcome.ACCEPTED] * 12
        assert mailer.stats().pool.retired == {"error": 1}
    assert sink.connections == 2
