"""Addresses as people write them: ``"Ada <ada@example.com>"`` or ``("Ada", "ada@example.com")``."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Iterable
from email.header import Header
from typing import TypeAlias

from mailbackends import InvalidAddressError

__all__ = [
    "Address",
    "bare_addresses",
    "display",
    "force_text",
    "sanitize_address",
    "sanitize_addresses",
    "sanitize_subject",
]

Address: TypeAlias = "str | tuple[str, str]"

# Since Python 3.13 (and in security releases of older ones) the parser answers anything
# unusual with nothing at all, and a recipient would be lost. What it finds is checked here.
_LENIENT = {"strict": False} if getattr(email.utils, "supports_strict_parsing", False) else {}

# One addr-spec (RFC 5322 section 3.4.1, RFC 6531), or a local part alone, as in "root".
_ADDR_SPEC = re.compile(
    r"""(?: [^\x00-\x20\x7f"(),:;<>@\[\\\]]+ | "(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*" )
        (?: @ (?: [^\x00-\x20\x7f"(),:;<>@\[\\\]]+ | \[[\x21-\x5a\x5e-\x7e]+\] ) )?""",
    re.VERBOSE,
)
_USUAL = re.compile(
    r"(?P<alone>[\w.+-]+@[\w.-]+)|(?P<name>\w+(?: \w+)*) <(?P<spec>[\w.+-]+@[\w.-]+)>"
)
# Room in the first line for the name of any field that is usual here.
_FIELD = "Reply-To"
_SPECIALS = re.compile(r'[()<>@,:;".\[\]\\]')


def force_text(value: object, encoding: str = "utf-8", errors: str = "strict") -> str:
    """The text of ``value``: bytes are decoded, lazy strings resolved."""
    if isinstance(value, bytes):
        return value.decode(encoding, errors)
    return str(value)


def sanitize_subject(subject: str, encoding: str = "utf-8") -> str:
    """The subject as a header value: text that is not ASCII becomes encoded words (RFC 2047)."""
    return encode_words(force_text(subject), encoding)


def sanitize_address(addr: Address, encoding: str = "utf-8") -> str:
    """One address as a header value, without line breaks.

    The name becomes encoded words and the domain A-labels where they are not ASCII.
    """
    name, address = _usual(addr) or next(iter(_pairs(addr)), ("", ""))
    return join(encode_words(name, encoding), _ascii_domain(address))


def sanitize_addresses(addresses: Iterable[Address], encoding: str = "utf-8") -> list[str]:
    """Each address as a header value, in the order given."""
    return [sanitize_address(address, encoding) for address in addresses]


def encode_words(text: str, encoding: str) -> str:
    """``text`` itself if it is ASCII, else as encoded words (RFC 2047), on folded lines."""
    if text.isascii():
        return text
    try:
        return Header(text, encoding, header_name=_FIELD).encode()
    except (UnicodeEncodeError, LookupError):
        return Header(text, "utf-8", header_name=_FIELD).encode()


def join(name: str, address: str) -> str:
    """``name <address>``, with the name quoted where RFC 5322 asks for it."""
    if not name:
        return address
    if _SPECIALS.search(name) and not name.startswith("=?"):
        name = '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
    return f"{name} <{address}>"


def display(address: Address | list[str]) -> str:
    """An address as one readable string, the form that `Message.sender` has."""
    if isinstance(address, (tuple, list)) and len(address) == 2:
        return join(force_text(address[0] or ""), force_text(address[1]))
    return force_text(address)


def header_addresses(values: Iterable[Address], encoding: str) -> list[str]:
    """Each address in ``values`` as a header value, each once, in the order given."""
    found: dict[str, None] = {}
    for value in values:
        for one in [value] if _usual(value) else _pairs(value):
            found[sanitize_address(one, encoding)] = None
    return list(found)


def bare_addresses(values: Iterable[Address], field: str) -> list[str]:
    """The addresses alone, without names, each once, in the order given.

    A string that holds several addresses, separated by commas, stands for all of them.

    Raises:
        InvalidAddressError: a part of ``values`` is no address. ``field`` is named in the text.
    """
    found: dict[str, None] = {}
    for value in values:
        if usual := _usual(value):
            found[usual[1]] = None
            continue
        if re.search(r"[\r\n]", display(value)):
            raise InvalidAddressError(f"{field} {value!r} holds a line break: take it out")
        for _, address in _pairs(value) or [("", "")]:
            # A local user, such as "root", must stand alone: in "Doe, Jo <jo@example.com>"
            # the first part is a name that lacks its quotes.
            is_local = address == value
            if not _ADDR_SPEC.fullmatch(address) or not ("@" in address or is_local):
                raise InvalidAddressError(
                    f"{field} {value!r} is no address: write 'name@example.com', "
                    "'Name <name@example.com>' or ('Name', 'name@example.com'), "
                    "and put a name that holds a comma into double quotes"
                )
            found[address] = None
    return list(found)


def _usual(value: Address) -> tuple[str, str] | None:
    """Name and address where they need no parser, which costs fifty times that."""
    found = _USUAL.fullmatch(value) if isinstance(value, str) else None
    return (found["name"] or "", found["spec"] or found["alone"]) if found else None


def _one_line(text: str) -> str:
    return re.sub(r"[\r\n]+", "", text)


def _pairs(value: Address) -> list[tuple[str, str]]:
    """The names and addresses in ``value``; none where there is nothing to be found."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            return []
        name, address = value
        return [(_one_line(force_text(name or "")), _one_line(force_text(address)).strip("<> "))]
    text = _one_line(force_text(value))
    if usual := _usual(text):
        return [usual]
    found = email.utils.getaddresses([text], **_LENIENT)
    return [pair for pair in found if pair != ("", "")]


def _ascii_domain(address: str) -> str:
    """The address with its domain as A-labels (RFC 5890), where it has such a form."""
    local, at, domain = address.rpartition("@")
    if not at or domain.isascii():
        return address
    try:
        import idna
    except ImportError:
        try:
            return f"{local}@{domain.encode('idna').decode('ascii')}"
        except UnicodeError:
            return address
    try:
        return f"{local}@{idna.encode(domain, uts46=True).decode('ascii')}"
    except idna.IDNAError:
        return address
