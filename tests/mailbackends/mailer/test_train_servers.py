"""Servers that misbehave behind BDAT LAST."""

from __future__ import annotations

import gc
import re
import threading
from collections import Counter

import pytest

from mailbackends import Mailer, Outcome, Receipt
from support.scripted import ScriptedServer
from support.sink import Sink


def outcome(result):
    return Outcome.ACCEPTED if isinstance(result, Receipt) else result.outcome


class Server:
    def __init__(self, *, behind="", answers=None, split_after=None):
        self.behind, self.answers = behind, dict(answers or {})
        self.delivered = Counter()
        self.flights = [0]

    def __call__(self, peer):
        def say(text):
            peer.send(text.encode() + b"\r\n")

        say("220 x")
        rcpts = None
        n = Counter()
        while True:
            if not peer.buffer:
                self.flights.append(0)
            line = peer.read_line().decode()
            verb = line.split(" ")[0]
            n[verb] += 1
            scripted = self.answers.pop((verb, n[verb]), None)
            if verb == "EHLO":
                say("250-x\r\n250-PIPELINING\r\n250 CHUNKING")
            elif verb == "BDAT":
                content = peer.read_exactly(int(line.split()[1]))
                if scripted:
                    say(scripted)
                elif not rcpts:
                    say("503 no")
                else:
                    subject = re.search(rb"Subject: (.*)\r\n", content)[1].decode()
                    self.delivered[subject] += 1
                    say("250 taken")
                rcpts = None
                if peer.buffer and self.behind == "drop":
                    return
                if peer.buffer and self.behind == "deaf":
                    peer.buffer.clear()
                if peer.buffer and self.behind == "503":
                    while b"\r\n" in peer.buffer:
                        peer.read_line()
                        say("503 out of order")
            elif verb == "DATA":
                say("354 go")
                content = peer.read_until(b"\r\n.\r\n") + b"\r\n"
                self.delivered[re.search(rb"Subject: (.*)\r\n", content)[1].decode()] += 1
                say("250 taken")
                rcpts = None
            elif scripted:
                say(scripted)
            elif verb == "MAIL":
                self.flights[-1] += 1
                rcpts = []
                say("250 ok")
            elif verb == "RCPT":
                if rcpts is None:
                    say("503 no")
                else:
                    rcpts.append(line)
                    say("250 ok")
            elif verb == "RSET":
                rcpts = None
                say("250 ok")
            elif verb == "QUIT":
                return
            else:
                say("500 what")


def check(server, message, count=9, **options):
    with ScriptedServer(server) as listener:
        url = f"smtp://127.0.0.1:{listener.port}"
        with Mailer(url, messages_in_flight=4, content_timeout=1, timeout=1, **options) as m:
            results = list(m.send_messages(message(subject=str(n)) for n in range(count)))
            first = [outcome(r) for r in results]
            server.flights[:] = [0]
            more = [outcome(r) for r in m.send_messages(message(subject=f"x{n}") for n in range(4))]
            stats = m.stats()
            assert (stats.pool.in_use, stats.pool.opening) == (0, 0)
    print(first, more, server.flights, dict(server.delivered))
    for n, o in enumerate(first):
        got = server.delivered[str(n)]
        if o is Outcome.ACCEPTED:
            assert got == 1, (n, o, got)
        elif o is Outcome.UNKNOWN:
            assert got <= 1, (n, o, got)
        else:
            assert got == 0, (n, o, got)
    assert more == [Outcome.ACCEPTED] * 4
    return [f for f in server.flights if f]


@pytest.mark.parametrize("behind", ["drop", "deaf", "503"])
def test_behind(message, behind):
    assert max(check(Server(behind=behind), message)) == 1


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_421_to_rset_and_goes_on(message, at):
    check(Server(answers={("RSET", at): "421 4.3.0 what"}), message)


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "BDAT"])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_421_to_others_and_goes_on(message, at, verb):
    check(Server(answers={(verb, at): "421 4.3.0 what"}), message)


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_5yz_to_rset(message, at):
    check(Server(answers={("RSET", at): "502 what"}), message)


@pytest.mark.parametrize("pool_size", [1, 2])
def test_hook(message, pool_size):
    got = []
    with Sink() as sink:

        def hook(event):
            if type(event).__name__ == "MessageSent" and len(got) < 3:
                got.append(None)
                try:
                    got[-1] = m.send_message(message(subject="hook"))
                except Exception as e:
                    got[-1] = e

        with Mailer(
            sink.url, messages_in_flight=4, pool_size=pool_size, pool_timeout=0.3, on_event=hook
        ) as m:
            rs = list(m.send_messages(message() for _ in range(6)))
            assert all(isinstance(r, Receipt) for r in rs)
    print(got)


def test_items_that_send(message):
    with Sink() as sink, Mailer(sink.url, messages_in_flight=4, pool_size=2, pool_timeout=0.3) as m:

        def items():
            for _ in range(9):
                m.send_message(message(subject="inner"))
                yield message()

        assert all(isinstance(r, Receipt) for r in m.send_messages(items()))


def test_gc_of_a_stopped_batch_under_the_lock(message):
    with Sink() as sink:
        done = []

        def work():
            with Mailer(sink.url, messages_in_flight=4, pool_size=3) as m:
                for threshold in range(1, 120):
                    gc.collect()
                    gc.disable()
                    cycle = {}
                    results = m.send_messages(message() for _ in range(6))
                    next(results), next(results)
                    cycle["me"], cycle["results"] = cycle, results
                    del results, cycle
                    gc.set_threshold(gc.get_count()[0] + threshold, 1000, 1000)
                    gc.enable()
                    m.send_message(message())
                    gc.set_threshold(2000, 10, 10)
                    done.append(threshold)
                done.append("all")

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        thread.join(40)
        gc.set_threshold(2000, 10, 10)
        if done[-1] != "all":
            import sys
            import traceback

            traceback.print_stack(sys._current_frames()[thread.ident])
        assert done[-1] == "all", done[-1]
