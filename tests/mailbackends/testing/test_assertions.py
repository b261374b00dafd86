"""`assert_sent`: finds the message, or shows how each one differs."""

from __future__ import annotations

import re
from email.message import EmailMessage
from typing import Any

import pytest

from mailbackends.testing.assertions import (
    ReceivedMail,
    as_received,
    assert_nothing_sent,
    assert_sent,
)


def mail(subject: str = "Your order 7", text: str = "Dear Ada,\nit is on its way.\n") -> Any:
    message = EmailMessage()
    message["From"], message["To"] = "shop@example.com", "Ada <ada@example.com>"
    message["Subject"], message["Reply-To"] = subject, "help@example.com"
    message.set_content(text)
    message.add_alternative("<p>Dear <b>Ada</b></p>\n", subtype="html")
    message.add_attachment(b"%PDF-1.4 x", "application", "pdf", filename="invoice.pdf")
    return ReceivedMail(
        "shop@example.com", ("ada@example.com", "log@example.com"), message.as_bytes()
    )


@pytest.mark.parametrize(
    "expected",
    [
        {"sender": "shop@example.com", "to": "log@example.com"},
        {"to": ["log@example.com", "ada@example.com"]},
        {"subject": "Your order 7"},
        {"subject": re.compile(r"order \d")},
        {"text": "Dear Ada,\nit is on its way."},
        {"text_has": ["Dear Ada", "on its way"], "html_has": "<b>Ada</b>"},
        {"html": re.compile("<b>.*</b>")},
        {"attachments": ["invoice.pdf"]},
        {"attachments": {"invoice.pdf": b"%PDF-1.4 x"}},
        {"attachments": {"invoice.pdf": None}, "headers": {"Reply-To": "help@example.com"}},
    ],
)
def test_the_matching_message_is_returned(expected: dict[str, Any]) -> None:
    other, wanted = mail("Another", "x"), mail()
    assert assert_sent([wanted], **expected) is wanted
    if "subject" in expected or "text" in expected:
        assert assert_sent([other, wanted], **expected) is wanted


@pytest.mark.parametrize(
    ("expected", "lines"),
    [
        (
            {"subject": "Your order 8"},
            ["subject:", "expected 'Your order 8'", "was      'Your order 7'"],
        ),
        ({"subject": re.compile("^Re:")}, ["expected a match of '^Re:'"]),
        ({"to": "bob@example.com"}, ["expected 'bob@example.com'"]),
        (
            {"to": ["ada@example.com", "bob@example.com"]},
            ["to:", "missing 'bob@example.com'", "not expected 'log@example.com'"],
        ),
        (
            {"text": "Dear Ada,\nit is late."},
            ["--- expected", "+++ was", "-it is late.", "+it is on its way."],
        ),
        ({"html_has": "<i>"}, ["html:", "does not contain '<i>'", "| <p>Dear <b>Ada</b></p>"]),
        (
            {"attachments": ["terms.pdf"]},
            ["missing 'terms.pdf'", "not expected 'invoice.pdf'"],
        ),
        (
            {"attachments": {"invoice.pdf": b"%PDF-1.7 x"}},
            ["they differ from byte 7", "expected b'7 x'", "was      b'4 x'"],
        ),
        ({"headers": {"List-Id": "x"}}, ["List-Id:", "was      None"]),
    ],
)
def test_a_failure_shows_the_difference(expected: dict[str, Any], lines: list[str]) -> None:
    with pytest.raises(AssertionError) as caught:
        assert_sent([mail()], **expected)
    text = str(caught.value)
    assert text.startswith("the message that was sent does not match:")
    assert "<ReceivedMail 'Your order 7' from shop@example.com to ada" in text
    for line in lines:
        assert line in text


def test_the_most_similar_message_is_shown_first() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_sent([mail("Other", "no"), mail()], subject="Your order 7", text="no")
    first, second = str(caught.value).index("'Your order 7'"), str(caught.value).index("'Other'")
    assert "none of 2 messages" in str(caught.value)
    assert first != second


def test_assert_nothing_sent_lists_what_was_sent() -> None:
    assert_nothing_sent([])
    with pytest.raises(AssertionError, match="1 sent, but none expected"):
        assert_nothing_sent([mail()])
    with pytest.raises(AssertionError, match="no message was sent"):
        assert_sent([], subject="x")


def test_a_mistyped_argument_is_an_error() -> None:
    with pytest.raises(TypeError, match="subjekt"):
        assert_sent([mail()], subjekt="Your order 7")


def test_messages_of_django_and_of_the_email_package_are_accepted() -> None:
    message = mail().message
    assert as_received(message).recipients == ("ada@example.com",)

    class OfDjango:
        def message(self) -> EmailMessage:
            made: EmailMessage = message
            return made

        def recipients(self) -> list[str]:
            return ["eve@example.com"]

    assert assert_sent([OfDjango()], to=["eve@example.com"]).sender == "shop@example.com"
    with pytest.raises(TypeError, match="not a message: 3"):
        assert_sent([3], subject="x")


def test_inline_images_count_as_attachments() -> None:
    message = EmailMessage()
    message.set_content("<img src=cid:logo>", subtype="html")
    message.add_related(b"png", "image", "png", cid="<logo>")
    received = ReceivedMail("", ("a@example.com",), message.as_bytes())
    assert (received.text, received.attachments) == (None, {"logo": b"png"})
