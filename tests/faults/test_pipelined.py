"""Messages in flight on one connection: each is accounted for, wherever it breaks."""

from __future__ import annotations

import pytest
from faults.test_every_byte import in_turn
from faults.ways import PIPELINED, WAYS, Way
from faults.world import EACH, FIRST, Where, World

from mailbackends import Outcome
from support.turns import Network, taking_turns

LETTERS = 5


@pytest.mark.parametrize("way", PIPELINED, ids=str)
def test_a_pipelined_batch_breaks_at_each_byte(way: Way) -> None:
    with taking_turns(Network(way.habits, way.context)) as network:
        world = World(way, "batch", LETTERS, network)
        whole = world.outcomes
        for cut in world.cuts(in_turn):
            outcomes = world.run(cut)
            # The others are sent after all, with the same outcomes.
            for outcome, wanted in zip(outcomes, whole, strict=True):
                assert outcome in (wanted, Outcome.UNKNOWN, Outcome.NOT_SENT), cut
            # The first one goes alone, and finds a new connection: see `test_every_byte`.
            assert Outcome.NOT_SENT not in outcomes[1:], cut


@pytest.mark.parametrize("way", PIPELINED, ids=str)
def test_each_connection_of_a_pipelined_batch_breaks_at_the_same_byte(way: Way) -> None:
    with taking_turns(Network(way.habits, way.context)) as network:
        world = World(way, "batch", LETTERS, network)
        for cut in world.cuts(in_turn, step=3):
            world.run(cut, EACH)


@pytest.mark.parametrize("way", PIPELINED, ids=str)
@pytest.mark.parametrize("where", [FIRST, EACH])
def test_a_421_takes_the_place_of_each_reply_to_a_pipelined_batch(way: Way, where: Where) -> None:
    with taking_turns(Network(way.habits, way.context)) as network:
        world = World(way, "batch", LETTERS, network)
        for reply in range(world.replies):
            world.run_with_last_words(reply, where)


@pytest.mark.parametrize("way", [*PIPELINED, *WAYS], ids=str)
def test_a_server_that_says_421_in_place_of_each_reply_may_go_on(way: Way) -> None:
    with taking_turns(Network(way.habits, way.context)) as network:
        world = World(way, "batch", LETTERS, network)
        network.may_be_stuck = True  # if it waits for a reply that does not come
        for reply in range(world.replies):
            world.run_with_last_words(reply, goes_on=True)


@pytest.mark.parametrize("way", PIPELINED, ids=str)
@pytest.mark.parametrize("how", ["500", "503", "drop", "deaf"])
def test_a_server_may_fail_on_commands_after_a_content(way: Way, how: str) -> None:
    with taking_turns(Network(way.habits, way.context)) as network:
        world = World(way, "batch", LETTERS, network)
        world.run_stumbling(how)


@pytest.mark.parametrize("what", ["sender", "recipients", "content"])
def test_a_refusal_in_a_pipelined_batch_does_not_affect_the_others(what: str) -> None:
    way = next(way for way in PIPELINED if way.name == f"pipelined-{what}")
    with taking_turns(Network(way.habits)) as network:
        world = World(way, "batch", LETTERS, network)
        refused = [outcome is Outcome.REFUSED for outcome in world.outcomes]
        assert refused == [number == 1 for number in range(LETTERS)]
        assert world.outcomes.count(Outcome.ACCEPTED) == LETTERS - 1
