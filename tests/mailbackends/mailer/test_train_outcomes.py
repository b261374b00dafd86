"""What a train must keep to, and does not yet."""

from __future__ import annotations

import itertools
import sys
import time
import traceback

import pytest

from mailbackends import Mailer, Outcome, Receipt
from mailbackends import Submission as Envelope
from mailbackends.errors import InvalidAddressError, PoolClosed
from mailbackends.mailer.flight import Flights
from mailbackends.protocol.command import Command
from mailbackends.transport.driver import Driver
from support.scripted import ScriptedServer
from support.sink import EXTENSIONS, Sink

PIPELINED = tuple(e for e in EXTENSIONS if e != "CHUNKING")


def outcome(result):
    return Outcome.ACCEPTED if isinstance(result, Receipt) else result.outcome


# A
@pytest.mark.parametrize("calls", [1, 2, 3])
def test_an_interrupt_while_a_stopped_batch_is_finished_loses_no_place(message, monkeypatch, calls):
    with Sink() as sink, Mailer(sink.url, messages_in_flight=4, pool_size=1, pool_timeout=1) as m:
        results = m.send_messages(message() for _ in range(20))
        next(results), next(results)
        finish, count = Flights._finish_oldest, itertools.count(1)

        def interrupted(self):
            if next(count) == calls:
                raise KeyboardInterrupt
            finish(self)

        monkeypatch.setattr(Flights, "_finish_oldest", interrupted)
        with pytest.raises(KeyboardInterrupt):
            results.close()
        monkeypatch.undo()
        assert m.stats().pool.in_use == 0
        m.send_message(message())


# I
def test_an_interrupt_while_others_are_finished_stays_an_interrupt(message, monkeypatch):
    with Sink() as sink, Mailer(sink.url, messages_in_flight=4, pool_size=1, pool_timeout=1) as m:
        results = m.send_messages(message() for _ in range(20))
        next(results)
        sink.answer("MAIL", "503 5.5.1 out of order")  # sent again, over another connection
        run, count = Driver.run, itertools.count(1)

        def interrupted(self, dialogue, timeouts, want=None):
            if next(count) == 2:
                self.session.close()
                raise KeyboardInterrupt
            return run(self, dialogue, timeouts, want)

        monkeypatch.setattr(Driver, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(results)
        monkeypatch.undo()
        assert m.stats().pool.in_use == 0


# B
@pytest.mark.parametrize("server", [EXTENSIONS, PIPELINED], ids=["large", "no chunking"])
def test_recipients_given_as_an_iterator_are_kept(message, server):
    with Sink(extensions=server) as sink, Mailer(sink.url, messages_in_flight=4) as m:
        large = message(text=("x" * 60 + "\n") * 2000)
        given = [message(), Envelope(large, to_addrs=iter(["a@example.com"])), message()]
        assert [outcome(r) for r in m.send_messages(given)] == [Outcome.ACCEPTED] * 3


def test_a_bad_address_in_an_iterator_of_recipients_stops_the_message(message):
    with Sink() as sink, Mailer(sink.url, messages_in_flight=4) as m:
        to = iter(["a@example.com", "no address", "c@example.com"])
        results = list(m.send_messages([message(), Envelope(message(), to_addrs=to), message()]))
        assert isinstance(results[1], InvalidAddressError), results[1]
    assert [one.rcpt_tos for one in sink.messages] == [("to@example.com",)] * 2


# C
def test_a_word_that_nobody_asked_for_ends_the_use_of_the_connection(message):
    def talk(peer, *, unasked=b""):
        peer.send(b"220 x\r\n")
        peer.read_line()
        peer.send(b"250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
        first = True
        while True:
            line = peer.read_line()
            if line.startswith(b"BDAT"):
                peer.read_exactly(int(line.split()[1]))
                peer.send(b"250 taken\r\n")
                if first and unasked:
                    time.sleep(0.1)
                    peer.send(unasked)
                    time.sleep(0.7)
                    return
                first = False
            else:
                peer.send(b"250 ok\r\n")

    def shutting_down(peer):
        talk(peer, unasked=b"421 4.3.2 going down\r\n")

    with ScriptedServer(shutting_down, talk) as server:
        url = f"smtp://127.0.0.1:{server.port}"
        for options in ({}, {"messages_in_flight": 4}):
            server.conversations = [*itertools.repeat(talk, len(server.peers)), shutting_down, talk]
            with Mailer(url, **options) as m:
                results = m.send_messages(message() for _ in range(3))
                got = [outcome(next(results))]
                time.sleep(0.4)
                got += map(outcome, results)
                assert got == [Outcome.ACCEPTED] * 3, options


# D
def test_a_batch_that_was_stopped_leaves_no_connection_with_more_messages_than_may(message):
    with Sink() as sink, Mailer(sink.url, messages_in_flight=4, max_messages=5) as m:
        results = m.send_messages(message() for _ in range(20))
        next(results), next(results)
        results.close()
        m.send_message(message())
        m.send_message(message())
    over = [c for c in range(sink.connections) if sink.received(c).count(b"MAIL FROM") > 5]
    assert over == []


# E
def test_a_split_amid_a_train_keeps_to_the_number_of_messages(message):
    limited = (*EXTENSIONS, "LIMITS MAILMAX=4")
    with Sink(extensions=limited) as sink, Mailer(sink.url, messages_in_flight=4) as m:
        sink.refuse("b@example.com", "452 4.5.3 too many", times=1)
        given = [message(), message("a@example.com", "b@example.com"), *(message() for _ in "123")]
        assert [outcome(r) for r in m.send_messages(given)] == [Outcome.ACCEPTED] * 5
    counts = [sink.received(c).count(b"MAIL FROM") for c in range(sink.connections)]
    assert max(counts) <= 4, counts


# F
@pytest.mark.parametrize("length", [1, 4])
def test_a_closed_mailer_sends_no_more(message, length):
    with Sink() as sink, Mailer(sink.url, messages_in_flight=length) as m:
        results = m.send_messages(message() for _ in range(20))
        next(results), next(results)
        m.close()
        rest = list(results)
        assert isinstance(rest[-1], PoolClosed)


# G
def test_the_time_that_the_caller_takes_is_not_that_of_those_on_their_way(message):
    def slow(peer):
        peer.send(b"220 x\r\n")
        peer.read_line()
        peer.send(b"250-x\r\n250-PIPELINING\r\n250 CHUNKING\r\n")
        for number in itertools.count():
            while not (line := peer.read_line()).startswith(b"BDAT"):
                peer.send(b"250 ok\r\n")
            peer.read_exactly(int(line.split()[1]))
            time.sleep(0.0 if number < 2 else 0.7)
            peer.send(b"250 taken\r\n")

    with ScriptedServer(slow) as server:
        with Mailer(f"smtp://127.0.0.1:{server.port}", messages_in_flight=4, deadline=1) as m:
            results = m.send_messages(message() for _ in range(20))
            next(results), next(results)
            time.sleep(1.1)
            results.close()
            assert m.stats().messages == {Outcome.ACCEPTED: 5}


# K
def test_what_was_sent_before_the_items_fail_is_told(message):
    def items():
        for _ in range(6):
            yield message()
        raise LookupError("the database is gone")

    for options in ({}, {"messages_in_flight": 4}):
        with Sink() as sink, Mailer(sink.url, **options) as m:
            told = []
            with pytest.raises(LookupError):
                told.extend(map(told.append, m.send_messages(items())))
            assert len([t for t in told if isinstance(t, Receipt)]) == len(sink.messages), options


# L
def test_those_that_were_not_sent_share_one_new_connection(message):
    with Sink() as sink, Mailer(sink.url, messages_in_flight=8, max_messages=1000) as m:
        results = m.send_messages(message() for _ in range(12))
        next(results)
        run = Flights._finish_oldest

        def broken(self):  # nothing of it went out
            self._driver.session.close()
            self._driver.stream.abort()
            run(self)

        Flights._finish_oldest = broken
        try:
            got = [outcome(next(results))]
        finally:
            Flights._finish_oldest = run
        got += map(outcome, results)
        assert set(got) == {Outcome.ACCEPTED}
        assert sink.connections == 2, m.stats().pool.retired


# N
def test_a_server_that_has_had_enough_leaves_none_unknown(message):
    with Sink() as sink, Mailer(sink.url, messages_in_flight=4) as m:
        results = m.send_messages(message() for _ in range(9))
        got = [outcome(next(results)), outcome(next(results))]
        sink.answer("RSET", "421 4.7.0 too many messages")
        got += map(outcome, results)
        assert Outcome.UNKNOWN not in got, (got, len(sink.messages))


# P
def test_a_message_of_no_use_stops_only_itself(message):
    class Broken:
        def __iter__(self):
            raise LookupError

    for options in ({}, {"messages_in_flight": 4}):
        with Sink() as sink, Mailer(sink.url, **options) as m:
            given = [message(), message(), message(), Envelope(message(), to_addrs=Broken())]
            told = []
            with pytest.raises(LookupError):
                for result in m.send_messages(given):
                    told.append(result)
            assert len(told) == 3, options


# R
def test_a_message_that_waits_is_prepared_once(message, monkeypatch):
    import mailbackends.mailer.submission as submission

    made = []
    prepare = submission.prepare
    monkeypatch.setattr(
        submission, "prepare", lambda m, *a, **k: (made.append(id(m)), prepare(m, *a, **k))[1]
    )
    large = message(text=("x" * 60 + "\n") * 2000)
    with Sink() as sink, Mailer(sink.url, messages_in_flight=8) as m:
        given = [*(message() for _ in range(8)), large, message()]
        assert all(isinstance(r, Receipt) for r in m.send_messages(given))
    assert made.count(id(large)) == 1


# J
def test_an_interrupt_shows_no_secret():
    secret = "c2VjcmV0LXNlY3JldA=="
    for number in itertools.count(1):
        lines = 0

        def trace(frame, event, arg):
            nonlocal lines
            if "protocol" not in frame.f_code.co_filename:
                return None
            if event == "line":
                lines += 1
                if lines == number:
                    sys.settrace(None)
                    raise KeyboardInterrupt
            return trace

        sys.settrace(trace)
        try:
            Command("AUTH", f"PLAIN {secret}", is_secret=True)
        except KeyboardInterrupt as error:
            for frame, _ in traceback.walk_tb(error.__traceback__):
                # That of a dataclass has its arguments in any case.
                if frame.f_code.co_name == "_is_harmless":
                    assert secret not in repr(frame.f_locals), frame.f_code.co_name
        else:
            return
        finally:
            sys.settrace(None)


# Django: see test_backend
