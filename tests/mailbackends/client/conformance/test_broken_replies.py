"""Replies that are malformed, unexpected or too slow: ours raises, and smtplib goes on."""

from __future__ import annotations

import time
from typing import Any

import pytest

from support.conformance import OURS, Raised, Scenario, World, on_client
from support.peer import Peer
from support.talk import HANG_UP, Talk, TalkServer


def protocol_error(text: bytes) -> Raised:
    return Raised("SMTPProtocolError", (500, text), str((500, text)))


def noop_gets(name: str, reply: Any, text: bytes, **ours: Any) -> Scenario:
    return Scenario(
        name,
        on_client(lambda client: client.noop()),
        Talk(noop=reply),
        differs="garbled-reply",
        ours={"result": protocol_error(text), **ours},
    )


def slowly(peer: Peer) -> None:
    """Each byte within the timeout, and the reply as a whole not."""
    for byte in b"250 o":
        peer.send(bytes([byte]))
        time.sleep(0.15)
    peer.send(b"k\r\n")


def in_block(world: World) -> None:
    with world.client():
        pass


SCENARIOS = [
    Scenario(
        "no reply to the QUIT of a with block",
        in_block,
        Talk(quit=b"bye\r\n"),
        differs="garbled-reply",
        ours={"result": protocol_error(b"No reply code: bye")},
    ),
    noop_gets("no code", b"what?\r\n", b"No reply code: what?", closed=True),
    noop_gets("an empty line", b"\r\n", b"No reply code: ", closed=True),
    noop_gets("a code of two digits", b"25 ok\r\n", b"No reply code: 25 ok", closed=True),
    noop_gets("a code with a sign", b"+25 ok\r\n", b"No reply code: +25 ok", closed=True),
    noop_gets("a code with a space", b" 25 ok\r\n", b"No reply code: 25 ok", closed=True),
    noop_gets(
        "a code in other digits",
        "\uff125 ok\r\n".encode(),
        "No reply code: \uff125 ok".encode(),
        closed=True,
    ),
    noop_gets(
        "no code within a reply",
        b"250-a\r\nwhat?\r\n250 b\r\n",
        b"No reply code: what?",
        closed=True,
    ),
    noop_gets(
        "a code that changes",
        b"250-a\r\n550 b\r\n",
        b"Reply code changed from 250 to 550 within a reply.",
        closed=True,
    ),
    noop_gets("a line that is too long", b"250 " + b"x" * 9000 + b"\r\n", b"Line too long."),
    noop_gets(
        "a reply that is too long",
        b"250-" + b"x" * 1000 + b"\r\n" + (b"250-" + b"x" * 1000 + b"\r\n") * 300 + b"250 ok\r\n",
        b"Reply too long.",
        closed=True,
    ),
    Scenario(
        "no code in place of the greeting",
        lambda world: bool(world.client()),
        Talk(connect=b"SSH-2.0-OpenSSH\r\n"),
        differs="garbled-reply",
        ours={"result": protocol_error(b"No reply code: SSH-2.0-OpenSSH")},
    ),
    Scenario(
        "an unexpected reply",
        on_client(lambda client: client.sendmail("a@a.test", "b@b.test", "x")),
        Talk(connect=b"220 hi\r\n250 not asked\r\n"),
        differs="unasked-reply",
        ours={
            "result": protocol_error(b"The server sent a reply that no command asked for."),
            "wire": [b""],
            "closed": True,
            "ehlo_resp": None,
            "does_esmtp": False,
        },
    ),
    Scenario(
        "a reply to the content before the content",
        on_client(lambda client: client.data("x")),
        Talk(data=b"354 go\r\n250 taken\r\n"),
        differs="unasked-reply",
        ours={
            "result": protocol_error(b"The server sent a reply that no command asked for."),
            "wire": [b"data\r\n"],
            "closed": True,
        },
    ),
    Scenario(
        "an unexpected 421",
        on_client(lambda client: client.noop()),
        Talk(connect=b"220 hi\r\n421 idle\r\n"),
        differs="421-closes",
        ours={"closed": True, "wire": [b""]},
    ),
    Scenario(
        "a reply that takes longer than the timeout, byte by byte",
        lambda world: world.client(timeout=0.5).noop(),
        Talk(noop=slowly),
        differs="reply-in-time",
        ours={
            "result": Raised(
                "SMTPTimeoutError",
                ("Connection unexpectedly closed: timed out",),
                "Connection unexpectedly closed: timed out",
            ),
            "closed": True,
        },
    ),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_broken_reply_ends_the_connection(scenario: Scenario) -> None:
    scenario.check()


def test_in_a_with_block_a_broken_quit_does_not_hide_the_blocks_own_exception() -> None:
    """docs/smtplib.md: `exit-keeps-error`"""
    with TalkServer(Talk(quit=b"bye\r\n")) as server:
        client = OURS.SMTP(server.host, server.port, "a.test", 5)
        with pytest.raises(KeyError, match="own"), client:
            raise KeyError("own")
        assert client.sock is None


def test_the_reply_that_a_server_sends_before_it_closes_is_in_the_exception() -> None:
    """docs/smtplib.md: `last-words`"""

    def data(peer: Peer) -> None:
        peer.send(b"354 go\r\n")
        peer.fill()
        peer.send(b"552 5.3.4 too large\r\n")
        HANG_UP(peer)

    with TalkServer(Talk(data=data)) as server:
        client = OURS.SMTP(server.host, server.port, "a.test", 5)
        with pytest.raises(OURS.SMTPServerDisconnected, match="Server not connected") as caught:
            client.data(b"x" * 20_000_000)
        assert str(caught.value.reply) == "552 5.3.4 too large"
        assert caught.value.is_transient is False
        assert client.sock is None


class Interruption(BaseException):
    """As KeyboardInterrupt, or gevent's Timeout."""


@pytest.mark.parametrize("method", ["recv", "sendall"])
def test_an_interruption_closes_the_connection_since_the_late_reply_would_answer_another_command(
    method: str,
) -> None:
    """docs/smtplib.md: `interrupted`"""

    class Interrupted:
        """A socket that is interrupted once."""

        def __init__(self, sock: Any) -> None:
            self._sock = sock

        def __getattr__(self, name: str) -> Any:
            if name == method:
                raise Interruption
            return getattr(self._sock, name)

    with TalkServer(Talk()) as server:
        client = OURS.SMTP(server.host, server.port, "a.test", 5)
        client.sock = Interrupted(client.sock)
        with pytest.raises(Interruption):
            client.noop()
        assert client.sock is None


def test_the_timeout_of_the_socket_applies_and_is_not_changed() -> None:
    """docs/smtplib.md: `reply-in-time`"""
    with TalkServer(Talk(noop=slowly)) as server:
        client = OURS.SMTP(server.host, server.port, "a.test", 5)
        client.sock.settimeout(7)
        assert client.noop() == (250, b"ok")
        assert client.sock.gettimeout() == 7
        client.close()
