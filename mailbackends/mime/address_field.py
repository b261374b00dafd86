"""The words of an address field, of which each address stays the one that was given."""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.header import decode_header, make_header
from email.headerregistry import Address, Group
from email.policy import SMTP
from email.utils import getaddresses
from typing import Any

from mailbackends.errors import InvalidAddressError
from mailbackends.mime.address import PLAIN_LIST, addresses_in
from mailbackends.mime.email_internals import is_one_group_each
from mailbackends.mime.words import LONGEST_WORD, phrase_words, utf8_text

__all__ = ["address_words", "has_names_of", "is_read_alike", "mailbox_words"]

# Entries that every parser reads alike: a name of atoms, dots and quoted strings, then the
# address in angle brackets; or the address alone.
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]++"
_QUOTED = r'"(?:[^"\\\x00-\x1f\x7f]|\\[ -~])*"'
_SPEC = rf"{_ATOM}@[A-Za-z0-9.-]++"
_ENTRY = re.compile(
    rf"(?P<name>(?:{_ATOM}|{_QUOTED})(?: (?:{_ATOM}|{_QUOTED}))*) ?<(?P<named>{_SPEC})>"
    rf"|<(?P<bracketed>{_SPEC})>|(?P<alone>{_SPEC})"
)
_SEPARATOR = re.compile(", ?|$")
_ESCAPED = re.compile(r"\\(.)")
_NAME_PART = re.compile(f"{_QUOTED}|{_ATOM}")
# Folding is possible at these spaces, which are not in a quoted string.
_WORD = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^ \t"])+')


def address_words(value: Any, text: str, width: int, *, utf8: bool) -> list[str] | None:
    """The words of a field and the spaces between them; None if the field cannot be read.

    ``value`` is the header object, and ``text`` the text that was parsed into it. That is kept
    where reading it gives the same names and addresses; otherwise the field is written from
    those. (The email package decodes encoded words in the text, in some versions without
    adding the quotes that the name needs then.)
    """
    if text.isascii() and text.isprintable():
        words = _kept(value, text, width)
        if words and max(map(len, words)) <= LONGEST_WORD:
            return words
    elif not _is_whole(value):
        return None
    return _rewritten(value, width, utf8=utf8)


def _kept(value: Any, text: str, width: int) -> list[str] | None:
    # The text of the object is made of its names and addresses. If it is the same, then there
    # are no comments, and nothing that the parser skipped.
    if "=?" not in text and str.__eq__(value, text):
        if PLAIN_LIST.fullmatch(text):
            entries = text.split(", ")
            if is_one_group_each(value, len(entries)):
                return _list_of([[entry] for entry in entries], width)
        found = _entries(text)
        if found and [(name, spec) for _, name, spec in found] == _named(value):
            return _list_of([[entry] for entry, _, _ in found], width)
    if is_read_alike(value, text):
        return _split(text) if len(text) > width else [text]
    return None


def mailbox_words(name: str, spec: str, *, utf8: bool = False) -> list[str]:
    """The words of one mailbox with this display name, which may be empty."""
    return [*phrase_words(name, utf8=utf8), f"<{spec}>"] if name else [spec]


def _entries(text: str) -> list[tuple[str, str, str]] | None:
    """Each entry with its name and address, None if there is one that can be misread."""
    found: list[tuple[str, str, str]] = []
    place = 0
    while place < len(text):
        entry = _ENTRY.match(text, place)
        separator = _SEPARATOR.match(text, entry.end()) if entry else None
        if entry is None or separator is None:
            return None
        name = _unquoted(entry["name"] or "")
        found.append((entry[0], name, entry["named"] or entry["bracketed"] or entry["alone"]))
        place = separator.end()
    return found


def _unquoted(name: str) -> str:
    parts: list[str] = _NAME_PART.findall(name)
    return " ".join(
        _ESCAPED.sub(r"\1", part[1:-1]) if part.startswith('"') else part for part in parts
    )


def _named(value: Any) -> list[tuple[str, str]] | None:
    """The names and addresses of a header object; None if it has a group."""
    found: list[tuple[str, str]] = []
    for group in value.groups:
        if group.display_name is not None or len(group.addresses) != 1:
            return None
        [address] = group.addresses
        found.append((address.display_name, address.addr_spec))
    return found


def is_read_alike(value: Any, text: str) -> bool:
    """True if the text has the same names and addresses as the header object."""
    try:
        again: Any = SMTP.header_factory("To", text)
    except Exception:  # the parser fails on some texts, which differ by version
        return False
    return bool(again.groups == value.groups)


def has_names_of(value: Any, text: str) -> bool:
    """True if the text has the same names when it is read by RFC 2047 section 6.2.

    White space between two encoded words is not shown then. The email package's parser shows
    it, and some versions of the package rely on that when they fold a name.
    """
    if text.count("=?") < 2:
        return True
    try:
        names = [str(make_header(decode_header(name))) for name, _ in getaddresses([text])]
    except Exception:  # the parser fails on some texts, which differ by version
        return False
    # White space at the ends of a name and between its words is not significant.
    given = [address.display_name for address in value.addresses]
    return [name.split() for name in names] == [name.split() for name in given]


def _is_whole(value: Any) -> bool:
    try:
        addresses_in(value.name, value)
    except InvalidAddressError:
        return False
    return True


def _split(text: str) -> list[str]:
    """The words of a text and the white space between them."""
    words: list[str] = []
    place = 0
    for found in _WORD.finditer(text):
        if words or found.start():
            words += [text[place : found.start()]] if words else ["", text[: found.start()]]
        words.append(found[0])
        place = found.end()
    return [*words, text[place:], ""] if place < len(text) else words


def _rewritten(value: Any, width: int, *, utf8: bool) -> list[str] | None:
    entries: list[list[str]] = []
    for group in value.groups:
        members = [_address(address, utf8=utf8) for address in group.addresses]
        if not utf8 and not all(words[-1].isascii() for words in members):
            return None
        entries += [_group(group, members, utf8=utf8)] if group.display_name else members
    return _list_of(entries, width)


def _address(address: Address, *, utf8: bool) -> list[str]:
    spec = utf8_text(address.addr_spec)
    return mailbox_words(utf8_text(address.display_name), spec, utf8=utf8)


def _group(group: Group, members: list[list[str]], *, utf8: bool) -> list[str]:
    words = phrase_words(utf8_text(group.display_name or ""), utf8=utf8)
    words[-1] += ":"
    for index, member in enumerate(members):
        last = member[-1] + ("," if index < len(members) - 1 else "")
        words += [*member[:-1], last]
    words[-1] += ";"
    return words


def _list_of(entries: Iterable[list[str]], width: int) -> list[str]:
    """The entries with commas; one that fits on a line is not folded within."""
    words: list[str] = []
    for entry in entries:
        if words:
            words[-1] += ","
        joined = " ".join(entry)
        if len(joined) < width - 2:
            entry = [joined]
        elif len(entry) == 1:
            entry = _split(joined)[::2]
        for word in entry:
            words += [" ", word] if words else [word]
    return words or [""]
