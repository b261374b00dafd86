"""Postfix's smtp-sink refusing, deferring or hanging up at each command."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("django", reason="these go through Django and Flask, too")
pytest.importorskip("flask", reason="these go through Django and Flask, too")

from interop import tally
from interop.letters import Letter
from interop.place import CLIENTS, Place
from interop.servers.sink import SmtpSink
from mailbackends import SMTPDeliveryUnknown

COMMANDS = ("CONNECT", "MAIL", "RCPT", "DATA", ".")
FAULTS = {"5xx": "-f", "4xx": "-r", "hang up": "-q", "421": "-Q"}


@pytest.fixture(scope="module")
def sink(installed: None) -> Iterator[SmtpSink]:
    made = SmtpSink(
        {"plain": ()}
        | {f"{fault} {at}": (flag, at) for fault, flag in FAULTS.items() for at in COMMANDS}
        | {"no EHLO": ("-f", "EHLO"), "no ESMTP": ("-e",), "no PIPELINING": ("-p",)}
    )
    made.start()
    yield made
    made.stop()
    made.remove()


def outcome_of(fault: str, at: str) -> str:
    """What must be told of a message that meets this."""
    if fault == "hang up" and at == ".":
        return "unknown"
    if at == "CONNECT" or fault == "hang up" or (fault == "421" and at != "."):
        return "not_sent"
    return "refused"


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("at", COMMANDS)
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_at_each_command_has_its_outcome(
    fault: str, at: str, client: str, sink: SmtpSink, cafile: str
) -> None:
    letter = Letter()
    with Place(sink, CLIENTS[client], cafile).client(f"{fault} {at}") as one:
        sent = one.send(letter)
    assert sent.error is not None
    if fault in ("hang up", "421"):
        tally.cuts[f"{fault} by smtp-sink"] += 1
    if at == "CONNECT" and client == "SMTP":
        return  # where there is no message yet, the interface of smtplib has no outcome
    if (fault, at, client) == ("421", ".", "SMTP"):
        return  # nor does it tell a 421 to the content from one to DATA
    assert sent.outcome == outcome_of(fault, at), repr(sent.error)
    assert isinstance(sent.error, SMTPDeliveryUnknown) is (sent.outcome == "unknown")
    if sent.outcome == "refused":
        assert getattr(sent.error, "is_transient", None) is (fault != "5xx")


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("need", ["no EHLO", "no ESMTP", "no PIPELINING"])
def test_a_server_of_few_extensions_gets_the_message_all_the_same(
    need: str, client: str, sink: SmtpSink, cafile: str
) -> None:
    place = Place(sink, CLIENTS[client], cafile)
    with place.client(need) as one:
        place.deliver(one, Letter(), Letter())
