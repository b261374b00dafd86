"""Fifty threads, four connections, and a server that breaks off at random: all is accounted for."""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
from faults import totals
from faults.accounts import Letter, check, letter

from mailbackends import Mailer, Outcome, Receipt, SMTPException, Submission
from mailbackends.mailer import quirks
from support.line import Break, Cut
from support.machine import Habits
from support.running import Running
from support.turns import Network

MESSAGES = int(os.environ.get("MAILBACKENDS_STRESS", "5000"))
THREADS = 50
CONNECTIONS = 4

# What the server does to one message in so many.
ANSWERS = {
    **{f"MAIL s{n}@x": "451 4.3.0 later" for n in range(0, MESSAGES, 31)},
    **{f"RCPT b{n}@x": "550 5.1.1 nobody" for n in range(0, MESSAGES, 7)},
    **{f"deliver a{n}@x": "554 5.6.0 never" for n in range(0, MESSAGES, 37)},
    **{f"deliver c{n}@x": "452 4.2.2 full" for n in range(0, MESSAGES, 41)},
}
WAYS = [("PIPELINING", "CHUNKING"), ("PIPELINING",), ("CHUNKING",), ()]
KINDS = {Break.FIN: 30, Break.CLOSE: 30, Break.RESET: 30, Break.STALL: 3}


class Chaos:
    """What happens to each connection; the same for the same seed and order of connections."""

    def __init__(self, seed: int, *, lmtp: bool = False) -> None:
        self._random = random.Random(seed)
        self._lmtp = lmtp

    def cut(self, index: int, server: int) -> Cut | None:
        """Four of five break, most of them in their first messages."""
        if self._random.random() < 0.2:
            return None
        kind = self._random.choices(list(KINDS), list(KINDS.values()))[0]
        totals.cuts[kind] += 1
        direction = self._random.choice(["received", "sent"])
        return Cut(direction, int(self._random.expovariate(1 / 500)), kind)

    def habits(self, index: int, server: int) -> Habits:
        """Several servers with one address need not be alike."""
        last_reply = self._random.randrange(100) if self._random.random() < 0.1 else None
        return Habits(self._random.choice(WAYS), self._lmtp, None, ANSWERS, last_reply)


@pytest.fixture(autouse=True)
def _forget_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lock-step and limits that were noticed on a broken connection would last to the end."""
    monkeypatch.setattr(quirks, "_SECONDS", 0.01)


def singly(mailer: Mailer, letters: list[Letter], results: list[tuple[Letter, object]]) -> None:
    for one in letters:
        try:
            results.append((one, mailer.send_message(one.content, one.sender, one.recipients)))
        except SMTPException as error:
            results.append((one, error))


def batch(mailer: Mailer, letters: list[Letter], results: list[tuple[Letter, object]]) -> None:
    given = (Submission(one.content, one.sender, one.recipients) for one in letters)
    results.extend(zip(letters, mailer.stream_messages(given), strict=True))


def held(mailer: Mailer, letters: list[Letter], results: list[tuple[Letter, object]]) -> None:
    for first in range(0, len(letters), 10):
        with mailer.hold() as one:
            singly(one, letters[first : first + 10], results)  # type: ignore[arg-type]


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
def test_each_message_is_exactly_accounted_for(protocol: str) -> None:
    seed = int(os.environ.get("MAILBACKENDS_SEED", time.time_ns() % 1_000_000))
    count = MESSAGES if protocol == "smtp" else MESSAGES // 5
    chaos = Chaos(seed, lmtp=protocol == "lmtp")
    network = Network(Habits())
    delivered = network.begin(chaos.cut, chaos.habits)
    results: list[tuple[Letter, Receipt | Exception]] = []
    calls: list[Callable[..., None]] = [singly, singly, singly, batch, held]
    with Running(network):
        url = f"{protocol}://127.0.0.1:{network.ports[0]}"
        with Mailer(
            url, local_hostname="c.x", pool_size=CONNECTIONS, timeout=0.3, content_timeout=0.3,
            pool_timeout=100, deadline=200, max_messages_per_connection=30,
        ) as mailer:  # fmt: skip
            letters = [letter(number) for number in range(count)]
            threads = [
                threading.Thread(
                    target=partial(calls[n % len(calls)], mailer, letters[n::THREADS], results)
                )
                for n in range(THREADS)
            ]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                pool = mailer.stats().pool
                assert pool.open + pool.opening <= CONNECTIONS, f"seed {seed}"
                time.sleep(0.01)
            stats = mailer.stats()
    assert not delivered.violations, f"seed {seed}: {delivered.violations[:3]}"
    assert len(results) == count, f"seed {seed}: a thread ended early"
    try:
        outcomes = Counter(check(results, delivered.count))
    except AssertionError as error:
        error.add_note(f"MAILBACKENDS_SEED={seed}")
        raise
    totals.messages.update(outcomes)
    assert stats.messages == outcomes
    assert (stats.pool.in_use, stats.pool.waiters) == (0, 0)
    assert stats.pool.made == stats.pool.open + sum(stats.pool.retired.values())
    # Some messages met faults, and some did not.
    assert outcomes[Outcome.ACCEPTED] > count / 2
    assert outcomes[Outcome.UNKNOWN] > 0
    assert outcomes[Outcome.REFUSED] > 0
