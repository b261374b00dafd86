"""The rows of the table: what is sent, and what must come of it.

A scenario returns None where all went as it should, or says in a few words what the
server cannot do, once it is proven that the client told so. ``needs`` names what a server
may lack; its own reason then stands in the cell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mailbackends
from interop.letters import Letter
from interop.place import Place

__all__ = ["SCENARIOS", "Scenario", "scenario"]

Play = Callable[[Place], "str | None"]
MECHANISMS = (
    "PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER",
)  # fmt: skip
HOW_LARGE = 25 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Scenario:
    """A row. ``is_heavy``: in the gate through one client only."""

    name: str
    play: Play
    needs: str
    is_heavy: bool = False


SCENARIOS: dict[str, Scenario] = {}


def scenario(name: str, *, needs: str = "", is_heavy: bool = False) -> Callable[[Play], Play]:
    """Put a function into the table."""

    def keep(play: Play) -> Play:
        SCENARIOS[name] = Scenario(name, play, needs or name, is_heavy)
        return play

    return keep


# The ways in


@scenario("plain")
def _(place: Place) -> None:
    with place.client() as client:
        place.deliver(client, Letter(), Letter())


@scenario("STARTTLS", needs="nothing")
def _(place: Place) -> str | None:
    with place.client(security="starttls") as client:
        if "STARTTLS" not in place.server.lacks:
            place.deliver(client, Letter(), Letter())
            return None
        letter = Letter()
        assert isinstance(client.send(letter).error, mailbackends.SMTPNotSupportedError)
    assert not place.server.found(letter.token)
    return "not announced; nothing is sent in clear"


@scenario("implicit TLS", needs="nothing")
def _(place: Place) -> str | None:
    if place.server.protocol == "lmtp" and place.kind.name == "SMTP":
        return "the interface of smtplib has no LMTP under TLS from the first byte"
    with place.client("tls", security="tls") as client:
        if "implicit TLS" not in place.server.lacks:
            place.deliver(client, Letter(), Letter())
            return None
        letter = Letter()
        sent = client.send(letter)
    assert isinstance(sent.error, mailbackends.SMTPTLSError), repr(sent.error)
    assert not place.server.found(letter.token)
    return place.server.lacks["implicit TLS"]


def _login(mechanism: str) -> Play:
    def play(place: Place) -> str | None:
        with place.client(mechanism=mechanism) as client:
            if mechanism in place.server.mechanisms:
                place.deliver(client, Letter())
                return None
            sent = client.send(Letter())
        assert isinstance(sent.error, mailbackends.SMTPException)
        is_refused = isinstance(sent.error, mailbackends.SMTPAuthenticationError)
        assert is_refused is (mechanism in place.server.announced_in_vain)
        return place.server.lacks["AUTH"] if is_refused else "not announced; the client says so"

    return play


for _mechanism in MECHANISMS:
    scenario(f"login with {_mechanism}", needs="nothing")(_login(_mechanism))


@scenario("wrong password", needs="AUTH")
def _(place: Place) -> None:
    with place.client(mechanism="PLAIN", password="not-this-one") as client:
        sent = client.send(Letter())
    assert isinstance(sent.error, mailbackends.SMTPAuthenticationError)
    # The interface of smtplib logs in where there is no message yet.
    assert sent.outcome == "not_sent" or place.kind.name == "SMTP"
    assert "not-this-one" not in f"{sent.error}{sent.error!r}{vars(sent.error)}"


@scenario("wrong token", needs="AUTH")
def _(place: Place) -> str | None:
    if "XOAUTH2" not in place.server.mechanisms:
        return "XOAUTH2 not announced"
    with place.client(mechanism="XOAUTH2", password="not-this-one") as client:
        sent = client.send(Letter())
    assert isinstance(sent.error, mailbackends.SMTPAuthenticationError), repr(sent.error)
    assert "not-this-one" not in f"{sent.error}{sent.error!r}{vars(sent.error)}"
    return None


# Refusals


@scenario("one of three recipients refused", needs="one refused")
def _(place: Place) -> None:
    letter = Letter(people=("a", "refused", "b"))
    with place.client() as client:
        sent = client.send(letter)
        assert sent.refused == {letter.recipients[1]: 550}
        assert sent.error is None
        place.see_arrived(client, letter, refused=[letter.recipients[1]])
        place.deliver(client, Letter())


@scenario("all recipients refused")
def _(place: Place) -> None:
    letter = Letter(people=("refused", "refused2"))
    with place.client("all refused") as client:
        sent = client.send(letter)
        place.see_refused(sent)
        assert isinstance(sent.error, mailbackends.SMTPRecipientsRefused)
        assert set(sent.error.recipients) == set(letter.recipients)
        if place.server.endpoint("all refused") == place.server.endpoint():
            place.deliver(client, Letter())
    assert not place.server.found(letter.token)


@scenario("temporary refusal")
def _(place: Place) -> None:
    letter = Letter(people=("later",))
    with place.client("temporary refusal") as client:
        place.see_refused(client.send(letter), transient=True)
        if place.server.endpoint("temporary refusal") == place.server.endpoint():
            place.deliver(client, Letter())
    assert not place.server.found(letter.token)


@scenario("refused content")
def _(place: Place) -> None:
    letter = Letter(people=(place.server.person("refused content"),), is_refused=True)
    with place.client("refused content") as client:
        place.see_refused(client.send(letter))
        if place.server.endpoint("refused content") == place.server.endpoint():
            place.deliver(client, Letter())
            assert not place.server.found(letter.token)  # smtp-sink keeps what it refuses


@scenario("message over SIZE", needs="SIZE")
def _(place: Place) -> None:
    is_small = "over SIZE" in place.server.endpoints or place.server.protocol == "lmtp"
    lines = 2_000 if is_small else 600_000
    letter = Letter(("x" * 70 + "\n") * lines, people=(place.server.person("over SIZE"),))
    with place.client("over SIZE") as client:
        sent = client.send(letter)
        if place.server.protocol == "lmtp":  # Dovecot says 451 4.2.0
            place.see_refused(sent, transient=True)
        else:
            place.see_refused(sent, code=552)
        place.deliver(client, Letter())
    assert not place.server.found(letter.token)


# Contents


def _content(letter: Callable[[], Letter]) -> Play:
    def play(place: Place) -> None:
        with place.client() as client:
            place.deliver(client, letter())

    return play


scenario("8-bit content")(_content(lambda: Letter("Gr\u00fc\u00dfe aus K\u00f6ln\n")))
scenario("UTF-8 content")(
    _content(lambda: Letter("\u2603 \u4f60\u597d \U0001f4e7\n", subject="Gr\u00fc\u00dfe \u2603"))
)


@scenario("UTF-8 addresses")
def _(place: Place) -> str | None:
    letter = Letter(sender="j\u00fcrgen@example.test", people=("\u00fc\u4f60",))
    with place.client() as client:
        if "SMTPUTF8" not in place.server.lacks:
            place.deliver(client, letter)
            return None
        sent = client.send(letter)
    assert isinstance(sent.error, mailbackends.SMTPNotSupportedError | ValueError)
    assert not place.server.found(letter.token)
    return "no SMTPUTF8; refused before anything is sent"


@scenario("lines longer than 998")
def _(place: Place) -> str | None:
    letter = Letter("a\n" + "long " * 1000 + "\nb\n")
    with place.client() as client:
        if not (place.sends_bytes and "long lines" in place.server.lacks):
            place.deliver(client, letter)
            return None
        place.see_refused(client.send(letter))
        place.deliver(client, Letter())
    return place.server.lacks["long lines"]


scenario("dots at line starts")(_content(lambda: Letter(".\n..\n...\n.a\nb\n.\n\n.\n")))
scenario("no final line end")(
    _content(lambda: Letter("one\nthe last", wire_text=b"one\r\nthe last"))
)
scenario("CR and LF alone")(
    _content(lambda: Letter("a\rb\nc\r\nd\n\n\re\n", wire_text=b"a\rb\nc\r\nd\n\n\re\r\n"))
)


@scenario("an end of content within the content")
def _(place: Place) -> None:
    victim = Letter()
    command = f"MAIL FROM:<x@example.test>\r\nRCPT TO:<{victim.recipients[0]}>\r\nDATA\r\n"
    for end in ("\n.\n", "\n.\r\n", "\r.\r", "\r.\r\n", "\r\n.\n", "\r\n.\r", "\r\n.\r\n"):
        text = f"before{end}{command}\r\nSubject: x\r\n\r\nsmuggled\r\n.\r\nend\r\n"
        letter = Letter(text.replace("\r\n", "\n"), wire_text=text.encode())
        with place.client() as client:
            sent = client.send(letter)
            assert sent.error is None, (end, sent.error)
            place.see_arrived(client, letter, dots=False)
            place.deliver(client, Letter())
    assert not place.server.found("", victim.recipients)


@scenario("an empty message")
def _(place: Place) -> None:
    with place.client() as client:
        place.deliver(client, Letter("", subject="", is_empty=True), Letter())


# Amounts


@scenario("1,000 recipients", is_heavy=True)
def _(place: Place) -> None:
    with place.client() as client:
        place.deliver(client, Letter(people=tuple(f"p{number}" for number in range(1000))))


@scenario("25 MB", is_heavy=True)
def _(place: Place) -> None:
    blob = bytes(range(256)) * (HOW_LARGE // 256 // (2 if place.sends_bytes else 1))
    with place.client() as client:
        place.deliver(client, Letter(attachment=blob), Letter())
