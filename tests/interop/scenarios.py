"""The rows of the table: what is sent, and the expected result.

A scenario returns None if everything works, or a few words on what the server cannot do,
once it has checked that the client reported so. ``needs`` names what a server may lack; then
the server's reason is shown in the cell, and the scenario is not played.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mailbackends
from interop.cell import Cell, Form
from interop.clients import Sent
from interop.mails import Mail

__all__ = ["SCENARIOS", "Scenario", "scenario"]

Play = Callable[[Cell], "str | None"]
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
    """Add a function to the table."""

    def add(play: Play) -> Play:
        SCENARIOS[name] = Scenario(name, play, needs or name, is_heavy)
        return play

    return add


# Connecting and logging in


@scenario("plain")
def _(cell: Cell) -> None:
    with cell.client() as client:
        cell.deliver(client, Mail(), Mail())


@scenario("STARTTLS", needs="nothing")
def _(cell: Cell) -> str | None:
    with cell.client(security="starttls") as client:
        if "STARTTLS" not in cell.server.lacks:
            cell.deliver(client, Mail(), Mail())
            return None
        mail = Mail()
        error = client.send(mail).error
    if cell.server.announces_tls_in_vain:
        assert isinstance(error, mailbackends.SMTPTLSError), repr(error)
    else:
        assert isinstance(error, mailbackends.SMTPNotSupportedError), repr(error)
    assert not cell.server.found(mail.token)
    return cell.server.lacks["STARTTLS"]


@scenario("implicit TLS", needs="nothing")
def _(cell: Cell) -> str | None:
    if cell.server.protocol == "lmtp" and cell.kind.name == "SMTP":
        return "smtplib's interface has no LMTP with implicit TLS"
    with cell.client("tls", security="tls") as client:
        if "implicit TLS" not in cell.server.lacks:
            cell.deliver(client, Mail(), Mail())
            return None
        mail = Mail()
        sent = client.send(mail)
    assert isinstance(sent.error, mailbackends.SMTPTLSError), repr(sent.error)
    assert not cell.server.found(mail.token)
    return cell.server.lacks["implicit TLS"]


def _login(mechanism: str) -> Play:
    def play(cell: Cell) -> str | None:
        with cell.client(mechanism=mechanism) as client:
            if mechanism in cell.server.mechanisms:
                cell.deliver(client, Mail())
                return None
            sent = client.send(Mail())
        assert isinstance(sent.error, mailbackends.SMTPException)
        is_refused = isinstance(sent.error, mailbackends.SMTPAuthenticationError)
        assert is_refused is (mechanism in cell.server.announced_in_vain)
        return cell.server.lacks["AUTH"] if is_refused else "not announced; the client reports so"

    return play


for _mechanism in MECHANISMS:
    scenario(f"login with {_mechanism}", needs="nothing")(_login(_mechanism))


@scenario("wrong password", needs="AUTH")
def _(cell: Cell) -> None:
    with cell.client(mechanism="PLAIN", password="not-this-one") as client:
        sent = client.send(Mail())
    assert isinstance(sent.error, mailbackends.SMTPAuthenticationError)
    # smtplib's interface logs in before there is a message.
    assert sent.outcome == "not_sent" or cell.kind.name == "SMTP"
    assert "not-this-one" not in f"{sent.error}{sent.error!r}{vars(sent.error)}"


@scenario("wrong token", needs="AUTH")
def _(cell: Cell) -> str | None:
    if "XOAUTH2" not in cell.server.mechanisms:
        return "XOAUTH2 not announced"
    with cell.client(mechanism="XOAUTH2", password="not-this-one") as client:
        sent = client.send(Mail())
    assert isinstance(sent.error, mailbackends.SMTPAuthenticationError), repr(sent.error)
    assert "not-this-one" not in f"{sent.error}{sent.error!r}{vars(sent.error)}"
    return None


# Refusals


@scenario("one of three recipients refused", needs="one refused")
def _(cell: Cell) -> None:
    mail = Mail(local_parts=("a", "refused", "b"))
    with cell.client() as client:
        sent = client.send(mail)
        assert sent.refused == {mail.recipients[1]: 550}
        assert sent.error is None
        cell.check_arrived(client, mail, refused=[mail.recipients[1]])
        cell.deliver(client, Mail())


@scenario("all recipients refused")
def _(cell: Cell) -> None:
    mail = Mail(local_parts=("refused", "refused2"))
    with cell.client("all refused") as client:
        sent = client.send(mail)
        cell.check_refused(sent)
        assert isinstance(sent.error, mailbackends.SMTPRecipientsRefused)
        assert set(sent.error.recipients) == set(mail.recipients)
        if cell.server.endpoint("all refused") == cell.server.endpoint():
            cell.deliver(client, Mail())
    assert not cell.server.found(mail.token)


@scenario("temporary refusal")
def _(cell: Cell) -> None:
    mail = Mail(local_parts=("later",))
    with cell.client("temporary refusal") as client:
        cell.check_refused(client.send(mail), transient=True)
        if cell.server.endpoint("temporary refusal") == cell.server.endpoint():
            cell.deliver(client, Mail())
    assert not cell.server.found(mail.token)


@scenario("refused content")
def _(cell: Cell) -> None:
    mail = Mail(local_parts=(cell.server.local_part("refused content"),), is_refused=True)
    with cell.client("refused content") as client:
        cell.check_refused(client.send(mail))
        if cell.server.endpoint("refused content") == cell.server.endpoint():
            cell.deliver(client, Mail())
            assert not cell.server.found(mail.token)  # smtp-sink stores what it refuses


@scenario("message over SIZE", needs="SIZE")
def _(cell: Cell) -> None:
    is_small = "over SIZE" in cell.server.endpoints or cell.server.protocol == "lmtp"
    lines = 2_000 if is_small else 600_000
    mail = Mail(("x" * 70 + "\n") * lines, local_parts=(cell.server.local_part("over SIZE"),))
    with cell.client("over SIZE") as client:
        sent = client.send(mail)
        if cell.server.protocol == "lmtp":  # Dovecot answers 451 4.2.0
            cell.check_refused(sent, transient=True)
        else:
            cell.check_refused(sent, code=552)
        cell.deliver(client, Mail())
    assert not cell.server.found(mail.token)


# Contents


def _content(mail: Callable[[], Mail]) -> Play:
    def play(cell: Cell) -> None:
        with cell.client() as client:
            cell.deliver(client, mail())

    return play


scenario("8-bit content")(_content(lambda: Mail("Gr\u00fc\u00dfe aus K\u00f6ln\n")))
scenario("UTF-8 content")(
    _content(lambda: Mail("\u2603 \u4f60\u597d \U0001f4e7\n", subject="Gr\u00fc\u00dfe \u2603"))
)


@scenario("UTF-8 addresses")
def _(cell: Cell) -> str | None:
    mail = Mail(sender="j\u00fcrgen@example.test", local_parts=("\u00fc\u4f60",))
    with cell.client() as client:
        if "SMTPUTF8" not in cell.server.lacks:
            cell.deliver(client, mail)
            return None
        sent = client.send(mail)
    assert isinstance(sent.error, mailbackends.SMTPNotSupportedError | ValueError)
    assert not cell.server.found(mail.token)
    return "no SMTPUTF8; refused before anything is sent"


@scenario("lines longer than 998")
def _(cell: Cell) -> str | None:
    mail = Mail("a\n" + "long " * 1000 + "\nb\n")
    with cell.client() as client:
        if not cell.sends_bytes or cell.server.long_lines == "stored":
            cell.deliver(client, mail)
            return None
        if cell.server.long_lines == "folded":
            cell.deliver(client, mail, arrives_as=Form.FOLDED)
            return "folded by the server: one space more after each 990 bytes"
        cell.check_refused(client.send(mail))
        cell.deliver(client, Mail())
    return "refused with 500: its limit is the 1,000 of RFC 5321"


scenario("dots at line starts")(_content(lambda: Mail(".\n..\n...\n.a\nb\n.\n\n.\n")))
scenario("no final line end")(_content(lambda: Mail("one\nthe last", wire_text=b"one\r\nthe last")))


@scenario("CR and LF alone")
def _(cell: Cell) -> str | None:
    mail = Mail("a\rb\nc\r\nd\n\n\re\n", wire_text=b"a\rb\nc\r\nd\n\n\re\r\n")
    with cell.client() as client:
        if client.makes_crlf or cell.server.lone_line_ends == "stored":
            cell.deliver(client, mail)
            return None
        sent = client.send(mail)
        _check_content_refused(cell, mail, sent)
        cell.deliver(client, Mail())
    return "refused by the server"


@scenario("an end of content within the content")
def _(cell: Cell) -> None:
    victim = Mail()
    command = f"MAIL FROM:<x@example.test>\r\nRCPT TO:<{victim.recipients[0]}>\r\nDATA\r\n"
    for end in ("\n.\n", "\n.\r\n", "\r.\r", "\r.\r\n", "\r\n.\n", "\r\n.\r", "\r\n.\r\n"):
        text = f"before{end}{command}\r\nSubject: x\r\n\r\nsmuggled\r\n.\r\nend\r\n"
        mail = Mail(text.replace("\r\n", "\n"), wire_text=text.encode())
        with cell.client() as client:
            sent = client.send(mail)
            if sent.error is not None and cell.server.lone_line_ends == "refused":
                assert not client.makes_crlf, repr(sent.error)
                _check_content_refused(cell, mail, sent)
            else:
                assert sent.error is None, (end, sent.error)
                cell.check_arrived(client, mail, arrives_as=Form.BLURRED)
            cell.deliver(client, Mail())
    assert not cell.server.found("", victim.recipients)


def _check_content_refused(cell: Cell, mail: Mail, sent: Sent) -> None:
    """The content of bytes was refused: for good, for now, or with a 421."""
    assert isinstance(sent.error, mailbackends.SMTPDataError), repr(sent.error)
    assert not cell.server.found(mail.token)


@scenario("an empty message")
def _(cell: Cell) -> None:
    with cell.client() as client:
        cell.deliver(client, Mail("", subject="", is_empty=True), Mail())


# Amounts


@scenario("1,000 recipients", is_heavy=True)
def _(cell: Cell) -> None:
    mail = Mail(local_parts=tuple(f"p{number}" for number in range(1000)))
    left: tuple[str, ...] = ()
    if not cell.splits_recipients and cell.server.recipients_per_message is not None:
        left = mail.recipients[cell.server.recipients_per_message :]
    with cell.client() as client:
        sent = client.send(mail)
        assert sent == Sent(dict.fromkeys(left, 452))
        cell.check_arrived(client, mail, refused=left)


@scenario("25 MB", is_heavy=True)
def _(cell: Cell) -> None:
    blob = bytes(range(256)) * (HOW_LARGE // 256 // (2 if cell.sends_bytes else 1))
    with cell.client() as client:
        cell.deliver(client, Mail(attachment=blob), Mail())
