"""Batches with messages in flight at real servers: each message has its outcome."""

from __future__ import annotations

import pytest

pytest.importorskip("django", reason="these go through Django and Flask, too")
pytest.importorskip("flask", reason="these go through Django and Flask, too")

from interop.cell import CLIENTS, Cell
from interop.mails import Mail
from interop.servers.all import AllServers

BOTH = ("Mailer", "AsyncMailer")


@pytest.mark.parametrize("client", BOTH)
@pytest.mark.parametrize("security", ["none", "starttls"])
@pytest.mark.parametrize("server", ["Postfix", "Exim", "sendmail", "OpenSMTPD", "Haraka"])
def test_a_refusal_within_a_batch_does_not_affect_the_other_messages(
    server: str, security: str, client: str, all_servers: AllServers, cafile: str
) -> None:
    cell = Cell(all_servers.server(server), CLIENTS[client], cafile)
    if security == "starttls" and "STARTTLS" in cell.server.lacks:
        pytest.skip(cell.server.lacks["STARTTLS"])
    _check_batch(cell, refused=range(20, 80, 25), security=security)


@pytest.mark.parametrize("client", BOTH)
@pytest.mark.parametrize("server", ["Postfix", "Exim", "sendmail", "OpenSMTPD", "Haraka"])
def test_refusing_every_third_message_of_a_batch_does_not_affect_the_others(
    server: str, client: str, all_servers: AllServers, cafile: str
) -> None:
    cell = Cell(all_servers.server(server), CLIENTS[client], cafile)
    _check_batch(cell, refused=range(2, 80, 3))


def _check_batch(cell: Cell, *, refused: range, security: str = "none") -> None:
    cell.server.forget()
    mails = [Mail(local_parts=("refused" if n in refused else "a",)) for n in range(80)]
    with cell.client(security=security, batch_pipeline=8) as one:
        results = one.send_batch(mails)
        for mail, sent in zip(mails, results, strict=True):
            if mail.local_parts == ("refused",):
                cell.check_refused(sent, code=550)
            else:
                assert sent.outcome == "accepted", repr(sent.error)
        cell.check_all_arrived(one, [mail for mail in mails if mail.local_parts == ("a",)])


@pytest.mark.parametrize("client", BOTH)
def test_a_batch_larger_than_the_servers_limit_of_messages_is_accepted(
    client: str, all_servers: AllServers, cafile: str
) -> None:
    cell = Cell(all_servers.server("OpenSMTPD"), CLIENTS[client], cafile)
    cell.server.forget()
    mails = [Mail() for _ in range(250)]
    with cell.client(batch_pipeline=8) as one:
        outcomes = [sent.outcome for sent in one.send_batch(mails)]
        assert outcomes == ["accepted"] * 250
        cell.check_all_arrived(one, mails)


@pytest.mark.parametrize("client", BOTH)
def test_dovecot_submission_accounts_for_each_message_and_none_is_sent_twice(
    client: str, all_servers: AllServers, cafile: str
) -> None:
    cell = Cell(all_servers.server("Dovecot submission"), CLIENTS[client], cafile)
    mails = [Mail() for _ in range(12)]
    with cell.client(mechanism="PLAIN", security="starttls", batch_pipeline=4) as one:
        results = one.send_batch(mails)
        # What this server does with pipelined messages is remembered.
        later = [Mail() for _ in range(4)]
        assert [sent.outcome for sent in one.send_batch(later)] == ["accepted"] * 4
        cell.deliver(one, Mail())  # By now everything before it was relayed.
        for mail, sent in zip(mails, results, strict=True):
            if sent.outcome == "accepted":
                cell.check_arrived(one, mail)
            else:
                copies = len(cell.server.found(mail.token))
                assert copies <= (1 if sent.outcome == "unknown" else 0)
        for mail in later:
            cell.check_arrived(one, mail)
