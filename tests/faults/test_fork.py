"""A Mailer across a fork: parent and child both go on sending, over separate connections."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from faults.accounts import Letter, check, letter

from mailbackends import Mailer, Outcome, Receipt, SMTPException
from support import certs
from support.line import Break, Cut
from support.machine import Habits
from support.processes import in_child, run_program
from support.running import Running
from support.turns import Network

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

FLIGHT = ("PIPELINING", "CHUNKING")


@pytest.fixture(params=["none", "starttls"])
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    context = certs.server_context() if request.param == "starttls" else None
    extensions = (*FLIGHT, "STARTTLS") if context else FLIGHT
    with Running(Network(Habits(extensions), context)) as network:
        yield network


def mailer_for(network: Network, **options: Any) -> Mailer:
    given: dict[str, Any] = {"local_hostname": "c.x", **options}
    if network.context is not None:
        given |= {"security": "starttls", "ssl_cafile": certs.cafile()}
    return Mailer(host="127.0.0.1", port=network.ports[0], **given)


def send(mailer: Mailer, one: Letter) -> str:
    """The outcome."""
    try:
        return mailer.send_message(one.content, one.sender, one.recipients).outcome
    except SMTPException as error:
        return str(error.outcome)


def send_some(mailer: Mailer, first: int, count: int) -> dict[int, str]:
    """The outcomes, by number."""
    return {number: send(mailer, letter(number)) for number in range(first, first + count)}


def numbers(network: Network) -> list[set[bytes]]:
    """For each connection the messages that were sent over it, without a line that was cut."""
    return [
        {line for line in each.received.split(b"\r\n")[:-1] if line.startswith(b"N: ")}
        for each in network.lines
    ]


def test_a_worker_forked_after_the_first_message_opens_new_connections(
    network: Network,
) -> None:
    """As with gunicorn's preload: the application sent a message before its workers were forked."""
    with mailer_for(network) as mailer:
        assert send(mailer, letter(0)) == "accepted"
        for first in (10, 20, 30):
            outcomes = in_child(partial(send_some, mailer, first, 5))
            assert [*outcomes.values()] == ["accepted"] * 5
        # The parent's connection was not touched: it is used again.
        assert send(mailer, letter(1)) == "accepted"
        stats = mailer.stats()
        assert (stats.pool.made, stats.pool.reused) == (1, 1)
    assert all(times == 1 for times in network.delivered.count.values())
    assert len(network.delivered.count) == 17 * 3
    expected = [{0, 1}, *({*range(first, first + 5)} for first in (10, 20, 30))]
    assert numbers(network) == [{b"N: %d" % n for n in each} for each in expected]


def test_a_child_that_sends_no_message_sends_no_byte(network: Network) -> None:
    mailer = mailer_for(network)
    assert send(mailer, letter(0)) == "accepted"
    before = network.lines[0].totals["raw received"]
    in_child(lambda: mailer.stats().pool.open)
    in_child(mailer.close)
    assert network.lines[0].totals["raw received"] == before
    assert send(mailer, letter(1)) == "accepted"
    mailer.close()
    assert len(network.lines) == 1


def test_a_child_counts_its_own_messages_and_connections(network: Network) -> None:
    with mailer_for(network) as mailer:
        send(mailer, letter(0))

        def child() -> dict[str, int]:
            send(mailer, letter(1))
            stats = mailer.stats()
            pool = stats.pool
            return {
                "made": pool.made,
                "open": pool.open,
                "forked": pool.retired["forked"],
                "accepted": stats.messages[Outcome.ACCEPTED],
            }

        assert in_child(lambda: mailer.stats().messages) == {}
        assert in_child(child) == {"made": 1, "open": 1, "forked": 1, "accepted": 1}
        assert mailer.stats().pool.made == 1
        assert mailer.stats().messages == {Outcome.ACCEPTED: 1}


def test_a_pinned_connection_is_not_used_by_the_child(network: Network) -> None:
    with mailer_for(network) as mailer, mailer.hold() as held:
        assert held.send_message(b"N: 0\r\n", "s@x", "a@x")
        assert in_child(lambda: held.send_message(b"N: 1\r\n", "s@x", "a@x").outcome) == "accepted"
        assert held.send_message(b"N: 2\r\n", "s@x", "a@x")
    assert numbers(network) == [{b"N: 0", b"N: 2"}, {b"N: 1"}]


def test_a_fork_while_many_threads_send(network: Network) -> None:
    """At that moment locks are held, messages are being sent, and connections break."""
    cuts = {index: Cut("received", 300 + 97 * index, Break.CLOSE) for index in range(0, 60, 3)}
    network.begin(lambda index, server: cuts.get(index))
    results: list[tuple[Letter, Receipt | Exception]] = []

    with mailer_for(network, pool_size=3, timeout=5) as mailer:

        def work(first: int) -> None:
            for number in range(first, first + 40):
                one = letter(number)
                try:
                    got: Receipt | Exception = mailer.send_message(
                        one.content, one.sender, one.recipients
                    )
                except SMTPException as error:
                    got = error
                results.append((one, got))

        threads = [threading.Thread(target=work, args=(1000 * n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        children: dict[str, str] = {}
        for child in range(4):
            children |= in_child(partial(send_some, mailer, 100_000 * (child + 1), 20))
        for thread in threads:
            thread.join()
    assert len(results) == 320
    assert len(children) == 80
    mine = {one.content for one, _ in results}
    books = Counter(network.delivered.count)
    check(results, Counter({key: n for key, n in books.items() if key[0] in mine}))
    allowed = {"accepted": {1}, "unknown": {0, 1}, "not_sent": {0}}
    for number, outcome in children.items():
        for recipient in letter(int(number)).recipients:
            assert books[letter(int(number)).content, recipient] in allowed[outcome]
    assert sum(outcome == "accepted" for outcome in children.values()) > 40
    # No connection carried the commands of two processes.
    for each in numbers(network):
        assert len({int(line[3:]) // 100_000 for line in each}) <= 1


PROGRAM = """
    import json, os, sys, threading
    from mailbackends import Mailer

    mailer = Mailer(sys.argv[1], local_hostname="c.x")

    def send(number):
        return mailer.send_message(b"N: %d" % number, "s@x", "a@x").outcome

    send(0)
    pids = []
    for worker in range(1, 4):
        pid = os.fork()
        if pid == 0:
            for number in range(5):
                send(10 * worker + number)
            sys.exit(0)          # with all that stands at the end of an interpreter
        pids.append(pid)
    statuses = [os.waitpid(pid, 0)[1] for pid in pids]
    send(1)
    print(json.dumps(statuses))
"""


def test_exiting_workers_send_quit_on_their_own_connections_only() -> None:
    with Running(Network(Habits(FLIGHT))) as network:
        printed = run_program(PROGRAM, f"smtp://127.0.0.1:{network.ports[0]}")
    assert json.loads(printed) == [0, 0, 0]
    assert len(network.lines) == 4
    assert all(line.received.endswith(b"QUIT\r\n") for line in network.lines)
    assert all(line.received.count(b"QUIT") == 1 for line in network.lines)
    assert numbers(network)[0] == {b"N: 0", b"N: 1"}
    assert all(times == 1 for times in network.delivered.count.values())
    assert network.delivered.count.total() == 17


def test_outcomes_are_json_strings() -> None:
    assert [*map(str, Outcome)] == ["accepted", "refused", "not_sent", "unknown", "suppressed"]
