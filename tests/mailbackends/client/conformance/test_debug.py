"""set_debuglevel(): the standard library's output, without credentials."""

from __future__ import annotations

import base64
import contextlib
import io
import re
from typing import Any

import pytest

from support.conformance import OURS, THEIRS, Raised, Scenario, World
from support.talk import Talk, TalkServer

USER, PASSWORD = "user@b.test", "correct horse"
PLAIN = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
AUTH = Talk(ehlo="250-mail.test\r\n250 AUTH PLAIN LOGIN CRAM-MD5")


def debugging(call: Any, level: int = 1) -> Any:
    def run(world: World) -> Any:
        client = world.keep(world.lib.SMTP(local_hostname="client.test", timeout=5))
        client.set_debuglevel(level)
        client.connect(world.host, world.port)
        return call(client)

    return run


def refused(world: World, kind: str, **address: Any) -> Any:
    """The exception for a port on which nothing listens."""
    client = world.keep(getattr(world.lib, kind)(local_hostname="client.test", timeout=5))
    client.set_debuglevel(1)
    return Raised.by(lambda: client.connect(**address))


def stderr_of(lib: Any, talk: Talk, call: Any, level: int = 1) -> str:
    with TalkServer(talk) as server, contextlib.redirect_stderr(io.StringIO()) as stderr:
        world = World(lib, server)
        with contextlib.suppress(Exception):
            debugging(call, level)(world)
        for client in world.clients:
            client.close()
        return stderr.getvalue().replace(str(server.port), "PORT")


SAID = (
    "connect: to ('127.0.0.1', PORT) None\n"
    "reply: b'220 mail.test ESMTP\\r\\n'\n"
    "reply: retcode (220); Msg: b'mail.test ESMTP'\n"
    "connect: b'mail.test ESMTP'\n"
    "send: VALUE\n"
    "reply: b'250 2.0.0 Ok\\r\\n'\n"
    "reply: retcode (250); Msg: b'2.0.0 Ok'\n"
)
SCENARIOS = [
    Scenario("connect", debugging(lambda c: None)),
    Scenario("a greeting of many lines", debugging(lambda c: None), Talk(connect="220-a\r\n220 b")),
    Scenario(
        "a whole session", debugging(lambda c: (c.sendmail("a@a.test", "b@b.test", "x"), c.quit()))
    ),
    Scenario(
        "a reply with odd bytes", debugging(lambda c: c.noop()), Talk(noop=b"250 \xff \t\r\n")
    ),
    Scenario(
        "a refusal",
        debugging(lambda c: c.sendmail("a@a.test", "b@b.test", "x")),
        Talk(content="554 no"),
    ),
    Scenario("data refused", debugging(lambda c: c.data("x")), Talk(data="503 no")),
    Scenario("send of bytes", debugging(lambda c: (c.send(b"noop\r\n"), c.getreply()))),
    Scenario(
        "smtp_ssl",
        lambda w: refused(w, "SMTP_SSL", host="127.0.0.1", port=1),
    ),
    Scenario("lmtp without a socket there", lambda w: refused(w, "LMTP", host="/no/such/socket")),
    Scenario(
        "send of a memoryview",
        debugging(lambda c: (c.send(memoryview(b"noop\r\n")), c.getreply())),
        differs="debug-masked",
        ours={"stderr": SAID.replace("VALUE", "b'noop\\r\\n'")},
    ),
    Scenario("no debugging", debugging(lambda c: c.ehlo(), level=0)),
    Scenario("debugging switched off", debugging(lambda c: (c.set_debuglevel(False), c.ehlo()))),
    Scenario("debugging with True", debugging(lambda c: c.ehlo(), level=True)),
    Scenario(
        "auth without initial response",
        debugging(lambda c: c.docmd("AUTH", "LOGIN")),
        Talk(auth="535 no"),
    ),
    Scenario(
        "a login",
        debugging(lambda c: c.login(USER, PASSWORD)),
        Talk(ehlo="250-mail.test\r\n250 AUTH PLAIN"),
        differs="debug-masked",
        ours={
            "stderr": "connect: to ('127.0.0.1', PORT) None\n"
            "reply: b'220 mail.test ESMTP\\r\\n'\n"
            "reply: retcode (220); Msg: b'mail.test ESMTP'\n"
            "connect: b'mail.test ESMTP'\n"
            "send: 'ehlo client.test\\r\\n'\n"
            "reply: b'250-mail.test\\r\\n'\n"
            "reply: b'250 AUTH PLAIN\\r\\n'\n"
            "reply: retcode (250); Msg: b'mail.test\\nAUTH PLAIN'\n"
            "send: 'AUTH PLAIN ***\\r\\n'\n"
            "reply: b'235 2.7.0 Welcome\\r\\n'\n"
            "reply: retcode (235); Msg: b'2.7.0 Welcome'\n"
        },
    ),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_debug_output_is_as_in_the_standard_library(scenario: Scenario) -> None:
    scenario.check()


def test_level_2_adds_the_time_of_day() -> None:
    for lib in (THEIRS, OURS):
        lines = stderr_of(lib, Talk(), lambda c: c.noop(), level=2).splitlines()
        assert len(lines) > 4
        assert all(re.match(r"\d\d:\d\d:\d\d\.\d+ \w+:", line) for line in lines)


# What only ours does; docs/smtplib.md: `debug-masked`

SECRETS = {
    PLAIN,
    base64.b64encode(PASSWORD.encode()).decode(),
    base64.b64encode(USER.encode()).decode(),
    PASSWORD,
}
NAME, PASS, NO = "334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "535 no"


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize(
    ("talk", "call"),
    [
        (Talk(ehlo="250-a\r\n250 AUTH PLAIN"), lambda c: c.login(USER, PASSWORD)),
        (
            Talk(ehlo="250-a\r\n250 AUTH PLAIN", auth="334 "),
            lambda c: c.login(USER, PASSWORD, initial_response_ok=False),
        ),
        (Talk(ehlo="250-a\r\n250 AUTH LOGIN", auth=PASS), lambda c: c.login(USER, PASSWORD)),
        (
            Talk(ehlo="250-a\r\n250 AUTH LOGIN", auth=NAME, response=[PASS]),
            lambda c: c.login(USER, PASSWORD, initial_response_ok=False),
        ),
        (
            Talk(ehlo="250-a\r\n250 AUTH PLAIN", auth=f"535 what is {PLAIN}?"),
            lambda c: c.login(USER, PASSWORD),
        ),
        (Talk(), lambda c: c.docmd("AUTH", f"PLAIN {PLAIN}")),
        (Talk(), lambda c: c.docmd(f"auth plain {PLAIN}")),
        (Talk(), lambda c: c.send(f"NOOP\r\nAUTH PLAIN {PLAIN}\r\n".encode())),
        (Talk(), lambda c: c.auth("x-any", lambda challenge=None: f"\0{USER}\0{PASSWORD}")),
        (Talk(auth="334 "), lambda c: (c.docmd("AUTH", "PLAIN"), c.docmd(PLAIN))),
        (Talk(auth="334 "), lambda c: (c.docmd("AUTH", "PLAIN"), c.send(PLAIN + "\r\n"))),
        (Talk(auth="334 "), lambda c: (c.docmd("AUTH", "PLAIN"), c.docmd(PLAIN + "\n"))),
    ],
)
def test_no_debug_output_shows_credentials(talk: Talk, call: Any, level: int) -> None:
    shown = stderr_of(OURS, talk, call, level)
    assert "AUTH" in shown.upper()
    for secret in SECRETS:
        assert secret not in shown


def test_an_error_for_a_line_break_does_not_show_credentials_either() -> None:
    with TalkServer(Talk(auth="334 ")) as server:
        client = OURS.SMTP(server.host, server.port, "a.test", 5)
        with pytest.raises(ValueError, match="prohibited newline") as caught:
            client.docmd("AUTH", f"PLAIN {PLAIN}\n")
        assert PLAIN not in str(caught.value)
        client.close()


def test_other_commands_are_shown_after_a_login() -> None:
    shown = stderr_of(OURS, AUTH, lambda c: (c.login(USER, PASSWORD), c.docmd("NOOP", "visible")))
    assert "NOOP visible" in shown
