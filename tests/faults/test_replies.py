"""A server gives one reply too many, or its bytes come one by one."""

from __future__ import annotations

import pytest
from faults.faces import FACES
from faults.test_every_byte import in_turn
from faults.ways import PIPELINED, REFUSING, SECURE, WAYS, Way
from faults.world import EACH, FIRST, Where, World

from mailbackends import Outcome
from support.turns import Network, taking_turns

EXTRA = ["250 ok", "550 no", "451 later", "354 go", "nonsense", "again"]
LOCK_STEP = [way for way in WAYS if not way.extensions and not way.lmtp]


@pytest.mark.parametrize("way", [*WAYS, *REFUSING, *SECURE], ids=str)
@pytest.mark.parametrize("where", [FIRST, EACH])
def test_one_reply_too_many_leaves_no_wrong_outcome(way: Way, where: Where) -> None:
    """In front of each reply, and each reply twice."""
    with taking_turns(Network(way.habits, way.context)) as network:
        world = World(way, "batch", 3, network)
        network.may_be_stuck = True  # where the client takes it for the reply to the content
        for reply in range(world.replies):
            for extra in EXTRA:
                world.run_with_extra(reply, extra, where)


@pytest.mark.parametrize("way", LOCK_STEP, ids=str)
def test_one_reply_too_many_in_lock_step_costs_a_connection_and_no_message(way: Way) -> None:
    with taking_turns(Network(way.habits)) as network:
        world = World(way, "single", 2, network)
        network.may_be_stuck = True
        for reply in range(world.replies):
            for extra in ("250 ok", "again"):
                assert world.run_with_extra(reply, extra)[1] is Outcome.ACCEPTED


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize("way", [*WAYS, *SECURE, *PIPELINED], ids=str)
def test_bytes_that_come_one_by_one_make_no_difference(way: Way, face: str) -> None:
    with taking_turns(Network(way.habits, way.context)) as network:
        world = World(way, "batch", 3, network, face=face)
        assert world.run_in_pieces() == world.outcomes


@pytest.mark.parametrize("way", WAYS[:4], ids=str)
def test_a_connection_breaks_while_bytes_come_one_by_one(way: Way) -> None:
    with taking_turns(Network(way.habits, way.context)) as network:
        world = World(way, "single", 2, network)
        for cut in world.cuts(in_turn, step=11):
            outcomes = world.run_in_pieces(cut)
            assert Outcome.UNKNOWN not in outcomes or any(
                world.may_be_unknown(number, cut) for number in range(2)
            ), cut
