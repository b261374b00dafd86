"""`Email`: what it is made of, the errors for what cannot be sent, and the bytes it becomes."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import email.policy
import pickle
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailbackends import (
    AsyncMailer,
    Email,
    InvalidAddressError,
    InvalidMessageError,
    Mailer,
    SMTPException,
    Submission,
)
from mailbackends.mime.content import from_message, from_written
from mailbackends.previews import as_content
from support.server import MailServer

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 3


def make(**given: Any) -> Email:
    values: dict[str, Any] = {
        "subject": "Your order",
        "sender": "shop@example.com",
        "to": "ada@example.com",
        "text": "It is on its way.\n",
    }
    return Email(**(values | given))


def both_forms(message: Email) -> tuple[bytes, bytes]:
    """The bytes written directly, and those of the email package's objects."""
    written = message.written()
    assert written is not None
    results = []
    for content in (from_written(written), from_message(message.as_email_message(), fast=False)):
        data = b"".join(content.chunk())
        # Boundaries are random: number them in the order of their appearance.
        parsed = message_from_bytes(data, policy=email.policy.default)
        for index, part in enumerate(parsed.walk()):
            if boundary := part.get_boundary():
                data = data.replace(boundary.encode(), b"=boundary-%02d=" % index + b"=" * 20)
        results.append(data)
    return results[0], results[1]


FORMS = {
    "text": {},
    "html": {"text": None, "html": "<p>Hello</p>"},
    "both": {"html": "<p>Hellö</p>"},
    "nothing": {"text": None},
    "file": {"attachments": [("invoice.pdf", b"%PDF" * 99)]},
    "files only": {"text": None, "attachments": [("a.bin", b"\0"), ("n.txt", "Grüße\n")]},
    "both and files": {"html": "<b>x</b>", "attachments": [("fünf.csv", "a,b\n", "text/csv")]},
    "inline": {"html": '<img src="cid:logo">', "inline": {"logo": ("logo.png", PNG)}},
    "inline, no text": {
        "text": None,
        "html": '<img src="cid:logo">',
        "inline": {"logo": ("logo.png", PNG)},
    },
    "all": {
        "html": '<img src="cid:a"><img src="cid:b@shop">',
        "inline": {"a": ("a.png", PNG), "b@shop": ("a very long name " * 4 + ".gif", PNG)},
        "attachments": [("invoice.pdf", b"%PDF", "application/pdf"), ("notes.txt", "x")],
    },
    "inline, no text, files": {
        "text": None,
        "html": '<img src="cid:logo">',
        "inline": {"logo": ("logo.png", PNG)},
        "attachments": [("invoice.pdf", b"%PDF")],
    },
    "names": {
        "sender": ("Leaf & Cup, Ltd.", "shop@example.com"),
        "to": [("Åsa Öberg", "asa@example.com"), "Bob <bob@example.com>", "eve@example.com"],
        "cc": ["evil@example.org", "ada@example.com"],
        "reply_to": [("O'Neil; <x@y.z>", "help@example.com")],
    },
    "many": {"to": [f"person{n}@example.com" for n in range(40)], "subject": "Grüße " * 30},
    "fields": {"headers": {"X-Order": "4711", "List-Unsubscribe": "<https://example.com/u?t=1>"}},
    "long lines": {"text": "x" * 2000, "html": "<p>" + "y " * 3000},
}


@pytest.mark.parametrize("form", FORMS)
def test_the_written_form_is_that_of_the_email_package(form: str) -> None:
    written, built = both_forms(make(**FORMS[form]))
    assert written == built


TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=60)
NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=40)


@settings(max_examples=150)
@given(subject=NAMES, name=NAMES, text=TEXTS, html=st.none() | TEXTS, file=st.binary(max_size=90))
def test_any_text_is_written_as_the_email_package_writes_it_and_names_nobody_else(
    subject: str, name: str, text: str, html: str | None, file: bytes
) -> None:
    message = make(
        subject=subject,
        to=[(name, "ada@example.com")],
        text=text,
        html=html,
        attachments=[("file.bin", file)],
    )
    if message.written() is not None:
        written, built = both_forms(message)
        assert written == built
    parsed = message_from_bytes(message.as_bytes(), policy=email.policy.default)
    assert [one.addr_spec for one in parsed["To"].addresses] == ["ada@example.com"]


def test_a_file_is_read_while_it_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "invoice.pdf"
    path.write_bytes(b"first")
    message = make(attachments=[path])
    path.write_bytes(b"second")
    written, built = both_forms(message)
    assert written == built
    [file] = message_from_bytes(written, policy=email.policy.default).iter_attachments()
    assert (file.get_filename(), file.get_content()) == ("invoice.pdf", b"second")


@pytest.mark.parametrize("is_async", [False, True])
def test_it_is_sent_with_bcc_only_in_the_envelope(mail_server: MailServer, is_async: bool) -> None:
    message = make(
        sender=("Leaf & Cup", "shop@example.com"),
        to=["Ada <ada@example.com>", ("Bob", "bob@example.com")],
        bcc="secret@example.com",
    )
    url = f"smtp://{mail_server.host}:{mail_server.port}"
    if is_async:

        async def send() -> Any:
            async with AsyncMailer(url) as mailer:
                return await mailer.send_message(message)

        receipt = asyncio.run(send())
    else:
        with Mailer(url) as mailer:
            receipt = mailer.send_message(message)
    recipients = ("ada@example.com", "bob@example.com", "secret@example.com")
    assert receipt.accepted == recipients
    assert receipt.message_id == message.message_id
    received = mail_server.message
    assert received.mail_from == "shop@example.com"
    assert received.rcpt_tos == recipients
    assert b"secret" not in received.content
    assert message.message_id.endswith("@example.com>")


def test_a_batch_and_an_envelope_of_its_own(mail_server: MailServer) -> None:
    with Mailer(f"smtp://{mail_server.host}:{mail_server.port}") as mailer:
        mailer.send_messages([make(), Submission(make(), "bounces@example.com", ["eve@x.com"])])
    assert [m.mail_from for m in mail_server.messages] == [
        "shop@example.com",
        "bounces@example.com",
    ]
    assert mail_server.messages[1].rcpt_tos == ("eve@x.com",)


def test_an_international_local_part_is_built_for_smtputf8(mail_server: MailServer) -> None:
    message = make(to=("Åsa", "åsa@example.se"))
    assert message.written() is None
    with Mailer(f"smtp://{mail_server.host}:{mail_server.port}") as mailer:
        mailer.send_message(message)
    assert mail_server.message.rcpt_tos == ("åsa@example.se",)


def test_it_is_a_value() -> None:
    message = make(date=datetime(2026, 11, 28, tzinfo=UTC), message_id="<1@example.com>")
    assert message == make(date=message.date, message_id="<1@example.com>")
    assert {message: 1}[message] == 1
    assert pickle.loads(pickle.dumps(message)) == message  # noqa: S301
    changed = dataclasses.replace(message, subject="Another", to=["bob@example.com"])
    assert (changed.subject, changed.recipients()) == ("Another", ["bob@example.com"])
    assert changed.text == message.text
    with pytest.raises(dataclasses.FrozenInstanceError):
        message.subject = "x"  # type: ignore[misc]
    assert repr(message) == "<Email 'Your order' from shop@example.com to ada@example.com>"


def test_a_preview_shows_it() -> None:
    assert b"Subject: Your order\r\n" in as_content(make())


BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"subject": "a\nBcc: x@y.z"}, InvalidMessageError, "subject contains '\\n'"),
    ({"subject": None}, InvalidMessageError, "subject must be text, got None"),
    ({"text": b"x"}, InvalidMessageError, "text must be text, got bytes"),
    ({"to": ()}, InvalidMessageError, "no recipients: give to, cc or bcc"),
    ({"to": "ada@example.com, bob@example.com"}, InvalidAddressError, "ada@example.com, bob@ex"),
    ({"to": ("evil@evil.test", "ada@example.com")}, InvalidAddressError, "write [(name, address)]"),
    ({"to": ("A <e@evil.test>", "ada@example.com")}, InvalidAddressError, "or a list of addresses"),
    ({"to": 5}, InvalidAddressError, "to must be an address or a list of them, got 5"),
    ({"to": [("Ada", "ada@example.com", "x")]}, InvalidAddressError, "a pair of name and address"),
    ({"sender": ""}, InvalidAddressError, "sender"),
    ({"sender": ("Ada", "Ada <ada@example.com>")}, InvalidAddressError, "pair of name and addr"),
    ({"to": ("Ada\r\n", "ada@example.com")}, InvalidMessageError, "the name in to contains '\\r'"),
    ({"attachments": "a.pdf"}, InvalidMessageError, "attachments must be a list of files"),
    ({"attachments": ["/no/a.pdf"]}, InvalidMessageError, "'/no/a.pdf' cannot be read"),
    ({"attachments": [("a.pdf", None)]}, InvalidMessageError, "must be bytes or text, got NoneT"),
    ({"attachments": [("a.pdf", b"", "pdf")]}, InvalidMessageError, "like 'application/pdf'"),
    ({"attachments": [("a", b"", "message/rfc822")]}, InvalidMessageError, "path of an .eml"),
    ({"attachments": [("a\nb", b"")]}, InvalidMessageError, "the file name contains '\\n'"),
    ({"attachments": [b"x"]}, InvalidMessageError, "attachments takes paths"),
    ({"inline": {"logo": "/no/logo.png"}}, InvalidMessageError, "the html does not show 'logo'"),
    (
        {"html": "cid:logo", "inline": {"logo": "/no/logo.png"}},
        InvalidMessageError,
        "'/no/logo.png' cannot be read",
    ),
    ({"inline": {"lo go": "x"}}, InvalidMessageError, "a Content-ID has letters"),
    ({"headers": {"Subject": "x"}}, InvalidMessageError, "use the argument of Email for it"),
    ({"headers": {"X-A": "a\r\nBcc: b@c.d"}}, InvalidMessageError, "headers: X-A contains"),
    ({"headers": {"X A": "a"}}, InvalidMessageError, "is not the name of a header field"),
    ({"date": datetime(2026, 1, 1)}, InvalidMessageError, "with a time zone"),
    ({"message_id": "1"}, InvalidMessageError, "must be like '<id@example.com>'"),
]


@pytest.mark.parametrize(("given", "kind", "text"), BAD, ids=[text for _, _, text in BAD])
def test_what_cannot_be_sent_is_refused_when_it_is_made(
    given: dict[str, Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind) as caught:
        make(**given)
    assert text in str(caught.value)
    assert isinstance(caught.value, SMTPException)


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(TypeError, match="body"):
        make(body="x")


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("stream", "Submission(email, stream=...)"),
        ("subject", "dataclasses.replace(email, subject=...)"),
        ("sbject", "did you mean 'subject'?"),
    ],
)
def test_an_email_that_is_changed_says_what_to_do_instead(name: str, fix: str) -> None:
    email = Email(subject="s", sender="a@example.com", to="b@example.com", text="x")
    with pytest.raises(dataclasses.FrozenInstanceError) as caught:
        setattr(email, name, "x")
    assert fix in str(caught.value)
    copied = pickle.loads(pickle.dumps(email))  # noqa: S301 - our own
    assert copied == email == copy.deepcopy(email)
