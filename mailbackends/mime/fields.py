"""Header fields written from text, without the email package's objects for them.

They are the same as those written from the header objects of ``email.policy.SMTP``. A function
returns None if a message has to be built.
"""

from __future__ import annotations

import email.policy
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from mailbackends.mime.address import is_plain_mailbox
from mailbackends.mime.email_internals import header_class
from mailbackends.mime.folding import UNSTRUCTURED, checked_policy, header_line
from mailbackends.mime.headers import ADDRESS_FIELDS, is_field_name
from mailbackends.mime.words import LINE_LENGTH, LONGEST_WORD, PLAIN_WORDS, fold, text_words

__all__ = ["SMTP", "address_field", "date_or_identifier", "text_field"]

SMTP: Any = checked_policy(email.policy.SMTP)
"""The policy of written messages."""

# Fields with a structure, or which may occur only once.
_STRUCTURED = ADDRESS_FIELDS | {"date", "orig-date", "message-id", "mime-version"}
_DATE_OR_IDENTIFIER = {
    "Date": re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}"),
    "Message-ID": re.compile(
        r"<[A-Za-z0-9]+(?:\.[A-Za-z0-9]+)*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*>"
    ),
}


def text_field(name: str, text: str) -> bytes | None:
    """An unstructured header field, such as Subject or ``X-Order``.

    None for a structured field, such as Sender, and for text with control characters.
    """
    lowered = name.lower()
    if lowered in _STRUCTURED or lowered.startswith(("content-", "resent-")):
        return None
    if not is_field_name(name):
        return None
    if "=?" in text or not text.isprintable():
        return _unstructured(name, text) if text.isprintable() else None
    if len(name) + len(text) + 2 <= LINE_LENGTH and PLAIN_WORDS.fullmatch(text):
        return f"{name}: {text}\r\n".encode("ascii")
    return _text_lines(name, text)


@lru_cache(maxsize=256)
def _text_lines(name: str, text: str) -> bytes:
    return _lines(name, text_words(text, room=LINE_LENGTH - len(name) - 2))


@lru_cache(maxsize=256)
def _unstructured(name: str, text: str) -> bytes | None:
    # Encoded words in it are decoded by the header object, and encoded anew.
    value = SMTP.header_store_parse(name, text)[1]
    return header_line(SMTP, name, value) if header_class(value) in UNSTRUCTURED else None


def date_or_identifier(name: str, text: str) -> bytes | None:
    """A Date or Message-ID field whose value has the form that `email.utils` gives it."""
    if len(text) > LONGEST_WORD or not _DATE_OR_IDENTIFIER[name].fullmatch(text):
        return None
    if len(name) + len(text) + 2 <= LINE_LENGTH:
        return f"{name}: {text}\r\n".encode("ascii")
    return _lines(name, [text])


def address_field(name: str, mailboxes: Sequence[str]) -> bytes | None:
    """A field such as From or To with these mailboxes, which may have display names.

    None if a local part or a domain is not ASCII, or an entry is not a mailbox.
    """
    text = ", ".join(mailboxes)
    fits = len(name) + len(text) + 2 <= LINE_LENGTH and "=?" not in text
    if fits and all(map(is_plain_mailbox, mailboxes)):
        return f"{name}: {text}\r\n".encode("ascii")
    return _addresses(name, text) if text.isprintable() else None


@lru_cache(maxsize=256)
def _addresses(name: str, text: str) -> bytes | None:
    try:
        value = SMTP.header_store_parse(name, text)[1]
        if not all(f"{one.username}{one.domain}".isascii() for one in value.addresses):
            return None
        return header_line(SMTP, name, value)
    except Exception:  # the parser fails on some input; the error comes when the message is built
        return None


def _lines(name: str, words: Sequence[str]) -> bytes:
    return "".join([f"{line}\r\n" for line in fold(name, words)]).encode("ascii")
