"""Messages in flight on one connection: each is accounted for, wherever it breaks."""

from __future__ import annotations

import pytest
from faults.faces import FACES
from faults.test_every_byte import in_turn
from faults.ways import FLIGHT, PIPELINED, WAYS, Way
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


MIXED = {
    **{f"RCPT b{number}@x": "550 no" for number in range(3)},
    "deliver a1@x": "554 no",
    "MAIL s2@x": "550 no",
}


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("in_flight", range(1, 9))
def test_one_reply_too_many_leaves_no_wrong_outcome_in_a_batch(in_flight: int, face: str) -> None:
    """In front of each reply: all replies that follow seem to answer the next command."""
    way = Way(f"mixed-{in_flight}", FLIGHT, answers=MIXED, in_flight=in_flight)
    with taking_turns(Network(way.habits)) as network:
        world = World(way, "batch", LETTERS, network, face=face)
        network.may_be_stuck = True
        for reply in range(world.replies):
            for extra in ("250 ok", "550 no", "503 no", "552 full", "354 go", "again"):
                world.run_with_extra(reply, extra)


@pytest.mark.parametrize("face", FACES)
def test_one_reply_too_many_costs_no_more_than_it_makes_uncertain(face: str) -> None:
    way = Way("pipelined", FLIGHT, in_flight=LETTERS)
    with taking_turns(Network(way.habits)) as network:
        world = World(way, "batch", LETTERS, network, face=face)
        network.may_be_stuck = True
        # The first message goes alone. All replies are positive, wherever they belong.
        first = world.replies - 1 - 6 * (LETTERS - 1)
        for reply in range(first, world.replies - 1):
            assert world.run_with_extra(reply, "250 ok") == [Outcome.ACCEPTED] * LETTERS
        # A refusal, which may be the recipient's in front of which it comes, or the next one's.
        outcomes = world.run_with_extra(first + 6 + 3, "550 no")
        assert outcomes.count(Outcome.UNKNOWN) == 1
        assert outcomes.count(Outcome.ACCEPTED) == LETTERS - 1
