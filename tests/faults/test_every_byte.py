"""The connection breaks at each byte of the dialogue, and each message is accounted for.

Whatever breaks and wherever, `World` compares the server's view of each recipient with the
caller's. The tests add which outcomes must not be unknown, and what must arrive. In the gate some
of the ways to break alternate from byte to byte; with ``MAILBACKENDS_EVERY_CUT=1`` each is tried at
each.
"""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from faults.ways import REFUSING, SECURE, WAYS, Way
from faults.world import EACH, FIRST, PRIMARY, Where, World

from mailbackends import Outcome
from support.line import Break
from support.turns import Network, taking_turns

THOROUGH = bool(os.environ.get("MAILBACKENDS_EVERY_CUT"))

ALL = tuple(Break)


def all_at_once(offset: int) -> tuple[Break, ...]:
    return ALL


def in_turn(offset: int) -> tuple[Break, ...]:
    return ALL if THOROUGH else (ALL[offset % len(ALL)],)


def now_and_then(offset: int) -> tuple[Break, ...]:
    return ALL if THOROUGH else (ALL[offset // 7 % len(ALL)],) * (offset % 7 == 0)


def two_in_turn(offset: int) -> tuple[Break, ...]:
    return ALL if THOROUGH else (ALL[offset % 2], ALL[2 + offset % 2])


@pytest.mark.parametrize(("call", "letters"), [("single", 2), ("batch", 3), ("held", 2)])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_one_connection_breaks_and_nothing_is_lost_or_sent_twice(
    way: Way, call: str, letters: int
) -> None:
    kinds = {"single": all_at_once, "batch": two_in_turn, "held": in_turn}[call]
    if kinds is all_at_once and "partial" in way.name:
        kinds = two_in_turn
    with taking_turns(Network(way.habits)) as network:
        world = World(way, call, letters, network)
        for cut in world.cuts(kinds):
            outcomes = world.run(cut)
            for number, outcome in enumerate(outcomes):
                may_be_unknown = world.may_be_unknown(number, cut)
                assert outcome is not Outcome.UNKNOWN or may_be_unknown, (cut, number)
                # A used connection that breaks costs nothing: the message goes over another.
                if number > 0 and not may_be_unknown:
                    assert outcome is Outcome.ACCEPTED, (cut, number)


@pytest.mark.parametrize("way", [way for way in WAYS if way.is_chunked], ids=str)
@pytest.mark.usefixtures("bdat_unproved")
def test_one_connection_breaks_before_bdat_has_worked(way: Way) -> None:
    with taking_turns(Network(way.habits)) as network:
        world = World(way, "single", 2, network, is_proved=False)
        for cut in world.cuts(two_in_turn):
            for number, outcome in enumerate(world.run(cut)):
                may_be_unknown = world.may_be_unknown(number, cut)
                assert outcome is not Outcome.UNKNOWN or may_be_unknown, (cut, number)
                if number > 0 and not may_be_unknown:
                    assert outcome is Outcome.ACCEPTED, (cut, number)


@pytest.mark.parametrize("way", [way for way in WAYS if way.is_chunked], ids=str)
@pytest.mark.parametrize("how", ["500", "503", "554", "silent"])
@pytest.mark.usefixtures("bdat_unproved")
def test_a_connection_to_a_server_without_bdat_breaks(way: Way, how: str) -> None:
    with taking_turns(Network(replace(way.habits, without_bdat=how))) as network:
        world = World(way, "single", 2, network, is_proved=False, is_one_connection=how != "silent")
        assert world.outcomes == [Outcome.ACCEPTED] * 2
        for cut in world.cuts(in_turn):
            world.run(cut)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_each_connection_breaks_at_the_same_byte(way: Way) -> None:
    with taking_turns(Network(way.habits)) as network:
        world = World(way, "single", 2, network)
        for cut in world.cuts(in_turn):
            world.run(cut, EACH)


@pytest.mark.parametrize("way", REFUSING, ids=str)
def test_a_connection_breaks_around_a_message_that_is_refused(way: Way) -> None:
    with taking_turns(Network(way.habits)) as network:
        world = World(way, "batch", 3, network)
        assert world.outcomes == [Outcome.ACCEPTED, Outcome.REFUSED, Outcome.ACCEPTED]
        for cut in world.cuts(in_turn):
            assert world.run(cut)[1] is not Outcome.ACCEPTED


@pytest.mark.parametrize("way", SECURE, ids=str)
@pytest.mark.parametrize("call", ["single", "batch"])
def test_a_connection_with_tls_breaks_at_a_byte_within(way: Way, call: str) -> None:
    with taking_turns(Network(way.habits, way.context)) as network:
        world = World(way, call, 2, network)
        for cut in world.cuts(in_turn):
            outcomes = world.run(cut)
            assert outcomes[1] is Outcome.ACCEPTED or world.may_be_unknown(1, cut), cut


@pytest.mark.parametrize("way", [*WAYS[:4], *SECURE], ids=str)
@pytest.mark.usefixtures("small_buffers")
def test_a_connection_breaks_within_a_message_that_fills_all_buffers(way: Way) -> None:
    with taking_turns(Network(way.habits, way.context)) as network:
        world = World(way, "single", 2, network, size=2_000_000)
        for cut in world.cuts(all_at_once, step=300_007):
            outcomes = world.run(cut)
            # With half a megabyte to go, a server that broke off is known not to have it all.
            total = world.totals()["received"] // 2
            if cut.direction == "received" and cut.offset % total < total - 500_000:
                assert Outcome.UNKNOWN not in outcomes, cut


@pytest.mark.parametrize("way", SECURE, ids=str)
def test_a_connection_with_tls_breaks_between_any_two_bytes_of_a_record(way: Way) -> None:
    with taking_turns(Network(way.habits, way.context)) as network:
        world = World(way, "single", 2, network)
        for cut in world.cuts(now_and_then, raw=True):
            world.run(cut)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_next_server_gets_only_what_the_first_certainly_does_not_have(way: Way) -> None:
    with taking_turns(Network(way.habits, servers=2)) as network:
        world = World(way, "single", 2, network)
        for cut in world.cuts(in_turn):
            for number, outcome in enumerate(world.run(cut, PRIMARY)):
                assert outcome is not Outcome.NOT_SENT, (cut, number)


@pytest.mark.parametrize("way", [*WAYS, *SECURE], ids=str)
@pytest.mark.parametrize("where", [FIRST, EACH])
def test_a_421_takes_the_place_of_each_reply(way: Way, where: Where) -> None:
    with taking_turns(Network(way.habits, way.context)) as network:
        world = World(way, "batch", 3, network)
        for reply in range(world.replies):
            world.run_with_last_words(reply, where)
