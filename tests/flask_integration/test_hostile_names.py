"""Display names that look like addresses, encoded words or headers stay display names."""

from __future__ import annotations

import email.policy
import email.utils
import re
from email.header import decode_header, make_header
from email.message import EmailMessage
from typing import Any

import pytest

from flask_integration import Mail, Message, sanitize_address
from mailbackends import InvalidAddressError
from support.server import MailServer

from .conftest import MakeApp

HEADERS = {"recipients": "To", "cc": "Cc", "reply_to": "Reply-To", "sender": "From"}
NAMES = [
    "=?x <ceo@victim.example>,",
    "=?utf-8?q?x?= <ceo@victim.example>,",
    "=?utf-8?q?=3Cceo=40victim.example=3E=2C?=",
    "=?utf-8?b?!!!?=",
    "x=?utf-8?q?a?=",
    "a, ceo@victim.example, b",
    '"',
    "\\",
    'a" <ceo@victim.example>, "b',
    "team: ceo@victim.example;",
    "ceo@victim.example",
    "(comment) ceo@victim.example",
    "Ünï <ceo@victim.example>, ",
    "Some Very Long Company Name, Incorporated, With A Lot Of Departments (Sales)",
    "long " * 30 + ", ceo@victim.example, " + "long " * 30,
    "a\x00b",
    "a\x7fb",
    "a\tb",
    "a\u2028b",
]


def readings(raw: bytes, name: str) -> list[list[tuple[str, str]]]:
    """The addresses in a field, as the email package's two parsers read them."""
    new = email.message_from_bytes(raw, EmailMessage, policy=email.policy.default)
    unfolded = re.sub(r"\r?\n(?=[ \t])", "", email.message_from_bytes(raw)[name])
    return [
        [(a.display_name, a.addr_spec) for a in new[name].addresses],
        [
            (str(make_header(decode_header(shown))), address)
            for shown, address in email.utils.getaddresses([unfolded])
        ],
    ]


@pytest.mark.parametrize("field", HEADERS)
@pytest.mark.parametrize("name", NAMES)
def test_a_display_name_never_becomes_an_address(
    make_app: MakeApp, mail_server: MailServer, settings: dict[str, Any], field: str, name: str
) -> None:
    people: dict[str, Any] = {"recipients": ["ada@example.com"], "sender": "shop@example.com"}
    person = (name, "user@example.com")
    people[field] = person if field in ("sender", "reply_to") else [person]
    Mail(make_app(**settings)).send(Message("Hello", body="Hi", **people))
    received = mail_server.message
    expected = {
        "recipients": ("user@example.com",),
        "cc": ("ada@example.com", "user@example.com"),
    }
    assert received.rcpt_tos == expected.get(field, ("ada@example.com",))
    assert received.mail_from == ("user@example.com" if field == "sender" else "shop@example.com")
    for reading in readings(received.content, HEADERS[field]):
        [(shown, address)] = reading
        assert (shown.split(), address) == (name.split(), "user@example.com")


@pytest.mark.parametrize(
    "address", ["user@example.com>, <ceo@victim.example", "user@example.com, ceo@victim.example"]
)
@pytest.mark.parametrize("field", HEADERS)
def test_the_address_of_a_pair_is_one_address(app_of: Mail, field: str, address: str) -> None:
    people: dict[str, Any] = {"recipients": ["ada@example.com"], "sender": "shop@example.com"}
    person = ("User", address)
    people[field] = person if field in ("sender", "reply_to") else [person]
    with pytest.raises(InvalidAddressError):
        app_of.send(Message("Hello", body="Hi", **people))
    assert app_of.outbox == []


@pytest.fixture
def app_of(make_app: MakeApp) -> Mail:
    """Mail with the memory backend."""
    return Mail(make_app(MAIL_BACKEND="memory"))


def test_encoded_words_in_a_string_stay_encoded_words() -> None:
    encoded = "=?utf-8?q?J=C3=B6rg?= =?utf-8?b?TcO8bGxlcg==?= <user@example.com>"
    assert sanitize_address(encoded) == encoded
