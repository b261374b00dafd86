"""Subclasses: what they override is called, with the same arguments and in the same order."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from support.conformance import OURS, Raised, Scenario, World
from support.talk import Talk

OVERRIDDEN = (
    "connect",
    "send",
    "putcmd",
    "getreply",
    "docmd",
    "helo",
    "ehlo",
    "has_extn",
    "help",
    "rset",
    "noop",
    "mail",
    "rcpt",
    "data",
    "verify",
    "expn",
    "ehlo_or_helo_if_needed",
    "auth",
    "login",
    "auth_cram_md5",
    "auth_plain",
    "auth_login",
    "starttls",
    "sendmail",
    "send_message",
    "close",
    "quit",
    "set_debuglevel",
    "_get_socket",
    "_rset",
    "_print_debug",
)


def tracing(base: Any, calls: list[Any]) -> Any:
    """A subclass that overrides everything, and notes each call."""

    def override(name: str) -> Any:
        def method(self: Any, *args: Any, **options: Any) -> Any:
            calls.append((name, *args, *sorted(options.items())))
            return getattr(super(cls, self), name)(*args, **options)

        return method

    cls = type("Tracing", (base,), {name: override(name) for name in OVERRIDDEN})
    return cls


def shown(call: tuple[Any, ...]) -> tuple[Any, ...]:
    """Without what differs from run to run or is documented to differ."""
    return tuple(getattr(part, "__name__", part) for part in call)


def traced(call: Any, kind: str = "SMTP") -> Any:
    def run(world: World) -> Any:
        calls: list[Any] = []
        client = world.keep(tracing(getattr(world.lib, kind), calls)(**world.options()))
        result = Raised.by(lambda: call(client))
        # When and how often the connection is closed is ours to say, and has scenarios of
        # its own; FROM and TO are in capitals up to Python 3.12.
        return result, [
            tuple(str(part).lower().replace(str(world.port), "PORT") for part in shown(done))
            for done in calls
            if done[0] not in ("close", "send", "has_extn")
        ]

    return run


ALL_AUTH = "250-a\r\n250-AUTH PLAIN LOGIN CRAM-MD5\r\n250 SIZE"
A, B, C = "a@a.test", "b@b.test", "c@c.test"

SCENARIOS = [
    Scenario(
        "sendmail", traced(lambda c: c.sendmail(A, [B, C], "x", ["BODY=7BIT"], ["NOTIFY=NEVER"]))
    ),
    Scenario(
        "sendmail, sender refused", traced(lambda c: c.sendmail(A, [B], "x")), Talk(mail="550 no")
    ),
    Scenario(
        "sendmail, recipients refused",
        traced(lambda c: c.sendmail(A, [B, C], "x")),
        Talk(rcpt="550 no"),
    ),
    Scenario(
        "sendmail, content refused",
        traced(lambda c: c.sendmail(A, [B], "x")),
        Talk(content="550 no"),
    ),
    Scenario("sendmail by helo", traced(lambda c: c.sendmail(A, [B], "x")), Talk(ehlo="500 no")),
    Scenario(
        "login",
        traced(lambda c: c.login("u", "p")),
        Talk(ehlo=ALL_AUTH, auth=["334 YQ==", "535 no", "535 no"], response=["535 no"]),
    ),
    Scenario("verify", traced(lambda c: (c.verify(A), c.vrfy(A)))),
    Scenario(
        "the others",
        traced(lambda c: (c.noop(), c.rset(), c.help(), c.expn(A), c.docmd("X"), c.quit())),
    ),
    Scenario("lmtp", traced(lambda c: (c.sendmail(A, B, "x"), c.quit()), "LMTP")),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_what_a_subclass_overrides_is_called_as_in_the_standard_library(scenario: Scenario) -> None:
    scenario.check()


def overriding(**methods: Any) -> Any:
    """A scenario's call with a subclass that has these methods."""

    def run(world: World) -> Any:
        cls = type("Custom", (world.lib.SMTP,), methods)
        client = world.keep(cls(**world.options()))
        return client.sendmail(A, [B, C], "x")

    return run


def paired_socket(self: Any, host: str, port: int, timeout: float) -> socket.socket:
    ours, theirs = socket.socketpair()

    def play() -> None:
        with theirs:
            theirs.sendall(b"220 a socket of my own\r\n")
            theirs.recv(1000)
            theirs.sendall(b"250 ok\r\n")
            theirs.recv(1000)

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    return ours


RESULTS = [
    Scenario(
        "a putcmd that rewrites",
        overriding(
            putcmd=lambda self, cmd, args="": super(type(self), self).putcmd(cmd.upper(), args)
        ),
    ),
    Scenario(
        "a getreply that knows better",
        overriding(
            getreply=lambda self: (lambda reply: (250, reply[1]) if reply[0] == 550 else reply)(
                super(type(self), self).getreply()
            )
        ),
        Talk(rcpt="550 no"),
    ),
    Scenario(
        "a rcpt that refuses",
        overriding(
            rcpt=lambda self, recip, options=(): (
                (550, b"mine") if recip == B else super(type(self), self).rcpt(recip, options)
            )
        ),
    ),
    Scenario(
        "a mail that refuses", overriding(mail=lambda self, sender, options=(): (550, b"mine"))
    ),
    Scenario("a data that refuses", overriding(data=lambda self, msg: (554, b"mine"))),
    Scenario(
        "a data that raises",
        overriding(data=lambda self, msg: 1 // 0),
        differs="transaction-ended",
        ours={
            "wire": [
                b"ehlo client.test\r\nmail from:<a@a.test> size=1\r\nrcpt to:<b@b.test>\r\n"
                b"rcpt to:<c@c.test>\r\nrset\r\n"
            ]
        },
    ),
    Scenario("an rset that does nothing", overriding(rset=lambda self: None), Talk(mail="550 no")),
    Scenario(
        "an ehlo() defined by the subclass",
        overriding(ehlo=lambda self, name="": super(type(self), self).ehlo("mine.test")),
    ),
    Scenario("a has_extn that knows of nothing", overriding(has_extn=lambda self, opt: False)),
    Scenario(
        "a send that counts",
        overriding(
            send=lambda self, s: (
                self.__dict__.setdefault("sizes", []).append(len(s)),
                super(type(self), self).send(s),
            )
        ),
    ),
    Scenario("attributes of the class", overriding(ehlo_msg="EHLO", default_port=26)),
    Scenario(
        "a socket made by the subclass",
        lambda world: (
            client := world.keep(
                type("Custom", (world.lib.SMTP,), {"_get_socket": paired_socket})(
                    "example.test", 26, "client.test"
                )
            ),
            client.noop(),
        )[1],
    ),
    Scenario("a socket put in its place", lambda world: put_in_place(world)),
]


def put_in_place(world: World) -> Any:
    """As in programs that bring their own TLS or proxy."""
    client = world.keep(world.lib.SMTP(local_hostname="client.test"))
    client.sock = socket.create_connection((world.host, world.port), 5)
    client.file = None
    return client.getreply(), client.sendmail(A, [B], "x"), client.quit()


@pytest.mark.parametrize("scenario", RESULTS, ids=str)
def test_a_subclass_has_the_same_effect_as_in_the_standard_library(scenario: Scenario) -> None:
    scenario.check()


def test_a_subclass_may_close_what_it_makes_after_the_constructor() -> None:
    class Custom(OURS.SMTP):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(local_hostname="a.test")
            self.log: list[str] = []

        def close(self) -> None:
            self.log.append("closed")
            super().close()

    client = Custom()
    client.close()
    assert client.log == ["closed"]


def test_starttls_goes_through_docmd() -> None:
    calls: list[Any] = []
    cls = tracing(OURS.SMTP, calls)
    Scenario(
        "starttls refused",
        lambda w: Raised.by(w.keep(cls(**w.options())).starttls),
        Talk(ehlo="250-a\r\n250 STARTTLS", starttls="454 no"),
    ).play(OURS)
    assert ("docmd", "STARTTLS") in calls


def test_login_uses_an_auth_object_of_the_subclass_for_any_mechanism() -> None:
    """docs/smtplib.md: `auth-mechanisms`"""

    class Custom(OURS.SMTP):  # type: ignore[misc, name-defined]
        def auth_scram_sha_256(self, challenge: bytes | None = None) -> str:
            return "mine"

    seen = Scenario(
        "own object",
        lambda w: w.keep(Custom(**w.options())).login("u", "p"),
        Talk(ehlo="250-a\r\n250 AUTH SCRAM-SHA-256"),
    ).play(OURS)
    assert seen["wire"] == [b"ehlo client.test\r\nAUTH SCRAM-SHA-256 bWluZQ==\r\n"]
