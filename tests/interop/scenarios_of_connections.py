"""Rows about connections: how many messages one carries, and what closes it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import mailbackends
from interop import counts
from interop.cell import Cell
from interop.clients import Access, Client, Sent, SmtpClient
from interop.mails import Mail
from interop.relay import Relay
from interop.scenarios import scenario
from interop.servers.base import wait_until
from interop.servers.dovecot import Dovecot

__all__: list[str] = []


@scenario("500 messages on one connection", is_heavy=True)
def _(cell: Cell) -> str | None:
    limit = 500
    if cell.server.endpoint("too many messages") == cell.server.endpoint():
        limit = cell.server.messages_per_connection or limit
    with Relay(cell.server.endpoint()) as relay:
        with cell.client(port=relay.port, path=relay.path) as client:
            mails = [Mail() for _ in range(500 if client.reconnects else limit)]
            assert client.send_all(mails) == [Sent()] * len(mails)
            cell.check_all_arrived(client, mails)
        assert relay.connections == -(-len(mails) // limit)
    return None if limit == 500 else f"{limit} messages, then a new connection"


# The server's limits


@scenario("421 to one connection too many", needs="421")
def _(cell: Cell) -> None:
    mail = Mail()
    if cell.server.name == "smtp-sink":  # which answers 421 to each connection
        with cell.client("421") as client:
            _check_421(client.send(mail))
        return
    room = cell.server.room
    # Django's backends with equal options share a pool, and so one connection.
    clients = [_differently(cell.client("421"), number) for number in range(room + 1)]
    *first, last = clients
    for client in first:
        # The server may not have noticed yet that the connections of the last test are closed.
        _wait_for(partial(client.send, Mail()))
    _check_421(last.send(mail))
    for client in first:
        client.close()
    _wait_for(partial(last.send, mail))
    cell.check_arrived(last, mail)
    last.close()


def _differently(client: Client, number: int) -> Client:
    access: Access = client.access
    return type(client)(replace(access, timeout=access.timeout - number))


def _check_421(sent: Sent) -> None:
    assert sent.outcome == "not_sent", repr(sent.error)
    assert isinstance(sent.error, mailbackends.SMTPException)
    reply = sent.error.reply
    assert reply is not None
    assert reply.code == 421
    counts.disconnects["421 to a connection"] += 1


def _wait_for(send: Callable[[], Sent]) -> None:
    for _ in range(50):
        if send().error is None:
            return
        time.sleep(0.1)
    raise AssertionError("the server does not let it connect again")


@scenario("too many errors", needs="nothing")
def _(cell: Cell) -> str | None:
    """The server closes the connection after several errors: refusals, or unknown commands.

    Each refused message is reported as refused, and a good one is sent all the same.
    """
    server = cell.server
    with Relay(server.endpoint("too many errors")) as relay:
        with cell.client("too many errors", port=relay.port, path=relay.path) as client:
            if server.counts_refusals == "always" or (
                server.counts_refusals == "pipelined" and client.pipelines
            ):
                _check_each_refused(cell, client, 6)
            elif isinstance(client, SmtpClient) and server.counts_unknown_commands:
                _send_unknown_commands(cell, client)
            else:
                return server.lacks["too many errors"]
            counts.disconnects["too many errors"] += 1
        assert relay.connections >= 2
    return None


def _check_each_refused(cell: Cell, client: Client, count: int) -> None:
    """Each of so many messages is reported as refused with 550, and a good one arrives."""
    for _ in range(count):
        sent = client.send(Mail(local_parts=("refused",)))
        if client.reconnects:
            cell.check_refused(sent, code=550)
        else:
            assert sent.outcome in ("refused", "not_sent"), repr(sent.error)
    mail = Mail()
    sent = client.send(mail)
    if sent.error is not None:
        assert not client.reconnects, repr(sent.error)
        sent = client.send(mail)
    assert sent == Sent()
    cell.check_arrived(client, mail)


def _send_unknown_commands(cell: Cell, client: SmtpClient) -> None:
    """Only smtplib's interface can send them: repeat one until the server closes the connection."""
    cell.deliver(client, Mail())
    codes = client.repeat("XYZZY", times=30)
    assert 1 < len(codes) < 30, codes
    _check_goes_on(cell, client, Mail())


@scenario("15 refused messages in a row", needs="one refused")
def _(cell: Cell) -> None:
    """Exim counts RSET: after ten it answers 554 and closes. Other servers count errors."""
    with cell.client() as client:
        _check_each_refused(cell, client, 15)


@scenario("too many messages")
def _(cell: Cell) -> None:
    """After the limit a message is sent over a new connection, whatever the server's reply."""
    need = "too many messages"
    limit = cell.server.messages_per_connection
    assert limit is not None
    with Relay(cell.server.endpoint(need)) as relay:
        with cell.client(port=relay.port, path=relay.path) as client:
            for _ in range(limit + 3):
                mail = Mail()
                sent = client.send(mail)
                if sent.error is not None and not client.reconnects:
                    assert sent.may_be_sent_again, repr(sent.error)
                    assert not cell.server.found(mail.token)
                    client.close()
                    sent = client.send(mail)
                assert sent == Sent()
                cell.check_arrived(client, mail)
        assert relay.connections == -(-(limit + 3) // limit)
    counts.disconnects["too many messages"] += 1


@scenario("too many messages in a minute")
def _(cell: Cell) -> None:
    """No new connection helps within the minute: a temporary refusal, and nothing is lost."""
    with cell.client(f"too many messages in a minute {cell.kind.name}") as client:
        mails = [Mail() for _ in range(5)]
        results = client.send_all(mails)
    assert [sent.outcome for sent in results] == ["accepted"] * 2 + ["refused"] * 3
    for mail, sent in zip(mails, results, strict=True):
        if sent.error is None:
            cell.check_arrived(client, mail)
        else:
            assert getattr(sent.error, "is_transient", False), repr(sent.error)
            assert not cell.server.found(mail.token)


# Closed connections


def _check_goes_on(cell: Cell, client: Client, mail: Mail) -> None:
    """Send after the connection was lost: the message arrives once, by the client or its caller."""
    sent = client.send(mail)
    if sent.error is not None:
        assert not client.reconnects, repr(sent.error)
        assert sent.may_be_sent_again, repr(sent.error)
        assert not cell.server.found(mail.token)
        sent = client.send(mail)
    assert sent == Sent()
    cell.check_arrived(client, mail)


@scenario("an idle connection that the server closed", needs="idle")
def _(cell: Cell) -> None:
    with Relay(cell.server.endpoint("idle")) as relay:
        with cell.client("idle", port=relay.port, path=relay.path) as client:
            cell.deliver(client, Mail())
            dovecot: Dovecot | None = getattr(cell.server, "dovecot", None)
            if dovecot is None:
                counts.disconnects["idle"] += 1
            else:  # Its five minutes are fixed: end the process that has the connection.
                dovecot.hang_up(cell.server.process)  # type: ignore[attr-defined]
                counts.disconnects["its process ended"] += 1
            wait_until(lambda: relay.closed_by_server == 1, "the end of the connection")
            _check_goes_on(cell, client, Mail())
        assert relay.connections == 2


@scenario("a restart between two messages")
def _(cell: Cell) -> None:
    with cell.client() as client:
        cell.deliver(client, Mail())
        cell.server.restart()
        counts.disconnects["restart between two messages"] += 1
        _check_goes_on(cell, client, Mail())


@scenario("a restart in the middle of a message")
def _(cell: Cell) -> None:
    with Relay(cell.server.endpoint()) as relay:
        with cell.client(port=relay.port, path=relay.path) as client:
            cell.deliver(client, Mail())
            relay.after(150_000, cell.server.restart)
            _check_goes_on(cell, client, Mail(("y" * 70 + "\n") * 75_000))
        assert relay.connections == 2
        counts.disconnects["restart within a message"] += 1
