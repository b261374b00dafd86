"""What each header field means, and what may be wrong with a message."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from email.utils import getaddresses, parsedate_to_datetime

from mailbackends.mailbox.message import StoredMessage

__all__ = ["Field", "Note", "explained", "notes"]

_MEANINGS = {
    "from": "The author. Receivers check its domain with DMARC.",
    "sender": "Who sent the message, if not its author.",
    "reply-to": "Where replies go, instead of From.",
    "to": "The recipients as shown; the envelope decides who receives the message.",
    "cc": "Who receives a copy, visible to everyone.",
    "bcc": "Every recipient can read this. It should be removed before sending.",
    "subject": "The line in the list.",
    "date": "When the message was written, according to its author.",
    "message-id": "Identifies the message in logs and in replies; globally unique.",
    "in-reply-to": "The Message-ID of the message that this one replies to.",
    "references": "The thread that the message belongs to.",
    "mime-version": "The message is in MIME format.",
    "content-type": "The type of the content, and the boundary between its parts.",
    "content-transfer-encoding": "How the bytes are encoded.",
    "content-disposition": "Whether the part is shown or offered as a file.",
    "content-language": "The language of the text.",
    "received": "Added by each server that relayed the message, the last one first.",
    "return-path": "Where bounces go; added by the last server.",
    "delivered-to": "The mailbox that the message was delivered to.",
    "auto-submitted": "The message was written by a program: automatic replies are suppressed.",
    "precedence": "An old way to suppress automatic replies.",
    "x-auto-response-suppress": "Suppresses automatic replies of Exchange.",
    "list-unsubscribe": "How to unsubscribe. Large providers require it for bulk mail.",
    "list-unsubscribe-post": "One click is enough to unsubscribe (RFC 8058).",
    "list-id": "The mailing list.",
    "feedback-id": "Groups complaints in the provider's reports.",
    "dkim-signature": "The signature of a domain that vouches for the message.",
    "authentication-results": "The results of SPF, DKIM and DMARC at a receiving server.",
    "arc-seal": "A forwarder's signature over its results.",
    "importance": "The importance, according to the author.",
    "x-priority": "The importance as a number: 1 is the highest.",
    "x-mailer": "The program that wrote the message.",
    "user-agent": "The program that wrote the message.",
    "disposition-notification-to": "Asks for a notification when the message is read.",
    "organization": "The author's organization.",
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
    """Something that may be wrong with a message."""

    level: str
    """"wrong", or "hint"."""
    text: str


def explained(message: StoredMessage) -> list[Field]:
    """All header fields in order."""
    return [Field(name, value, _meaning(name)) for name, value in message.headers]


def _meaning(name: str) -> str:
    key = name.casefold()
    if key in _MEANINGS:
        return _MEANINGS[key]
    if key.startswith(("x-", "list-", "resent-", "arc-")):
        family = {"x": "Defined by the application.", "list": "For mailing lists (RFC 2369)."}
        return family.get(key.partition("-")[0], "Added in transit.")
    return ""


def notes(message: StoredMessage, sender: str | None = None) -> list[Note]:
    """What may be wrong with a message. ``sender`` is the reverse-path, if it is known."""
    found: list[Note] = []

    def wrong(text: str) -> None:
        found.append(Note("wrong", text))

    def hint(text: str) -> None:
        found.append(Note("hint", text))

    names = [name.casefold() for name, _ in message.headers]
    for name in ("From", "Date", "Message-ID"):
        if name.casefold() not in names:
            wrong(f"The {name} field is missing: many receivers treat such a message as spam.")
    for name in ("From", "To", "Subject", "Date", "Message-ID"):
        if names.count(name.casefold()) > 1:
            wrong(f"The message has several {name} fields (RFC 5322 section 3.6 allows one).")
    if "bcc" in names:
        wrong("The message has a Bcc field, which every recipient can read.")
    if date := message.header("Date"):
        try:
            parsedate_to_datetime(date)
        except (ValueError, TypeError, IndexError, OverflowError):
            wrong("The Date field is not a date as in RFC 5322.")
    if not message.subject:
        hint("The subject is missing.")
    if message.html is not None and not message.text:
        hint("The message has HTML and no text: some readers and spam filters want both.")
    if message.html and len(message.html.encode("utf-8", "replace")) > _GMAIL_CLIPS:
        hint("The HTML is longer than 102 KB: Gmail cuts it off there.")
    if any(len(line) > 998 for line in message.content.splitlines()):
        wrong("A line is longer than 998 bytes (RFC 5322 section 2.1.1).")
    domain = _domain(message.author)
    if sender and domain and _domain(sender) != domain:
        hint(f"The envelope's domain {_domain(sender)} differs from From: SPF will not align.")
    return found


def _domain(text: str) -> str:
    # A longer text would take long, and nested comments too deep.
    with suppress(RecursionError, ValueError, IndexError):
        for _, address in getaddresses([text[:_LONGEST_ADDRESSES]]):
            return address.rpartition("@")[2].casefold()
    return ""
