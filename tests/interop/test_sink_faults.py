"""Postfix's smtp-sink refuses, defers or closes the connection at each command."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("django", reason="these go through Django and Flask, too")
pytest.importorskip("flask", reason="these go through Django and Flask, too")

from interop import counts
from interop.cell import CLIENTS, Cell
from interop.mails import Mail
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
    """The outcome of a message that meets this fault."""
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
    mail = Mail()
    with Cell(sink, CLIENTS[client], cafile).client(f"{fault} {at}") as one:
        sent = one.send(mail)
    assert sent.error is not None
    if fault in ("hang up", "421"):
        counts.disconnects[f"{fault} by smtp-sink"] += 1
    if at == "CONNECT" and client == "SMTP":
        return  # before there is a message, smtplib's interface has no outcome
    if fault == "421" and client == "SMTP":
        assert sent.may_be_sent_again  # to its classes, 421 is a refusal as others are
        return
    assert sent.outcome == outcome_of(fault, at), repr(sent.error)
    assert isinstance(sent.error, SMTPDeliveryUnknown) is (sent.outcome == "unknown")
    if sent.outcome == "refused":
        assert getattr(sent.error, "is_transient", None) is (fault != "5xx")


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("need", ["no EHLO", "no ESMTP", "no PIPELINING"])
def test_a_server_with_few_extensions_gets_the_message(
    need: str, client: str, sink: SmtpSink, cafile: str
) -> None:
    cell = Cell(sink, CLIENTS[client], cafile)
    with cell.client(need) as one:
        cell.deliver(one, Mail(), Mail())
