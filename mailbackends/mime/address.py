"""Addresses: what may stand in a path on a command line, and what stands in header fields."""

from __future__ import annotations

import re
from email import headerregistry
from email.errors import InvalidHeaderDefect
from email.utils import getaddresses
from typing import Any

from mailbackends.errors import InvalidAddressError
from mailbackends.mime import idna
from mailbackends.mime.email_internals import header_class

__all__ = [
    "ADDRESS_CLASSES",
    "PLAIN_LIST",
    "PLAIN_MAILBOX",
    "addresses_in",
    "parse_path",
    "to_ascii",
]

# RFC 5321 section 4.1.2, with the UTF-8 of RFC 6531; dots may stand anywhere in the local
# part, since large providers have given out such addresses. No white space, no angle
# bracket, no control character outside quotes: nothing that could end the path. Nowhere
# what has no form in UTF-8, and no U+FFFD, which stands for bytes that were lost.
_NEVER = r"\x00-\x1f\x7f-\x9f\u2028\u2029\ufffd\ud800-\udfff"
_ATOM = rf"[^{_NEVER}\xa0 \"(),:;<>@\[\\\]]+"
_QUOTED = rf'"(?:[^{_NEVER}"\\]|\\[\x20-\x7e])*"'
_DOMAIN = rf"{_ATOM}|\[[A-Za-z0-9:.-]+\]"
_PATH = re.compile(f"(?:{_ATOM}|{_QUOTED})(?:@(?:{_DOMAIN}))?")
# A display name, where an unquoted comma, colon or "@" would make two addresses of one
# (RFC 5322 section 3.4); or a comment behind the address, as it was done before 1982.
_NAMED = re.compile(rf'(?:{_QUOTED}|[^{_NEVER}"<>@,:;])*<(?P<path>[^{_NEVER}]+)>')
_COMMENTED = re.compile(rf"(?P<path>[^{_NEVER}]+?) *\([^{_NEVER}()]*\)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

# RFC 5322 without comments, quotes, groups and folding: nobody reads it in two ways.
_WORD = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++"
_SPEC = rf"{_WORD}(?:\.{_WORD})*+@[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)*+"
PLAIN_MAILBOX = rf"(?:{_WORD}(?: {_WORD})*+ <{_SPEC}>|{_SPEC})"
"""The pattern of one mailbox in ASCII, as most are written."""
PLAIN_LIST = re.compile(f"{PLAIN_MAILBOX}(?:, {PLAIN_MAILBOX})*+")
ADDRESS_CLASSES = frozenset(
    {
        headerregistry.AddressHeader,
        headerregistry.UniqueAddressHeader,
        headerregistry.SingleAddressHeader,
        headerregistry.UniqueSingleAddressHeader,
    }
)

# RFC 5321 section 4.5.3.1.4: no server need take a command line of more than 512 octets.
# One that takes less than it is sent may read the rest as another command.
_LONGEST = 512 - len("MAIL FROM:<>\r\n")

# A group without members, such as "undisclosed-recipients:;" (RFC 5322 section 3.4).
_EMPTY_GROUP = re.compile(r"[^<>@:;,]*:\s*;")
_EMPTY_ENTRIES = re.compile(r",(?:\s*,)+")
# Where a comma separates nothing: quoted strings, comments, address literals.
_SEPARATOR = re.compile("[,;]")
_OPAQUE = re.compile(r'"(?:[^"\\]|\\.)*"|\([^()]*\)|\[[^\[\]]*\]', re.S)


def parse_path(address: str, *, of: str = "recipient") -> str:
    """The bare address in ``address``, which may carry a display name: ``local@domain``.

    Raises:
        InvalidAddressError: it is none, or more than one, or holds a control character.
    """
    if type(address) is str and len(address) <= _LONGEST and address.isascii():
        # As nearly all are. A path holds no control character and begins with no space.
        if _PATH.fullmatch(address):
            return address
    elif address is None or isinstance(address, bytes):
        raise InvalidAddressError(
            f"the {of} address must be text, not {type(address).__name__}: {address!r}"
        )
    text = str(address).strip(" ")
    if len(text) > 4 * _LONGEST:
        raise InvalidAddressError(f"the {of} address {text[:80]!r}... is too long")
    if _CONTROL.search(text):
        raise InvalidAddressError(
            f"the {of} address {address!r} holds a line break or another control character: "
            "take it out"
        )
    path = text
    if not _PATH.fullmatch(text):
        found = _NAMED.fullmatch(text) or _COMMENTED.fullmatch(text)
        path = found["path"].strip(" ") if found else ""
    if not _PATH.fullmatch(path):
        raise InvalidAddressError(
            f"the {of} address {address!r} is not one address: write it as "
            "'name@example.com' or 'Name <name@example.com>'"
        )
    if len(path.encode()) > _LONGEST:
        raise InvalidAddressError(
            f"the {of} address {path[:80]!r}... is longer than {_LONGEST} octets, "
            "which no server need take (RFC 5321 section 4.5.3.1)"
        )
    return path


def to_ascii(path: str) -> str:
    """The path with its domain as A-labels (UTS 46). A local part that is not ASCII stays.

    Raises:
        InvalidAddressError: the domain has no form in ASCII.
    """
    local, at, domain = path.rpartition("@")
    return f"{local}{at}{idna.to_a_labels(domain)}" if at and not domain.isascii() else path


def addresses_in(name: str, value: Any) -> list[str]:
    """The addresses in one header field, without display names; `parse_path` checks each.

    Raises:
        InvalidAddressError: the field cannot be read, or only in part: a recipient would be
            lost without a word.
    """
    plain = _plain_addresses(value)
    if plain is not None:
        return plain
    if hasattr(value, "addresses"):
        text = str(getattr(value, "_parse_tree", value))
        found = [_decoded(address.addr_spec) for address in value.addresses]
        is_faulty = any(isinstance(defect, InvalidHeaderDefect) for defect in value.defects)
        # The parser makes the best of a faulty field and passes over the rest: of "a@x b@y"
        # and of "a@x <b@y>" it keeps the first. What stood there shows what was lost.
        is_whole = not is_faulty or found == _read(text)
    else:
        text = str(value)
        found, is_whole = _read(text), True
    if not all(found) or not is_whole:
        raise InvalidAddressError(
            f"the {name} field cannot be read as a list of addresses: {text[:_LONGEST]!r}; write "
            "'name@example.com' or '\"Name\" <name@example.com>', with commas between them"
        )
    return found


def _plain_addresses(value: Any) -> list[str] | None:
    """The addresses where the text leaves no doubt about them, else None."""
    is_object = header_class(value) in ADDRESS_CLASSES
    if not (is_object or type(value) is str) or not PLAIN_LIST.fullmatch(value) or "=?" in value:
        return None
    entries = str.split(value, ", ")
    # What the parser passed over is not in its text, and an Address can hold a comma.
    if is_object and (value._defects or len(value._groups) != len(entries)):
        return None
    return [entry.rpartition("<")[2].rstrip(">") for entry in entries]


def _read(text: str) -> list[str]:
    # Python's versions differ on empty entries, as in "a@x, , b@y,".
    text = _EMPTY_ENTRIES.sub(",", text).strip(" ,\t\r\n")
    if not text or _EMPTY_GROUP.fullmatch(text):
        return []
    found = [path for _, path in getaddresses([text])]
    # Older versions of Python make two addresses of one entry (CVE-2023-27043), and all of
    # them a mailbox "John" of the entry "John Doe".
    entries = [
        entry.rpartition(":")[2].strip() for entry in _SEPARATOR.split(_OPAQUE.sub("", text))
    ]
    entries = [entry for entry in entries if entry]
    if len(found) != len(entries):
        return [""]
    return [
        path if "@" in path or " " not in entry or "<" in entry else ""
        for path, entry in zip(found, entries, strict=True)
    ]


def _decoded(addr_spec: str) -> str:
    """With the bytes of a message that was parsed as UTF-8 (RFC 6532)."""
    if addr_spec.isascii():
        return addr_spec
    return addr_spec.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
