"""The same faults, met by AsyncMailer in an event loop."""

from __future__ import annotations

from functools import partial

import pytest
from faults.test_every_byte import in_turn
from faults.ways import PIPELINED, REFUSING, SECURE, WAYS, Way
from faults.world import EACH, FIRST, PRIMARY, Where, World

from mailbackends import Outcome
from support.turns import Network, taking_turns

AsyncWorld = partial(World, face="asyncio")


@pytest.mark.parametrize(("call", "letters"), [("single", 2), ("batch", 3), ("held", 2)])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_one_connection_breaks_and_nothing_is_lost_or_sent_twice(
    way: Way, call: str, letters: int
) -> None:
    with taking_turns(Network(way.habits)) as network:
        world = AsyncWorld(way, call, letters, network)
        for cut in world.cuts(in_turn, step=1 if call == "single" else 5):
            for number, outcome in enumerate(world.run(cut)):
                may_be_unknown = world.may_be_unknown(number, cut)
                assert outcome is not Outcome.UNKNOWN or may_be_unknown, (cut, number)
                if number > 0 and not may_be_unknown:
                    assert outcome is Outcome.ACCEPTED, (cut, number)


@pytest.mark.parametrize("way", [*WAYS[:4], *REFUSING, *SECURE, *PIPELINED], ids=str)
@pytest.mark.parametrize("where", [FIRST, EACH])
def test_connections_of_a_batch_break(way: Way, where: Where) -> None:
    with taking_turns(Network(way.habits, way.context)) as network:
        world = AsyncWorld(way, "batch", 4, network)
        for cut in world.cuts(in_turn, step=9):
            world.run(cut, where)


@pytest.mark.parametrize("way", SECURE, ids=str)
def test_a_connection_with_tls_breaks_between_any_two_bytes_of_a_record(way: Way) -> None:
    with taking_turns(Network(way.habits, way.context)) as network:
        world = AsyncWorld(way, "single", 2, network)
        for cut in world.cuts(in_turn, raw=True, step=29):
            world.run(cut)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_next_server_gets_what_the_first_one_certainly_has_not(way: Way) -> None:
    with taking_turns(Network(way.habits, servers=2)) as network:
        world = AsyncWorld(way, "single", 2, network)
        for cut in world.cuts(in_turn, step=5):
            for number, outcome in enumerate(world.run(cut, PRIMARY)):
                assert outcome is not Outcome.NOT_SENT, (cut, number)


@pytest.mark.parametrize("way", [*WAYS, *SECURE, *PIPELINED], ids=str)
def test_a_421_takes_the_place_of_each_reply(way: Way) -> None:
    with taking_turns(Network(way.habits, way.context)) as network:
        world = AsyncWorld(way, "batch", 3, network)
        for reply in range(world.replies):
            world.run_with_last_words(reply)


@pytest.mark.parametrize("way", [*WAYS, *REFUSING], ids=str)
def test_one_reply_too_many_leaves_no_wrong_outcome(way: Way) -> None:
    with taking_turns(Network(way.habits)) as network:
        world = AsyncWorld(way, "batch", 3, network)
        network.may_be_stuck = True
        for reply in range(world.replies):
            for extra in ("250 ok", "550 no", "again"):
                world.run_with_extra(reply, extra)
