"""Content that other mailers change or lose, from public bug reports, as it arrives."""

from __future__ import annotations

import email.policy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from flask_integration import Mail, Message
from mailbackends import InvalidAddressError
from support.server import MailServer

from .conftest import MakeApp

LONG_ID = f"<{'a' * 86}@mail.example>"


@pytest.fixture(params=[True, False], ids=["fast_paths", "email_package"])
def mail(request: pytest.FixtureRequest, make_app: MakeApp, settings: dict[str, Any]) -> Mail:
    return Mail(make_app(**settings, MAIL_FAST_PATHS=request.param))


def message(**arguments: Any) -> Message:
    given: dict[str, Any] = {"subject": "Hello", "recipients": ["ada@example.com"], "body": "Hi"}
    return Message(**{**given, **arguments})


def unfolded(raw: bytes, name: str) -> str:
    """The value of a field with its folding undone (RFC 5322 section 2.2.3), not decoded."""
    found = re.search(rf"(?im)^{name}:[ \t]*((?:.|\r\n[ \t])*?)\r\n(?![ \t])".encode(), raw)
    assert found, name
    return re.sub(rb"\r\n(?=[ \t])", b"", found[1]).decode().strip()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("In-Reply-To", LONG_ID),
        ("References", f"<1@mail.example> {LONG_ID} <2@mail.example>"),
        ("X-Mailgun-Variables", json.dumps({"token": "x" * 90, "order": [1, 2]})),
        ("X-Note", "a word " + "w" * 500 + " and words " * 20),
    ],
)
def test_long_ascii_is_never_encoded(
    mail: Mail, mail_server: MailServer, name: str, value: str
) -> None:
    mail.send(message(extra_headers={name: value}))
    assert unfolded(mail_server.message.content, name) == value.strip()
    assert max(map(len, mail_server.message.content.split(b"\r\n"))) <= 998


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\x85"])
def test_only_cr_and_lf_end_a_line_of_a_subject(
    mail: Mail, mail_server: MailServer, character: str
) -> None:
    mail.send(message(subject=f"a{character}b"))
    assert mail_server.message.content.count(b"\r\nSubject:") == 1
    found = email.message_from_bytes(mail_server.message.content)["Subject"]
    # The email package writes a space for such a character.
    assert str(email.header.make_header(email.header.decode_header(found))) in (
        f"a{character}b",
        "a b",
    )


def test_a_nul_in_the_text_is_encoded(mail: Mail, mail_server: MailServer) -> None:
    mail.send(message(body="a\0b"))
    assert b"\0" not in mail_server.message.content
    assert mail_server.message.message.get_content().rstrip() == "a\0b"


@pytest.mark.parametrize("character", ["\u200b", "\ufeff", "\u200f", "\xad"])
def test_an_address_with_an_invisible_character_is_refused(
    mail: Mail, mail_server: MailServer, character: str
) -> None:
    with pytest.raises(InvalidAddressError):
        mail.send(message(recipients=[f"{character}ada@example.com"]))
    assert mail_server.messages == []


def test_header_and_envelope_name_the_same_domain(mail: Mail, mail_server: MailServer) -> None:
    pytest.importorskip("idna")
    mail.send(message(recipients=["i@faß.example"], reply_to="i@faß.example"))
    assert mail_server.message.rcpt_tos == ("i@xn--fa-hia.example",)
    for name in ("To", "Reply-To"):
        assert unfolded(mail_server.message.content, name) == "i@xn--fa-hia.example"


def test_attached_messages_and_texts_arrive_unchanged(
    mail: Mail, mail_server: MailServer, tmp_path: Path
) -> None:
    inner = b"Subject: inner\r\n\r\nHello\r\n"
    (tmp_path / "inner.eml").write_bytes(inner)
    (tmp_path / "notes.txt").write_text("Grüße", encoding="utf-8")
    sent = message()
    for name in ("inner.eml", "notes.txt"):
        sent.attach_path(tmp_path / name)
        sent.attach_file(tmp_path / name)
    mail.send(sent)
    messages: list[Any] = []
    texts: list[Any] = []
    for part in mail_server.message.message.iter_attachments():
        (messages if part.get_content_type() == "message/rfc822" else texts).append(part)
    assert all(part["Content-Transfer-Encoding"] in (None, "7bit", "8bit") for part in messages)
    assert [part.get_content()["Subject"] for part in messages] == ["inner", "inner"]
    assert [part.get_content() for part in texts] == ["Grüße", "Grüße"]
    assert {part.get_content_charset() for part in texts} == {"utf-8"}


def test_the_charset_of_a_text_attachment_is_not_guessed(
    mail: Mail, mail_server: MailServer
) -> None:
    sent = message()
    sent.attach("latin.txt", "text/plain", "Grüße".encode("latin-1"))
    sent.attach("named.txt", "text/plain; charset=latin-1", b"Gruss")
    sent.attach("data.json", "application/json", b"{}")
    mail.send(sent)
    parts = list(mail_server.message.message.iter_attachments())
    assert [part.get_content_charset() for part in parts] == [None, "latin-1", None]


def test_dots_anywhere_in_the_local_part_are_accepted(mail: Mail, mail_server: MailServer) -> None:
    mail.send(message(recipients=["a..b@docomo.example", ("Ada", "x.@docomo.example")]))
    assert mail_server.message.rcpt_tos == ("a..b@docomo.example", "x.@docomo.example")
