"""What each header field means, and what is worth a look in a message."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from email.utils import getaddresses, parsedate_to_datetime

from mailbackends.mailbox.message import StoredMessage

__all__ = ["Field", "Note", "explained", "notes"]

_MEANINGS = {
    "from": "Who wrote it. Receivers check its domain with DMARC.",
    "sender": "Who sent it, where that is somebody else than who wrote it.",
    "reply-to": "Where answers go, in place of From.",
    "to": "Whom it is shown to be for; the envelope decides who gets it.",
    "cc": "Who gets a copy, for all to see.",
    "bcc": "Everybody can read this here. It should have been taken out before sending.",
    "subject": "The line in the list.",
    "date": "When its author says that it was written.",
    "message-id": "Its name in logs and in answers; unique in the world.",
    "in-reply-to": "The Message-ID that this answers.",
    "references": "The thread that it belongs to.",
    "mime-version": "Says that it is made of typed parts.",
    "content-type": "What it is made of, and the boundary between the parts.",
    "content-transfer-encoding": "How the bytes were made fit for mail.",
    "content-disposition": "Whether it is shown or offered as a file.",
    "content-language": "The language that it is written in.",
    "received": "Added by each server that it came through, the last one on top.",
    "return-path": "Where reports of failure go; the last server writes it.",
    "delivered-to": "The mailbox that it ended in.",
    "auto-submitted": "Written by a program: holiday notices will not answer.",
    "precedence": "An old way to say that no automatic answers are wanted.",
    "x-auto-response-suppress": "Tells Exchange not to answer by itself.",
    "list-unsubscribe": "How to leave. Large providers ask for it in bulk mail.",
    "list-unsubscribe-post": "Says that one click is enough to leave (RFC 8058).",
    "list-id": "The list that it was sent to.",
    "feedback-id": "Groups complaints in the provider's reports.",
    "dkim-signature": "A signature that its domain vouches with.",
    "authentication-results": "What a receiving server found on SPF, DKIM and DMARC.",
    "arc-seal": "A forwarder's signature over what it found.",
    "importance": "How its author wants it to be taken.",
    "x-priority": "The same, in numbers: 1 is the highest.",
    "x-mailer": "The program that wrote it.",
    "user-agent": "The program that wrote it.",
    "disposition-notification-to": "Asks to be told when it is read.",
    "organization": "Its author's organization.",
}
_GMAIL_CLIPS = 102 * 1024  # bytes of HTML
_LONGEST_ADDRESSES = 2_000  # characters


@dataclass(frozen=True, slots=True)
class Field:
    """One header field."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth a look before such mail goes to customers."""

    level: str
    """"wrong", or "hint"."""
    text: str


def explained(message: StoredMessage) -> list[Field]:
    """All fields in their order."""
    return [Field(name, value, _meaning(name)) for name, value in message.headers]


def _meaning(name: str) -> str:
    key = name.casefold()
    if key in _MEANINGS:
        return _MEANINGS[key]
    if key.startswith(("x-", "list-", "resent-", "arc-")):
        family = {"x": "The application's own.", "list": "For mailing lists (RFC 2369)."}
        return family.get(key.partition("-")[0], "Added on the way.")
    return ""


def notes(message: StoredMessage, sender: str | None = None) -> list[Note]:
    """What a receiver may stumble over. ``sender`` is the reverse-path, where it is known."""
    found: list[Note] = []

    def wrong(text: str) -> None:
        found.append(Note("wrong", text))

    def hint(text: str) -> None:
        found.append(Note("hint", text))

    names = [name.casefold() for name, _ in message.headers]
    for name in ("From", "Date", "Message-ID"):
        if name.casefold() not in names:
            wrong(f"There is no {name} field: many receivers take that for spam.")
    for name in ("From", "To", "Subject", "Date", "Message-ID"):
        if names.count(name.casefold()) > 1:
            wrong(f"There are several {name} fields (RFC 5322 section 3.6 allows one).")
    if "bcc" in names:
        wrong("A Bcc field is in the message: every recipient can read it.")
    if date := message.header("Date"):
        try:
            parsedate_to_datetime(date)
        except (ValueError, TypeError, IndexError, OverflowError):
            wrong("The Date field is no date that RFC 5322 knows.")
    if not message.subject:
        hint("There is no subject.")
    if message.html is not None and not message.text:
        hint("There is HTML and no text: some readers and spam filters want both.")
    if message.html and len(message.html.encode("utf-8", "replace")) > _GMAIL_CLIPS:
        hint("The HTML is longer than 102 KB: Gmail cuts it off there.")
    if any(len(line) > 998 for line in message.content.splitlines()):
        wrong("A line is longer than 998 bytes (RFC 5322 section 2.1.1).")
    domain = _domain(message.author)
    if sender and domain and _domain(sender) != domain:
        hint(f"The envelope's domain {_domain(sender)} is not that of From: SPF will not align.")
    return found


def _domain(text: str) -> str:
    # A longer text would take long, and nested comments too deep.
    with suppress(RecursionError, ValueError, IndexError):
        for _, address in getaddresses([text[:_LONGEST_ADDRESSES]]):
            return address.rpartition("@")[2].casefold()
    return ""
