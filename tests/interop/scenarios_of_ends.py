"""Rows about connections: how much one carries, and what ends it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import mailbackends
from interop import tally
from interop.clients import Access, Client, Sent, SmtpClient
from interop.letters import Letter
from interop.place import Place
from interop.relay import Relay
from interop.scenarios import scenario
from interop.servers.dovecot import Dovecot

__all__: list[str] = []


@scenario("500 messages on one connection", is_heavy=True)
def _(place: Place) -> None:
    letters = [Letter() for _ in range(500)]
    with Relay(place.server.endpoint()) as relay:
        with place.client(port=relay.port, path=relay.path) as client:
            assert client.send_all(letters) == [Sent()] * 500
            place.see_all_arrived(client, letters)
        assert relay.connections == 1


# The server's own limits


@scenario("421 to one connection too many", needs="421")
def _(place: Place) -> None:
    letter = Letter()
    if place.server.name == "smtp-sink":  # where it is not one too many, but each
        with place.client("421") as client:
            _see_421(client.send(letter))
        return
    room = place.server.room
    # Django's share a pool where their options are equal: then there is one connection only.
    made = [_differently(place.client("421"), number) for number in range(room + 1)]
    *holders, last = made
    for holder in holders:
        place.deliver(holder, Letter())
    _see_421(last.send(letter))
    for holder in holders:
        holder.close()
    _wait_for(lambda: last.send(letter))
    place.see_arrived(last, letter)
    last.close()


def _differently(client: Client, number: int) -> Client:
    access: Access = client.access
    return type(client)(replace(access, timeout=access.timeout - number))


def _see_421(sent: Sent) -> None:
    assert sent.outcome == "not_sent", repr(sent.error)
    assert isinstance(sent.error, mailbackends.SMTPException)
    reply = sent.error.reply
    assert reply is not None
    assert reply.code == 421
    tally.cuts["421 to a connection"] += 1


def _wait_for(send: Callable[[], Sent]) -> None:
    for _ in range(50):
        if send().error is None:
            return
        time.sleep(0.1)
    raise AssertionError("it was not let in again")


@scenario("too many errors", needs="nothing")
def _(place: Place) -> str | None:
    """421 after three refusals: each message is told of, and a good one goes all the same."""
    with place.client("too many errors") as client:
        if reason := place.server.lacks.get("too many errors"):
            if isinstance(client, SmtpClient) and place.server.counts_unknown_commands:
                _say_what_nobody_knows(place, client)
                return None
            return reason
        for _ in range(5):
            sent = client.send(Letter(people=("refused",)))
            is_cut = not client.keeps_trying and sent.outcome == "not_sent"
            assert is_cut or sent.outcome == "refused", repr(sent.error)
        letter = Letter()
        if client.send(letter).error is not None:
            assert not client.keeps_trying
            assert client.send(letter).error is None
        place.see_arrived(client, letter)
        tally.cuts["too many errors"] += 1
    return None


def _say_what_nobody_knows(place: Place, client: SmtpClient) -> None:
    """As only the interface of smtplib can, until the server hangs up."""
    place.deliver(client, Letter())
    codes = client.say("XYZZY", times=30)
    assert 1 < len(codes) < 30, codes
    tally.cuts["too many errors"] += 1
    _goes_on(place, client, Letter())


@scenario("too many messages")
def _(place: Place) -> str | None:
    need = "too many messages"
    own = f"{need} {place.kind.name}"
    with place.client(own if own in place.server.endpoints else need) as client:
        letters = [Letter() for _ in range(5)]
        told = []
        for letter in letters:
            sent = client.send(letter)
            if sent.outcome == "not_sent" and not client.keeps_trying:
                sent = client.send(letter)
            told.append(sent)
        for letter, sent in zip(letters, told, strict=True):
            if sent.error is None:
                place.see_arrived(client, letter)
            else:
                assert getattr(sent.error, "is_transient", False), repr(sent.error)
                assert not place.server.found(letter.token)
        if own in place.server.endpoints:
            assert [sent.outcome for sent in told] == ["accepted"] * 2 + ["refused"] * 3
        else:
            assert [sent.outcome for sent in told] == ["accepted"] * 5
    return None


# Ends


def _goes_on(place: Place, client: Client, letter: Letter) -> None:
    """Send over a connection that is gone: once, by itself or after the caller was told."""
    sent = client.send(letter)
    if sent.error is not None:
        assert not client.keeps_trying, repr(sent.error)
        assert sent.outcome == "not_sent"
        assert not place.server.found(letter.token)
        sent = client.send(letter)
    assert sent == Sent()
    place.see_arrived(client, letter)


@scenario("an idle connection that the server closed")
def _(place: Place) -> None:
    with place.client("idle") as client:
        place.deliver(client, Letter())
        dovecot: Dovecot | None = getattr(place.server, "dovecot", None)
        if dovecot is None:
            time.sleep(1.7)
            tally.cuts["idle"] += 1
        else:  # Its five minutes are fixed: the process that holds the connection is ended.
            dovecot.hang_up(place.server.process)  # type: ignore[attr-defined]
            tally.cuts["its process ended"] += 1
        _goes_on(place, client, Letter())


@scenario("a restart between two messages")
def _(place: Place) -> None:
    with place.client() as client:
        place.deliver(client, Letter())
        place.server.restart()
        tally.cuts["restart between two messages"] += 1
        _goes_on(place, client, Letter())


@scenario("a restart in the middle of a message")
def _(place: Place) -> None:
    with Relay(place.server.endpoint()) as relay:
        with place.client(port=relay.port, path=relay.path) as client:
            place.deliver(client, Letter())
            relay.after(150_000, place.server.restart)
            _goes_on(place, client, Letter(("y" * 70 + "\n") * 75_000))
        assert relay.connections == 2
        tally.cuts["restart within a message"] += 1
