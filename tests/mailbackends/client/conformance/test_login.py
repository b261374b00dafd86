"""login(), auth() and the auth objects: as the standard library has them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from support.conformance import Raised, Scenario, World, on_client
from support.talk import HANG_UP, Talk

USER, PASSWORD = "user@b.test", "pass word"
CHALLENGE = "334 " + base64.b64encode(b"<1896.697170952@postoffice.test>").decode()
NAME, PASS = "334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"
NO = "535 5.7.8 No"


def announcing(line: str, /, **answers: Any) -> Talk:
    return Talk(ehlo=f"250-mail.test\r\n250-{line}\r\n250 SIZE", **answers)


def logged_in(user: str = USER, password: Any = PASSWORD, **options: Any) -> Any:
    return on_client(lambda client: client.login(user, password, **options))


def with_object(mechanism: str, authobject: Any, **options: Any) -> Any:
    return on_client(lambda client: client.auth(mechanism, authobject, **options))


class Answers:
    """An auth object that notes what it is asked."""

    def __init__(self, *answers: str | None) -> None:
        self.answers = answers
        self.asked: list[Any] = []

    def __call__(self, *challenge: bytes) -> str | None:
        self.asked.append(challenge)
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


def asked(*answers: str | None, **options: Any) -> Callable[[World], Any]:
    def call(world: World) -> Any:
        authobject = Answers(*answers)
        return world.client().auth("x-any", authobject, **options), authobject.asked

    return call


def own_object(method: str) -> Callable[[World], Any]:
    """What the client's own auth object gives to a challenge."""

    def call(world: World) -> Any:
        client = world.client()
        client.user, client.password = USER, PASSWORD
        given = getattr(client, method)
        return given(), given(b"challenge"), given(challenge=b"challenge")

    return call


def no_auth_object(challenge: Any = None) -> str:
    raise LookupError("the program's own fault")


def failing_at_challenge(challenge: Any = None) -> str | None:
    return None if challenge is None else no_auth_object()


PLAIN = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode())
HELLO = b"ehlo client.test\r\n"
ENDLESS = "Server AUTH mechanism infinite loop: the connection is closed"

SCENARIOS = [
    Scenario("no auth announced", logged_in()),
    Scenario("helo only", logged_in(), Talk(ehlo="500 what?")),
    Scenario("no hello at all", logged_in(), Talk(ehlo="500 what?", helo="500 what?")),
    Scenario("plain", logged_in(), announcing("AUTH PLAIN")),
    Scenario("plain in the old style", logged_in(), announcing("AUTH=PLAIN")),
    Scenario("plain refused", logged_in(), announcing("AUTH PLAIN", auth=NO)),
    Scenario("plain, and already logged in", logged_in(), announcing("AUTH PLAIN", auth="503 yes")),
    Scenario("plain, and 334 for more", logged_in(), announcing("AUTH PLAIN", auth="334 ")),
    Scenario(
        "plain without initial response",
        logged_in(initial_response_ok=False),
        announcing("AUTH PLAIN", auth="334 "),
    ),
    Scenario("login", logged_in(), announcing("AUTH LOGIN", auth=PASS)),
    Scenario(
        "login without initial response",
        logged_in(initial_response_ok=False),
        announcing("AUTH LOGIN", auth=NAME, response=[PASS]),
    ),
    Scenario("login refused at once", logged_in(), announcing("AUTH LOGIN", auth=NO)),
    Scenario("login refused", logged_in(), announcing("AUTH LOGIN", auth=PASS, response=NO)),
    Scenario("cram-md5", logged_in(), announcing("AUTH CRAM-MD5", auth=CHALLENGE)),
    Scenario(
        "cram-md5 refused", logged_in(), announcing("AUTH CRAM-MD5", auth=CHALLENGE, response=NO)
    ),
    Scenario(
        "from strong to weak",
        logged_in(),
        announcing("AUTH LOGIN PLAIN CRAM-MD5", auth=[CHALLENGE, NO, PASS], response=[NO]),
    ),
    Scenario(
        "from strong to weak, and all refused",
        logged_in(),
        announcing("AUTH LOGIN PLAIN CRAM-MD5", auth=[CHALLENGE, "504 a", "534 b"], response=[NO]),
    ),
    Scenario("the first that works", logged_in(), announcing("AUTH PLAIN LOGIN", auth=[NO, PASS])),
    Scenario("the end of the connection", logged_in(), announcing("AUTH PLAIN", auth=HANG_UP)),
    Scenario("no mechanism in common", logged_in(), announcing("AUTH GSSAPI NTLM")),
    Scenario("auth without mechanisms", logged_in(), announcing("AUTH")),
    Scenario("user and password are kept", lambda w: kept(w), announcing("AUTH PLAIN")),
    # auth() with an auth object of the program's
    Scenario("an initial response", asked("first", "second")),
    Scenario("an initial response and a challenge", asked("a", "b"), Talk(auth="334 Y2hhbA==")),
    Scenario("no initial response", asked(None, "answer"), Talk(auth="334 Y2hhbA==")),
    Scenario(
        "an initial response that is not wanted",
        asked("answer", initial_response_ok=False),
        Talk(auth="334 Y2hhbA=="),
    ),
    Scenario("an empty challenge", asked(None, "answer"), Talk(auth="334 ")),
    Scenario("a challenge without space", asked(None, "answer"), Talk(auth="334")),
    Scenario("an empty answer", asked(None, ""), Talk(auth="334 Y2hhbA==")),
    Scenario("a long answer", asked(None, "x" * 500), Talk(auth="334 ")),
    Scenario("a long initial response", asked("x" * 500)),
    Scenario("a challenge that is nearly base64", asked(None, "a"), Talk(auth="334 Y2hh:bA== ")),
    Scenario("auth refused", asked("a"), Talk(auth=NO)),
    Scenario("auth answered 250", asked("a"), Talk(auth="250 ok")),
    Scenario("auth answered 503", asked("a"), Talk(auth="503 enough")),
    Scenario("auth answered 354", asked("a"), Talk(auth="354 enough")),
    Scenario("a fault of the auth object's", with_object("plain", no_auth_object)),
    Scenario("auth before ehlo", with_object("plain", lambda challenge=None: "a")),
    Scenario("auth plain object", own_object("auth_plain")),
    Scenario("auth login object", own_object("auth_login")),
    Scenario("auth cram-md5 object", own_object("auth_cram_md5")),
    Scenario("auth with the client's own object", lambda w: own_auth(w), announcing("AUTH PLAIN")),
    # Deliberate differences
    Scenario(
        "an endless exchange",
        with_object("x", lambda challenge=None: "a"),
        Talk(auth="334 YQ==", response="334 YQ=="),
        differs="auth-endless",
        ours={
            "result": Raised("SMTPException", (ENDLESS,), ENDLESS),
            "closed": True,
        },
    ),
    Scenario(
        "mechanisms in lower case",
        logged_in(),
        announcing("AUTH plain"),
        differs="auth-mechanisms",
        ours={
            "result": (235, b"2.7.0 Welcome"),
            "wire": [HELLO + b"AUTH PLAIN " + PLAIN + b"\r\n"],
        },
    ),
    Scenario(
        "credentials that are not ASCII",
        logged_in("jörg", "paß"),
        announcing("AUTH PLAIN"),
        differs="auth-unicode",
        ours={
            "result": (235, b"2.7.0 Welcome"),
            "wire": [HELLO + b"AUTH PLAIN " + base64.b64encode("\0jörg\0paß".encode()) + b"\r\n"],
        },
    ),
    Scenario(
        "no password",
        logged_in(USER, ""),
        announcing("AUTH PLAIN"),
        differs="auth-unicode",
        ours={
            "result": Raised(
                "SMTPAuthenticationError",
                (535, b"the password is empty"),
                "(535, b'the password is empty')",
            ),
            "wire": [HELLO],
        },
    ),
    Scenario(
        "an empty initial response",
        asked(""),
        differs="auth-empty",
        ours={"wire": [b"AUTH X-ANY =\r\n"]},
    ),
    Scenario(
        "a challenge that is not base64",
        asked(None, "answer"),
        Talk(auth="334 abcde", response="501 cancelled"),
        differs="auth-cancelled",
        ours={
            "result": Raised(
                "SMTPAuthenticationError",
                (535, b"the server's challenge is not base64"),
                '(535, b"the server\'s challenge is not base64")',
            ),
            "wire": [b"AUTH X-ANY\r\n*\r\n"],
            "closed": True,
        },
    ),
    Scenario(
        "a fault of the auth object's at a challenge",
        with_object("x-any", failing_at_challenge),
        Talk(auth="334 ", response="501 cancelled"),
        differs="auth-cancelled",
        ours={"wire": [b"AUTH X-ANY\r\n*\r\n"]},
    ),
    Scenario(
        "LOGIN asked for the name a second time",
        logged_in(),
        announcing("AUTH LOGIN", auth=NAME, response=[PASS]),
        differs="auth-login-prompt",
        ours={
            "wire": [
                HELLO
                + b"AUTH LOGIN %s\r\n" % base64.b64encode(USER.encode())
                + base64.b64encode(USER.encode())
                + b"\r\n"
                + base64.b64encode(PASSWORD.encode())
                + b"\r\n"
            ],
        },
    ),
    Scenario(
        "421 in place of 235",
        logged_in(),
        announcing("AUTH PLAIN LOGIN", auth="421 4.7.0 too many"),
        differs="421-closes",
        ours={
            "result": Raised(
                "SMTPAuthenticationError", (421, b"4.7.0 too many"), "(421, b'4.7.0 too many')"
            ),
        },
    ),
]


def kept(world: World) -> Any:
    client = world.client()
    client.login(USER, PASSWORD)
    return client.user, client.password


def own_auth(world: World) -> Any:
    client = world.client()
    client.ehlo()
    client.user, client.password = USER, PASSWORD
    return client.auth("plain", client.auth_plain)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_logging_in_is_as_in_the_standard_library(scenario: Scenario) -> None:
    scenario.check()
