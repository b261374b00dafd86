"""The messages that every client sends, and the check that one arrived unchanged."""

from __future__ import annotations

import copy
import email.policy
import hashlib
import random
from dataclasses import dataclass
from email.message import EmailMessage, Message
from functools import cache
from typing import Any

__all__ = ["SAMPLES", "SENDER", "SENDER_NAME", "WARM_UP", "Sample", "fingerprint"]

SENDER = "shop@example.com"
SENDER_NAME = "Example Shop"
_READER = "reader@example.com"


@dataclass(frozen=True, slots=True)
class Sample:
    """One kind of message. All its texts use LF."""

    name: str
    title: str
    """The description in tables."""
    has_html: bool = False
    html_rows: int = 162
    is_built: bool = False
    """Measured with the clients that also create each message within the measured time."""
    attachment_size: int = 0
    """In bytes, before base64; 0 without an attachment."""
    recipients: tuple[str, ...] = (_READER,)
    file_name: str = "invoice-1042.pdf"
    file_type: str = "application/pdf"

    @property
    def subject(self) -> str:
        if self.has_html:
            return "Ihre Bestellung 1042 für 34,80 €"
        return "Your order 1042 is on its way"

    @property
    def text(self) -> str:
        """2 KB of ASCII, including a line that starts with a dot."""
        return _text()

    @property
    def html(self) -> str:
        """HTML with non-ASCII characters, 28 KB with 162 rows; or an empty string."""
        return _html(self.html_rows) if self.has_html else ""

    @property
    def attachment(self) -> bytes:
        """Random bytes, or an empty string."""
        return _noise(self.attachment_size)

    def email_message(self) -> EmailMessage:
        """A new message of the standard library's class; the attachment is shared."""
        message = EmailMessage()
        message["From"] = f"{SENDER_NAME} <{SENDER}>"
        message["To"] = ", ".join(self.recipients)
        message["Subject"] = self.subject
        message["Date"] = "Mon, 05 May 2025 09:30:00 +0000"
        message["Message-ID"] = "<1042.7f3a9c@example.com>"
        message.set_content(self.text)
        if self.has_html:
            message.add_alternative(self.html, subtype="html")
        if self.attachment_size:
            message.make_mixed()
            message.attach(copy.copy(_attached(self)))
        return message

    def wire_bytes(self) -> bytes:
        """The message with CRLF, without dot-stuffing."""
        return _wire_bytes(self)

    def expected(self) -> tuple[str, ...]:
        """The `fingerprint` of this message, however a client has encoded it."""
        return _expected(self)


@cache
def _attached(sample: Sample) -> EmailMessage:
    """The attachment as a part, cached because encoding it takes longer than what is measured."""
    part = EmailMessage()
    main, _, sub = sample.file_type.partition("/")
    part.set_content(sample.attachment, main, sub, filename=sample.file_name)
    del part["MIME-Version"]
    return part


@cache
def _wire_bytes(sample: Sample) -> bytes:
    return sample.email_message().as_bytes(policy=email.policy.SMTP)


@cache
def _expected(sample: Sample) -> tuple[str, ...]:
    return fingerprint(sample.email_message())


def fingerprint(message: Message[Any, Any]) -> tuple[str, ...]:
    """What must arrive unchanged: subject, types of the parts, digests of their contents."""
    marks = [str(message["Subject"])]
    for part in message.walk():
        if part.is_multipart():
            continue
        payload: Any = part.get_payload(decode=True)
        if part.get_content_maintype() == "text":
            # Serialisers differ in whether the last line end belongs to a text.
            payload = payload.replace(b"\r\n", b"\n").rstrip(b"\n")
        digest = hashlib.sha256(payload).hexdigest()
        marks.append(f"{part.get_content_type()} {part.get_filename() or ''} {digest}")
    return tuple(marks)


@cache
def _text() -> str:
    lines = [
        "Dear Ada,",
        "",
        "thank you for your order. What you chose is on its way:",
        "",
        *(f"  {n:2d} x article no. {1000 + 37 * n}, {3 + n}.95 EUR each" for n in range(1, 30)),
        "",
        ".. and a small present, for it is your tenth order.",
        "",
        "You can follow the parcel at https://shop.example.com/parcels/1042-7f3a9c,",
        "and send back what does not please you within thirty days.",
        "",
        "If you have a question, just answer this mail: somebody reads it.",
        "",
        "Your Example Shop",
    ]
    # No line is longer than 76 characters, so that no client has to encode it.
    filler = "Terms: https://shop.example.com/terms"
    text = "\n".join(lines) + "\n"
    while len(text) + len(filler) < 2000:
        text += filler + "\n"
    return text


@cache
def _html(rows_in_all: int) -> str:
    rows = "".join(
        f'<tr class="row"><td style="padding:4px 8px">{n}</td>'
        f'<td style="padding:4px 8px">Crème brûlée № {n}</td>'
        f'<td style="padding:4px 8px;text-align:right">{3 + n % 9},95 €</td></tr>\n'
        for n in range(1, rows_in_all + 1)
    )
    return (
        '<!doctype html>\n<html lang="de">\n<head><meta charset="utf-8">'
        "<title>Ihre Bestellung</title></head>\n<body>\n<h1>Vielen Dank für Ihre Bestellung</h1>\n"
        f"<table>\n{rows}</table>\n<p>Mit freundlichen Grüßen</p>\n</body>\n</html>\n"
    )


@cache
def _noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)  # noqa: S311


SAMPLES = {
    sample.name: sample
    for sample in (
        Sample("text", "2 KB text"),
        Sample("html", "30 KB text with HTML", has_html=True),
        Sample(
            "built",
            "2 KB text with 2 KB HTML, created and sent",
            has_html=True,
            html_rows=10,
            is_built=True,
        ),
        Sample(
            "many",
            "2 KB text, 50 recipients",
            # As smtp-source numbers them.
            recipients=(_READER, *(f"{number}{_READER}" for number in range(2, 51))),
        ),
        Sample("5mb", "5 MB attachment", attachment_size=5_000_000),
        Sample("25mb", "25 MB attachment", attachment_size=25_000_000),
    )
}

WARM_UP = SAMPLES["text"]
"""What a client with a persistent connection sends before the measured time."""
