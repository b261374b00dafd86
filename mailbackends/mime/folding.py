"""Header fields as lines that mean what was given, on every version of Python.

ASCII is folded at white space only, and never encoded because it is long: message ids, JSON
and tokens arrive as they are. Display names are quoted or encoded, so that none of them can
become an address. A field that was parsed and not changed is written as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from email import headerregistry
from email.header import Header
from email.headerregistry import UniqueAddressHeader
from email.policy import SMTP, Compat32, EmailPolicy, Policy
from functools import lru_cache
from typing import Any

from mailbackends.errors import InvalidMessageError
from mailbackends.mime.address import ADDRESS_CLASSES, PLAIN_LIST
from mailbackends.mime.address_field import address_words, has_names_of, is_read_alike
from mailbackends.mime.email_internals import header_class, header_name, message_with, parsed_text
from mailbackends.mime.headers import ADDRESS_FIELDS, Field, check_field, is_field_name
from mailbackends.mime.pieces import SAMPLE_BOUNDARY, with_crlf
from mailbackends.mime.words import (
    LINE_LENGTH,
    LONGEST_LINE,
    MALFORMED,
    PLAIN_WORDS,
    encoded_words,
    fold,
    parameter_words,
    text_words,
    utf8_text,
)

__all__ = [
    "UNSTRUCTURED",
    "CheckedCompat32",
    "CheckedPolicy",
    "boundary_line",
    "checked_policy",
    "header_line",
    "header_lines",
]

UNSTRUCTURED = frozenset(
    {headerregistry.UnstructuredHeader, headerregistry.UniqueUnstructuredHeader}
)
"""The classes of header objects that are text without a structure."""

_PARAMETERIZED = frozenset(
    {headerregistry.ContentTypeHeader, headerregistry.ContentDispositionHeader}
)

_LINE_END = re.compile(r"\r\n|\r|\n")


def _width(policy: Policy) -> int:
    return policy.max_line_length or LONGEST_LINE


def _encoded(name: str, words: Sequence[str], policy: Policy) -> bytes:
    lines = fold(name, words, _width(policy))
    # A word can be as long as a line by itself, and not with the name before it; there is
    # nothing to fold in a policy without a line length.
    if any(len(line.encode()) > LONGEST_LINE for line in lines):
        lines = fold(name, words)
    if any(len(line.encode()) > LONGEST_LINE for line in lines):
        raise InvalidMessageError(
            f"the header field {name} cannot be folded to lines of {LONGEST_LINE} octets "
            f"(RFC 5322 section 2.1.1): {''.join(words)[:80]!r}...; shorten it"
        )
    return "".join([f"{line}\r\n" for line in lines]).encode()


# --- Policies -------------------------------------------------------------------------------


class CheckedPolicy(EmailPolicy):
    """A policy under which the email package's generator writes fields by `header_line`."""

    package_first = False
    """True for the email package's own folding wherever it is right, as `smtplib` has it."""

    def fold(self, name: str, value: Any) -> str:
        """The field, for a generator of text."""
        return self.fold_binary(name, value).decode("utf-8", "surrogateescape")

    def fold_binary(self, name: str, value: Any) -> bytes:
        """The field, for a generator of bytes."""
        return header_line(self, name, value)


class CheckedCompat32(Compat32):
    """The same for messages of the legacy policy."""

    package_first = False
    keeps_source = False
    """True if the message was parsed: lines of up to 998 octets are not changed."""

    def fold(self, name: str, value: Any) -> str:
        """The field, for a generator of text."""
        return self.fold_binary(name, value).decode("ascii", "surrogateescape")

    def fold_binary(self, name: str, value: Any) -> bytes:
        """The field, for a generator of bytes."""
        return header_line(self, name, value)


def checked_policy(
    policy: Policy, *, package_first: bool = False, keeps_source: bool = False, **changes: Any
) -> Policy:
    """The policy, with these changes, under which fields are written by `header_line`.

    A policy of the application's class keeps its own folding.
    """
    changes = {**vars(policy), "package_first": package_first, **changes}
    if type(policy) is EmailPolicy:
        # An attribute of the class, which the constructor would make anew.
        return CheckedPolicy(**{"header_factory": policy.header_factory, **changes})
    if type(policy) is Compat32:
        return CheckedCompat32(**{**changes, "keeps_source": keeps_source})
    del changes["package_first"]
    return policy.clone(**changes)


@lru_cache(maxsize=64)
def _stock(policy: Policy) -> Policy:
    """The email package's own policy in place of a checked one."""
    settings = {**vars(policy)}
    settings.pop("keeps_source", None)
    settings.pop("package_first", None)
    return EmailPolicy(**settings) if isinstance(policy, EmailPolicy) else Compat32(**settings)


# --- Fields of a message object -------------------------------------------------------------


def header_lines(fields: Iterable[Field], policy: Policy) -> bytes:
    """The fields, each with its line end. Raises: as `header_line`."""
    return b"".join([header_line(policy, name, value) for name, value in fields])


def header_line(policy: Policy, name: str, value: Any) -> bytes:
    """One header field, with its line end.

    Raises:
        InvalidMessageError: the field contains a line break, its name is invalid, or it has a
            word that is too long for a line.
        UnicodeEncodeError: the field contains a lone surrogate.
    """
    kind = header_class(value)
    if kind is not None:
        name = header_name(value)
        text = parsed_text(value) if kind in ADDRESS_CLASSES else value
        if len(name) + len(text) + 2 <= (policy.max_line_length or 0) and "=?" not in text:
            if kind in ADDRESS_CLASSES:
                # Equal to the text made of the addresses: without comments, nothing skipped.
                is_plain = str.__eq__(value, text) and bool(PLAIN_LIST.fullmatch(text))
            else:
                is_plain = bool(text) and str.isascii(text) and str.isprintable(text)
            if is_plain and is_field_name(name):
                return "".join((name, ": ", text, "\r\n")).encode("ascii")
        check_field(name, text)
        line = _package_line(policy, kind, name, value)
        return line or _object_line(policy, kind, name, value, text)
    if isinstance(value, str) and not hasattr(value, "name"):
        if (
            len(name) + len(value) + 2 <= (policy.max_line_length or 0)
            and PLAIN_WORDS.fullmatch(value)
            and is_field_name(name)
        ):
            return f"{name}: {value}\r\n".encode("ascii")
    elif isinstance(value, Header) or hasattr(value, "fold"):
        # The legacy class, or a header class of the application's.
        check_field(name, value)
        return with_crlf(_stock(policy).fold_binary(name, value))
    text = str(value)  # it may be a lazy string
    check_field(name, text)
    return _package_line(policy, None, name, text) or _source_line(policy, name, text)


def _object_line(policy: Policy, kind: type, name: str, value: Any, text: str) -> bytes:
    """A field from a header object, which the application has made or asked for."""
    utf8 = getattr(policy, "utf8", False)
    if kind in ADDRESS_CLASSES:
        if "(" in text and not text.isascii():
            folded = _with_comments(policy, value)
            if folded is not None:
                return folded
        words = address_words(value, text, _width(policy), utf8=utf8)
        return _encoded(name, _unreadable(text) if words is None else words, policy)
    if kind in _PARAMETERIZED:
        return _encoded(name, _parameterized(value, policy), policy)
    room = LINE_LENGTH - len(name) - 2
    return _encoded(name, text_words(utf8_text(text), room=room, utf8=utf8), policy)


def _with_comments(policy: Policy, value: Any) -> bytes | None:
    """The field as the email package writes it, where that has the same names and addresses.

    Its header object has comments only in its text.
    """
    try:
        folded: bytes = _stock(policy).fold_binary(value.name, value)
        text = folded.decode("utf-8" if getattr(policy, "utf8", False) else "ascii")
    except Exception:  # the package fails on some texts, which differ by version
        return None
    unfolded = text.partition(":")[2].replace("\r\n", "").strip(" ")
    is_right = is_read_alike(value, unfolded) and has_names_of(value, unfolded)
    return folded if is_right else None


def _unreadable(text: str) -> list[str]:
    """An address field that cannot be read, as encoded words: none of it becomes an address."""
    return [part for word in encoded_words(utf8_text(text)) for part in (" ", word)][1:]


def _parameterized(value: Any, policy: Policy) -> list[str]:
    first = getattr(value, "content_type", None) or value.content_disposition
    words = [str(first or "")]
    for name, text in value.params.items():
        words[-1] += ";"
        for word in parameter_words(name, utf8_text(text), width=_width(policy)):
            words += [" ", f"{word};"]
        words[-1] = words[-1][:-1]
    return words


def _source_line(policy: Policy, name: str, text: str) -> bytes:
    """A field from text: as it was parsed, or as it was set under the legacy policy."""
    if not text.isascii():
        try:
            data = text.encode("ascii", "surrogateescape")
        except UnicodeEncodeError:
            pass
        else:
            if policy.cte_type == "8bit":  # bytes in an unknown encoding
                return name.encode("ascii") + b": " + with_crlf(data) + b"\r\n"
        text = utf8_text(text)
    utf8 = getattr(policy, "utf8", False)
    lines = _LINE_END.split(text)
    if text.isascii() or utf8:
        limit = _width(policy)
        if _keeps_source(policy):
            limit = LONGEST_LINE
        lengths = [len(name) + 2 + len(lines[0].encode()), *(len(x.encode()) for x in lines[1:])]
        if max(lengths) <= limit:
            return "".join((name, ": ", "\r\n".join(lines), "\r\n")).encode()
    text = "".join(lines)  # unfolded
    if not text.isascii() and name.lower() in ADDRESS_FIELDS:
        value = _parsed(name, text)
        if value is None:
            return _encoded(name, _unreadable(text), policy)
        return _object_line(policy, UniqueAddressHeader, name, value, parsed_text(value))
    room = LINE_LENGTH - len(name) - 2
    words = text_words(text, room=room, utf8=utf8, literal=False)
    return _encoded(name, words, policy)


def _keeps_source(policy: Policy) -> bool:
    if isinstance(policy, EmailPolicy):
        return policy.refold_source != "all"
    return getattr(policy, "keeps_source", False)


def _parsed(name: str, text: str) -> Any:
    try:
        return SMTP.header_factory(name, text)
    except Exception:  # the parser fails on some texts, which differ by version
        return None


def boundary_line(policy: Policy, name: str, content_type: str, boundary: str) -> bytes:
    """The Content-Type field of a multipart that had no boundary yet."""
    sample = _boundary_line(policy, name, content_type, SAMPLE_BOUNDARY)
    written = SAMPLE_BOUNDARY.encode("ascii")
    # With short lines a longer boundary might move to another line.
    if written in sample and len(boundary) == len(SAMPLE_BOUNDARY):
        return sample.replace(written, boundary.encode("ascii"))
    return _boundary_line(policy, name, content_type, boundary)


@lru_cache(maxsize=64)
def _boundary_line(policy: Policy, name: str, content_type: str, boundary: str) -> bytes:
    part = message_with([], policy)
    part[name] = content_type
    part.set_boundary(boundary)
    return header_lines(part.raw_items(), policy)


def _package_line(policy: Policy, kind: type | None, name: str, value: Any) -> bytes | None:
    """The field as the package folds it, where that policy is used and the result is right."""
    if not getattr(policy, "package_first", True):
        return None
    try:
        line = with_crlf(_stock(policy).fold_binary(name, value))
        return line if _is_right(policy, kind, name, value, line) else None
    except Exception:  # the package fails on some texts, which differ by version
        return None


def _is_right(policy: Policy, kind: type | None, name: str, value: Any, line: bytes) -> bool:
    lines = line[:-2].split(b"\r\n")
    if max(map(len, lines)) > LONGEST_LINE or not all(part.strip() for part in lines):
        return False
    if MALFORMED.search(line) and not str(value).isascii():
        return False
    text = _LINE_END.sub("", line.decode("utf-8", "surrogateescape")).partition(":")[2].strip(" \t")
    if kind in ADDRESS_CLASSES:
        return is_read_alike(value, text) and has_names_of(value, text)
    source = value if kind is not None else _LINE_END.sub("", value)
    if kind in _PARAMETERIZED:
        return bool(SMTP.header_factory(name, text).params == value.params)
    if source.isascii() or text == source:
        return bool(text == source.strip(" \t"))
    if kind is None and name.lower() in ADDRESS_FIELDS:
        return False  # the legacy policy encodes the addresses too
    return bool(str(SMTP.header_factory(name, text)).strip() == source.strip())
