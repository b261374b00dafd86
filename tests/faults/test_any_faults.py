"""Faults in any number and order: each run is made from its seed alone, and can be repeated.

``MAILBACKENDS_SEED=<n> pytest tests/faults/test_any_faults.py`` runs that one only.
"""

from __future__ import annotations

import os
import random
from functools import partial

import pytest
from faults import totals
from faults.accounts import check, letter
from faults.faces import CALLS

from mailbackends import Mailer, Outcome
from support.line import Break, Cut
from support.machine import Habits
from support.turns import Network, taking_turns

RUNS = int(os.environ.get("MAILBACKENDS_RUNS", "1500"))

EXTENSIONS = ["PIPELINING", "CHUNKING", "SIZE 1000", "8BITMIME", "LIMITS RCPTMAX=2"]
REPLIES = ["450 later", "550 no", "452 4.5.3 many", "452 full", "503 order", "552 much"]
PLACES = ["MAIL s", "RCPT a", "RCPT b", "RCPT c", "deliver a", "deliver b", "BDAT", "RSET", "DATA"]


def habits(dice: random.Random, lmtp: bool) -> Habits:
    """A server that announces, refuses, shuts down and fails at random."""
    answers = {}
    for _ in range(dice.choice([0, 0, 1, 2, 5])):
        place = dice.choice(PLACES)
        number = f"{dice.randrange(6)}@x" if " " in place else ""
        answers[place + number] = dice.choice(REPLIES)
    return Habits(
        tuple(dice.sample(EXTENSIONS, dice.randrange(len(EXTENSIONS) + 1))),
        lmtp=lmtp,
        answers=answers,
        last_reply=dice.randrange(40) if dice.random() < 0.15 else None,
        stumbles=dice.choice(["500", "503", "drop", "deaf"]) if dice.random() < 0.1 else "",
    )


def cut(dice: random.Random) -> Cut | None:
    """Where a connection breaks, if it does."""
    if dice.random() < 0.3:
        return None
    kind = dice.choice(list(Break))
    totals.cuts[kind] += 1
    return Cut(dice.choice(["received", "sent"]), dice.randrange(700), kind)


def of_connection(make: object, seed: int, index: int, server: int) -> object:
    """What ``make`` returns for this connection, the same each time."""
    assert callable(make)
    return make(random.Random(f"{seed} {index} {server}"))


def run(seed: int) -> None:
    dice = random.Random(seed)
    lmtp = dice.random() < 0.3
    with taking_turns(Network(Habits(), servers=dice.choice([1, 1, 2]))) as network:
        network.may_be_stuck = True
        delivered = network.begin(
            partial(of_connection, cut, seed),  # type: ignore[arg-type]
            partial(of_connection, lambda dice: habits(dice, lmtp), seed),  # type: ignore[arg-type]
        )
        letters = [letter(number) for number in range(dice.randrange(1, 7))]
        urls = [f"{'lmtp' if lmtp else 'smtp'}://127.0.0.1:{port}" for port in network.ports]
        with Mailer(
            urls, local_hostname="c.x", max_messages_per_connection=dice.randrange(1, 6)
        ) as mailer:
            results = CALLS[dice.choice(list(CALLS))](mailer, letters)
            stats = mailer.stats()
        network.end()
    outcomes = check(results, delivered.count)
    assert not [v for v in delivered.violations if "STARTTLS" in v or "content" in v]
    assert (stats.pool.in_use, stats.pool.opening) == (0, 0)
    assert sum(stats.messages.values()) == len(letters)
    assert stats.messages.get(Outcome.ACCEPTED, 0) == outcomes.count(Outcome.ACCEPTED)
    totals.messages.update(outcomes)


@pytest.mark.parametrize("part", range(5))
def test_whatever_goes_wrong_each_message_is_accounted_for(part: int) -> None:
    one = os.environ.get("MAILBACKENDS_SEED")
    for seed in [int(one)] if one else range(part, RUNS, 5):
        try:
            run(seed)
        except Exception as error:
            error.add_note(f"MAILBACKENDS_SEED={seed}")
            raise
