"""Header fields as lines: what the policy folds, written faster where the field is plain."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from email import headerregistry
from email.headerregistry import UnstructuredHeader
from email.message import Message
from email.policy import SMTP, EmailPolicy, Policy
from functools import cache, lru_cache
from typing import Any

from mailbackends.mime.address import ADDRESS_CLASSES, PLAIN_LIST, is_plain_mailbox
from mailbackends.mime.email_internals import header_class, header_name, parsed_text
from mailbackends.mime.headers import ADDRESS_FIELDS, Field, check_field, is_field_name
from mailbackends.mime.pieces import SAMPLE_BOUNDARY, with_crlf

__all__ = [
    "LINE_LENGTH",
    "address_field",
    "boundary_line",
    "date_or_identifier",
    "header_line",
    "header_lines",
    "text_field",
]

LINE_LENGTH = 78
"""The length of a line, without its end, that should not be exceeded (RFC 5322 section 2.1.1)."""

# Header objects of these classes are folded from their own text; others from the tree that
# the text was parsed into, which takes long.
_TEXT_IS_SOURCE = frozenset(
    {
        headerregistry.UnstructuredHeader,
        headerregistry.UniqueUnstructuredHeader,
        headerregistry.MIMEVersionHeader,
        headerregistry.ContentTypeHeader,
        headerregistry.ContentDispositionHeader,
        headerregistry.ContentTransferEncodingHeader,
        headerregistry.MessageIDHeader,
    }
)

# One space between words, none around them: nothing that folding could change.
_PLAIN_WORDS = re.compile(r"[!-~]+(?: [!-~]+)*")
# Fields with a structure, or which may occur only once.
_STRUCTURED = ADDRESS_FIELDS | {"date", "orig-date", "message-id", "mime-version"}
_DATE_OR_IDENTIFIER = {
    "Date": re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}"),
    "Message-ID": re.compile(
        r"<[A-Za-z0-9]+(?:\.[A-Za-z0-9]+)*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*>"
    ),
}

# --- Fields of a message object -------------------------------------------------------------


def header_lines(fields: Iterable[Field], policy: Policy) -> bytes:
    """The fields as the policy folds them, each with its line end. Raises: as `header_line`."""
    return b"".join([header_line(policy, name, value) for name, value in fields])


def header_line(policy: Policy, name: str, value: Any) -> bytes:
    """One header field as the policy folds it, with its line end.

    Raises:
        InvalidMessageError: the field contains a line break, or its name is invalid.
    """
    text, written = "", name
    kind = header_class(value)
    if kind is not None:
        if isinstance(policy, EmailPolicy):
            text = value if kind in _TEXT_IS_SOURCE else parsed_text(value)
            written = header_name(value)
    elif isinstance(value, str) and not hasattr(value, "name"):
        text = value if _PLAIN_WORDS.fullmatch(value) and _is_kept(policy, value) else ""
    width = policy.max_line_length or 0
    if text and str.isascii(text) and str.isprintable(text) and is_field_name(written):
        if len(written) + len(text) + 2 <= width:
            return "".join((written, ": ", text, "\r\n")).encode("ascii")
        if kind in ADDRESS_CLASSES and _package_folds_alike():
            folded = _folded_addresses(written, text, width)
            if folded is not None:
                return folded.encode("ascii")
    check_field(name, value)
    # Bytes in an unknown encoding are sent as they were parsed, with the line ends they had.
    return with_crlf(policy.fold_binary(name, value))


def _is_kept(policy: Policy, value: str) -> bool:
    if isinstance(policy, EmailPolicy):
        return policy.refold_source != "all"
    return "=?" not in value


def _folded_addresses(name: str, text: str, width: int) -> str | None:
    """A plain list of addresses, as many on each line as fit; None: leave it to the package.

    The package begins no line with a comma, and moves a list that fits on one line as a whole
    to the second line.
    """
    if len(text) < width or not PLAIN_LIST.fullmatch(text):
        return None
    first, *others = text.split(", ")
    lines: list[str] = []
    line = f"{name}: {first}"
    for entry in others:
        if len(line) >= width or len(entry) + 2 > width:
            return None
        if len(line) + len(entry) + 2 <= width:
            line = f"{line}, {entry}"
        else:
            lines.append(f"{line},\r\n")
            line = f" {entry}"
    lines.append(f"{line}\r\n")
    return "".join(lines) if len(line) <= width else None


@cache
def _package_folds_alike() -> bool:
    """True if the installed version of the email package folds such a list as we do."""
    text = ", ".join(f"Name {n} <n{n}@example.com>, {n}@example.org" for n in range(20))
    expected: str = SMTP.fold("To", SMTP.header_factory("To", text))
    return _folded_addresses("To", text, SMTP.max_line_length or 0) == expected


def boundary_line(policy: Policy, name: str, content_type: str, boundary: str) -> bytes:
    """The Content-Type field of a multipart that had no boundary yet."""
    sample = _boundary_line(policy, name, content_type, SAMPLE_BOUNDARY)
    written = SAMPLE_BOUNDARY.encode("ascii")
    # With short lines the boundary would be cut, and a longer one might move to another line.
    if written in sample and len(boundary) == len(SAMPLE_BOUNDARY):
        return sample.replace(written, boundary.encode("ascii"))
    return _boundary_line(policy, name, content_type, boundary)


@lru_cache(maxsize=64)
def _boundary_line(policy: Policy, name: str, content_type: str, boundary: str) -> bytes:
    part: Message[Any, Any] = Message(policy)
    part[name] = content_type
    part.set_boundary(boundary)
    return header_lines(part.raw_items(), policy)


# --- Fields written from text, without an object ---------------------------------------------
# Byte for byte as `email.policy.SMTP` folds them. None where a message has to be built.


def text_field(name: str, text: str) -> bytes | None:
    """An unstructured header field, such as Subject or ``X-Order``.

    None for a structured field, such as Sender, and for text with control characters.
    """
    lowered = name.lower()
    if lowered in _STRUCTURED or lowered.startswith(("content-", "resent-")):
        return None
    if not is_field_name(name):
        return None
    fits = len(name) + len(text) + 2 <= LINE_LENGTH
    if fits and _PLAIN_WORDS.fullmatch(text) and "=?" not in text:
        return f"{name}: {text}\r\n".encode("ascii")
    return _unstructured(name, text) if text.isprintable() else None


@lru_cache(maxsize=256)
def _unstructured(name: str, text: str) -> bytes | None:
    value: Any = SMTP.header_store_parse(name, text)[1]
    return header_line(SMTP, name, value) if isinstance(value, UnstructuredHeader) else None


def date_or_identifier(name: str, text: str) -> bytes | None:
    """A Date or Message-ID field whose value has the form that `email.utils` gives it."""
    if not _DATE_OR_IDENTIFIER[name].fullmatch(text):
        return None
    if len(name) + len(text) + 2 <= LINE_LENGTH:
        return f"{name}: {text}\r\n".encode("ascii")
    value: Any = SMTP.header_store_parse(name, text)[1]
    return header_line(SMTP, name, value)


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
        value: Any = SMTP.header_store_parse(name, text)[1]
        if not all(f"{one.username}{one.domain}".isascii() for one in value.addresses):
            return None
        return header_line(SMTP, name, value)
    except Exception:  # the parser fails on some input; the error comes when the message is built
        return None
