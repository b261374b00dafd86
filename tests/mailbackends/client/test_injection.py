"""Nothing in an argument, a message or a server's word can put a command on the wire."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from email.message import EmailMessage
from itertools import repeat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailbackends.client import LMTP, SMTP
from mailbackends.client.formatting import dot_stuff
from mailbackends.errors import SMTPException
from support.memory import MemorySocket

# Text in which what ends a line is more frequent than in other text.
text = st.lists(
    st.sampled_from(["\r\n", "\n", "\r", "\0", "\x0b", "\x85", "\u2028", ">", "<", " ", "a@b.test"])
    | st.text(max_size=3),
    max_size=6,
).map("".join)

OK = b"250 ok\r\n"
ALL = b"250-a\r\n250-SMTPUTF8\r\n250-AUTH PLAIN LOGIN CRAM-MD5\r\n250 SIZE\r\n"


def client_on(*pieces: bytes, kind: type[SMTP] = SMTP) -> tuple[SMTP, MemorySocket]:
    """A client, and a server that sends these replies and then "250 ok" for every command."""
    sock = MemorySocket((*pieces, *repeat(OK, 50)))
    client = kind(local_hostname="client.test")
    client.sock = sock  # type: ignore[assignment]
    return client, sock


CALLS: dict[str, Callable[[SMTP, str], Any]] = {
    "putcmd": lambda c, x: c.putcmd(x),
    "putcmd, argument": lambda c, x: c.putcmd("X", x),
    "docmd": lambda c, x: c.docmd(x, x),
    "helo": lambda c, x: c.helo(x),
    "ehlo": lambda c, x: c.ehlo(x),
    "help": lambda c, x: c.help(x),
    "verify": lambda c, x: c.verify(x),
    "expn": lambda c, x: c.expn(x),
    "mail": lambda c, x: c.mail(x),
    "mail, options": lambda c, x: c.mail("a@b.test", [x]),
    "rcpt": lambda c, x: c.rcpt(x),
    "rcpt, options": lambda c, x: c.rcpt("a@b.test", [x]),
    "auth": lambda c, x: c.auth(x, lambda challenge=None: x),
    "auth, response": lambda c, x: c.auth("X", lambda challenge=None: x),
    "local host name": lambda c, x: (setattr(c, "local_hostname", x), c.ehlo()),
}


@pytest.mark.parametrize("utf8", [False, True])
@pytest.mark.parametrize("name", CALLS)
@given(argument=text)
def test_one_call_puts_at_most_one_line_on_the_wire(name: str, utf8: bool, argument: str) -> None:
    client, sock = client_on()
    client.does_esmtp = True
    client.esmtp_features = {"smtputf8": ""}
    client.command_encoding = "utf-8" if utf8 else "ascii"
    with contextlib.suppress(ValueError, SMTPException):
        CALLS[name](client, argument)
    assert re.fullmatch(rb"(?:[^\r\n\0]*\r\n)?", sock.sent)


@given(user=text, password=text, challenge=st.binary(max_size=40))
def test_neither_credentials_nor_a_challenge_can_end_a_line(
    user: str, password: str, challenge: bytes
) -> None:
    replies = [b"334 " + challenge + b"\r\n", b"535 no\r\n"]
    client, sock = client_on(ALL, *replies * 3)
    with contextlib.suppress(ValueError, SMTPException):
        client.login(user, password)
    assert re.fullmatch(rb"(?:[^\r\n\0]*\r\n)*", sock.sent)
    verbs = rb"ehlo client\.test|AUTH [\w-]+(?: [\w+/=]+)?|[\w+/=]*|\*"
    assert all(re.fullmatch(verbs, line) for line in sock.sent.split(b"\r\n"))


@given(sender=text, recipients=st.lists(text, max_size=3), option=text)
def test_sendmail_puts_nothing_on_the_wire_but_its_commands(
    sender: str, recipients: list[str], option: str
) -> None:
    client, sock = client_on(ALL, *repeat(OK, 1 + len(recipients)), b"354 go\r\n")
    with contextlib.suppress(ValueError, SMTPException):
        client.sendmail(sender, recipients, b"content\r\n", [option], [option])
    lines = bytes(sock.sent).split(b"\r\n")
    assert lines.pop() == b""
    for line in lines:
        assert re.fullmatch(
            rb"(ehlo |mail from:|rcpt to:|data$|rset$|content$|\.$)[^\r\n\0]*", line
        )
    assert sum(line.startswith(b"rcpt") for line in lines) <= len(recipients)


@given(name=text, subject=text)
def test_a_header_field_cannot_begin_a_command_or_another_field(name: str, subject: str) -> None:
    client, sock = client_on(ALL, OK, OK, b"354 go\r\n")
    message = EmailMessage()
    with contextlib.suppress(ValueError, SMTPException):
        message["From"] = "a@a.test"
        message["To"] = "b@b.test"
        message["Subject"] = subject
        message["X-Name"] = name
        message.set_content("body\n")
        client.send_message(message)
        head = bytes(sock.sent).partition(b"data\r\n")[2].partition(b"\r\n\r\n")[0]
        fields = re.findall(rb"^([^ \t:]+):", head, re.M)
        assert set(fields) <= {
            b"From", b"To", b"Subject", b"X-Name", b"MIME-Version", b"Content-Type",
            b"Content-Transfer-Encoding",
        }  # fmt: skip


pieces = st.lists(st.sampled_from([b"\r\n", b"\n", b"\r", b".", b"..", b"a", b"\0"]), max_size=14)


@given(content=pieces.map(b"".join))
def test_the_end_of_the_content_cannot_be_forged(content: bytes) -> None:
    """Whatever a server takes for a line end: CRLF, LF alone, CR alone."""
    sent = dot_stuff(content)
    assert sent.endswith(b"\r\n.\r\n") or sent == b".\r\n"
    inside = sent[: -len(b".\r\n")]
    for end in (b"\r\n", b"\n", b"\r"):
        for after in (b"\r\n", b"\n", b"\r"):
            assert end + b"." + after not in b"\r\n" + inside + b"x"


@given(content=pieces.map(b"".join))
def test_content_whose_line_ends_are_crlf_is_sent_unchanged(content: bytes) -> None:
    content = re.sub(rb"\r\n|\r|\n", b"\r\n", content)
    sent = dot_stuff(content)
    received = re.sub(rb"(?m)^\.", b"", sent[: -len(b".\r\n")])
    assert received == (content if content.endswith(b"\r\n") else content + b"\r\n")


@given(replies=st.lists(st.binary(max_size=30), max_size=8))
def test_lmtp_sends_nothing_between_the_replies(replies: list[bytes]) -> None:
    client, sock = client_on(ALL, OK, OK, OK, b"354 go\r\n", *replies, kind=LMTP)
    with contextlib.suppress(SMTPException):
        client.sendmail("a@a.test", ["b@b.test", "c@c.test"], b"content\r\n")
    tail = bytes(sock.sent).partition(b"content\r\n.\r\n")[2]
    assert tail in (b"", b"rset\r\n")
