"""Messages taken apart: good ones, and whatever else comes over SMTP."""

from __future__ import annotations

import pytest

pytest.importorskip("nh3", reason="the extra mailbox is not installed here")
pytest.importorskip("jinja2", reason="the extra mailbox is not installed here")

from hypothesis import given
from hypothesis import strategies as st

from mailbackends.mailbox.contents import View
from mailbackends.mailbox.headers import explained, notes
from mailbackends.mailbox.message import StoredMessage, clean_name
from mailbackends.mailbox.pages import VIEWS
from support.mailbox import PDF, mail


def test_a_message_is_split_into_its_parts() -> None:
    message = StoredMessage(mail(attachments={"invoice.pdf": PDF}).as_bytes())
    assert message.subject == "Your order 1042 is on its way"
    assert (message.text or "").startswith("Thank you, Ada!")
    assert "Follow the parcel" in (message.html or "")
    assert [(part.filename, part.content) for part in message.attachments] == [("invoice.pdf", PDF)]
    assert [part.content_id for part in message.inline_images] == ["logo@shop"]
    assert notes(message, "shop@leafandcup.example") == []
    assert all(field.meaning for field in explained(message))


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("Subject: Grüße".encode(), "Grüße"),
        (b"Subject: =?nonsense?q?x?=", "=?nonsense?q?x?="),
        (b"Subject: =?utf-8?b?%%%?= x", "x"),
        (b"Subject: a\r\n  b", "a  b"),
        (b"Subject: \xff\xfe", "\ufffd\ufffd"),
        ("Subject: a\u202eb\x07".encode(), "ab"),
        (b"X: y", ""),
    ],
)
def test_every_subject_is_decoded_or_shown_as_it_is(raw: bytes, shown: str) -> None:
    message = StoredMessage(raw + b"\r\n\r\n")
    assert message.subject == shown


def test_a_forwarded_message_is_one_attachment() -> None:
    outer = mail(html=None)
    outer.add_attachment(mail(subject="Inner"))
    message = StoredMessage(outer.as_bytes())
    (part,) = message.attachments
    assert part.content_type == "message/rfc822"
    assert b"Subject: Inner" in part.content


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a/b/c.txt", "c.txt"),
        ("..\\..\\c.txt", "c.txt"),
        ("..", ""),
        ("a\r\nb.txt", "ab.txt"),
        ("x" * 500, "x" * 200),
    ],
)
def test_a_file_name_has_no_folder_and_no_controls(name: str, shown: str) -> None:
    assert clean_name(name) == shown


def test_the_notes_name_what_receivers_object_to() -> None:
    content = (
        b"From: a@shop.example\r\nFrom: b@shop.example\r\nBcc: c@shop.example\r\nDate: soon\r\n"
        b"Content-Type: text/html\r\n\r\n" + b"x" * 120_000
    )
    shown = " ".join(note.text for note in notes(StoredMessage(content), "bounce@other.example"))
    for word in (
        "several From",
        "Bcc",
        "not a date",
        "subject is missing",
        "Message-ID",
        "no text",
    ):
        assert word in shown
    for word in ("102 KB", "998", "other.example"):
        assert word in shown


def test_parts_within_parts_hundreds_deep_are_shown_as_one_text() -> None:
    deep = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n)
        for n in range(3000)
    )
    message = StoredMessage(b"Subject: Deep\r\n" + deep)
    assert message.subject == "Deep"
    assert [part.content_type for part in message.parts] == ["text/plain"]
    assert message.excerpt.startswith("--b0")


_LINES = st.sampled_from(
    [
        b"From: a@b", b"Subject: =?utf-8?b?w7w=?=", b"Content-Type: multipart/mixed; boundary=x",
        b"Content-Type: text/html; charset=nonsense", b"Content-Transfer-Encoding: base64",
        b"Content-Type: message/rfc822", b"Content-Disposition: attachment; filename*=x''%ff",
        b"Content-Type: text/plain; charset*=utf-8''%00", b"--x", b"--x--", b"", b"%%%", b"\xff",
        b"Content-ID: <a@b>", b"<img src=cid:a@b>", b"Date: 99 Foo 99999", b"Received:", b" x",
        b"Content-Type: multipart/alternative", b"Content-Transfer-Encoding: x-uuencode",
        b"Content-Type: message/delivery-status", b"Content-Disposition: attachment; filename*0=a",
    ]
)  # fmt: skip


@given(st.lists(_LINES | st.binary(max_size=30), max_size=25))
def test_no_message_breaks_the_page(lines: list[bytes]) -> None:
    message = StoredMessage(b"\r\n".join(lines))
    view = View(message, "messages/1/")
    assert view.cleaned().html is not None
    assert isinstance(message.excerpt + message.searchable + view.source, str)
    assert len(explained(message)) == len(message.headers)
    assert len(VIEWS) == 7
    notes(message, "a@b")
    for part in (*view.message.parts, *message.attachments, *message.inline_images):
        assert part.filename
        assert isinstance(part.text, str)
    assert (len(view.links), view.remote) >= (0, 0)
