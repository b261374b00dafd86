"""A server that announces PIPELINING and fails at it gets its messages in lock-step."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mailbackends import (
    Mailer,
    Outcome,
    Receipt,
    SMTPDeliveryUnknown,
    SMTPRecipientsRefused,
    SMTPTimeoutError,
)
from mailbackends.mailer.quirks import ServerQuirks
from support.line import Break, Cut
from support.machine import Habits
from support.turns import Network, taking_turns

GROUP = ("PIPELINING",)
FLIGHT = ("PIPELINING", "CHUNKING")


@pytest.fixture
def network() -> Iterator[Network]:
    with taking_turns(Network(Habits(GROUP))) as network:
        yield network


def mailer_for(network: Network) -> Mailer:
    return Mailer(host="127.0.0.1", port=network.ports[0], local_hostname="c.x")


def send(mailer: Mailer, number: int) -> Receipt:
    return mailer.send_message(b"N: %d\r\n" % number, "s@x", ["a@x", "b@x"])


def was_grouped(network: Network, connection: int) -> bool:
    """Whether any write on this connection held more than one command."""
    return any(b"RCPT TO:<a@x>\r\nRCPT" in data for data in network.lines[connection].reads)


@pytest.mark.parametrize("how", ["500", "503", "drop"])
@pytest.mark.parametrize("extensions", [GROUP, FLIGHT], ids=["group", "flight"])
@pytest.mark.usefixtures("bdat_unproved")
def test_the_message_goes_in_lock_step_over_a_new_connection_exactly_once(
    network: Network, how: str, extensions: tuple[str, ...]
) -> None:
    delivered = network.begin(habits=lambda *_: Habits(extensions, stumbles=how))
    with mailer_for(network) as mailer:
        assert send(mailer, 1).accepted == ("a@x", "b@x")
        sent = {(b"N: 1\r\n", "a@x"): 1, (b"N: 1\r\n", "b@x"): 1}
        assert delivered.count == sent
        # It is remembered: the next message is not tried in a group.
        assert send(mailer, 2).accepted == ("a@x", "b@x")
    assert delivered.count == sent | {(b"N: 2\r\n", "a@x"): 1, (b"N: 2\r\n", "b@x"): 1}
    assert [was_grouped(network, index) for index in range(2)] == [True, False]
    assert len(network.lines) == 2
    network.end()


@pytest.mark.parametrize("extensions", [GROUP, FLIGHT], ids=["group", "flight"])
@pytest.mark.usefixtures("bdat_unproved")
def test_after_a_timeout_within_a_group_the_next_message_goes_in_lock_step(
    network: Network, extensions: tuple[str, ...]
) -> None:
    delivered = network.begin(habits=lambda *_: Habits(extensions, stumbles="deaf"))
    with mailer_for(network) as mailer:
        with pytest.raises(SMTPTimeoutError) as caught:
            send(mailer, 1)
        assert caught.value.outcome is Outcome.NOT_SENT
        assert len(network.lines) == 1
        assert send(mailer, 2).accepted == ("a@x", "b@x")
    assert delivered.count == {(b"N: 2\r\n", "a@x"): 1, (b"N: 2\r\n", "b@x"): 1}
    assert [was_grouped(network, index) for index in range(2)] == [True, False]
    network.end()


@pytest.mark.parametrize("how", ["500", "503", "drop"])
def test_if_lock_step_is_refused_too_that_refusal_is_raised(network: Network, how: str) -> None:
    refusals = {"RCPT a@x": "550 no a", "RCPT b@x": "550 no b"}
    network.begin(habits=lambda *_: Habits(GROUP, stumbles=how, answers=refusals))
    with mailer_for(network) as mailer:
        # The second one begins with RSET, so that the server fails at MAIL.
        for number in range(2):
            with pytest.raises(SMTPRecipientsRefused, match="550 no a") as caught:
                send(mailer, number)
            assert caught.value.outcome is Outcome.REFUSED


def test_a_connection_that_breaks_after_354_does_not_turn_off_groups(
    network: Network,
) -> None:
    hello = b"220 x.test\r\n250-x.test\r\n250 PIPELINING\r\n"
    cut = Cut("sent", len(hello + b"250 ok\r\n" * 3 + b"354 go\r\n"), Break.FIN)
    network.begin(lambda index, server: cut if index == 0 else None)
    with mailer_for(network) as mailer:
        with pytest.raises(SMTPDeliveryUnknown):
            send(mailer, 1)
        send(mailer, 2)
    assert was_grouped(network, 1)


def test_lock_step_is_forgotten_after_ten_minutes_though_messages_go_on() -> None:
    now = 0.0
    quirks = ServerQuirks(lambda: now)
    assert not quirks.needs_lock_step
    quirks.note_lock_step()
    now = 599.0
    assert quirks.needs_lock_step
    now = 601.0
    assert not quirks.needs_lock_step
