"""Addresses as people write them: ``"Ada <ada@example.com>"`` or ``("Ada", "ada@example.com")``."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Iterable
from email.header import Header
from typing import Any, TypeAlias

from mailbackends import InvalidAddressError
from mailbackends.integration import LINE_LENGTH, encoded_words, plain_text, to_ascii

__all__ = [
    "Address",
    "bare_addresses",
    "display",
    "evaluated",
    "force_text",
    "reverse_path",
    "sanitize_address",
    "sanitize_addresses",
    "sanitize_subject",
]

Address: TypeAlias = "str | tuple[str, str]"

# Since Python 3.13 (and in security releases of older versions) the parser returns nothing for
# anything unusual, and a recipient would be lost. Its result is checked here.
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
# So that the first line has room for the name of any address field.
_FIELD = "Reply-To"
# One or more encoded words as RFC 2047 section 5 (3) allows them in a display name: nothing in
# them needs quotes, and so nothing can end the name.
_ENCODED_WORD = r"=\?[A-Za-z0-9*-]+\?(?:[Qq]\?[A-Za-z0-9!*+/=_-]*|[Bb]\?[A-Za-z0-9+/]*=*)\?="
_ENCODED_WORDS = re.compile(rf"{_ENCODED_WORD}(?:\s+{_ENCODED_WORD})*")
_UNUSUAL = re.compile(r"=\?|[\x00-\x1f\x7f]")
_LINE_BREAK = re.compile(r"[\r\n]")
_SPECIALS = re.compile(r'[()<>@,:;".\[\]\\]')


def force_text(value: object, encoding: str = "utf-8", errors: str = "strict") -> str:
    """Return ``value`` as text: bytes are decoded, lazy strings evaluated."""
    if type(value) is str:
        return value
    if isinstance(value, bytes):
        return value.decode(encoding, errors)
    return str(value)


def evaluated(value: Any) -> Any:
    """Return a lazy string, such as Flask-Babel's, as str; anything else as it is."""
    if value is None or type(value) in (str, bytes):
        return value
    text = plain_text(value)
    return value if text is None else text


def sanitize_subject(subject: str, encoding: str = "utf-8") -> str:
    """Return the subject as a header value, with non-ASCII text as encoded words (RFC 2047)."""
    return encode_words(force_text(subject), encoding)


def sanitize_address(addr: Address, encoding: str = "utf-8") -> str:
    """Return one address as a header value, without line breaks.

    A non-ASCII name is written as encoded words, a non-ASCII domain as A-labels.
    """
    return _header_value(_usual(addr) or next(iter(_pairs(addr)), ("", "")), encoding)


def sanitize_addresses(addresses: Iterable[Address], encoding: str = "utf-8") -> list[str]:
    """Return each address as a header value, in the order given."""
    return [sanitize_address(address, encoding) for address in addresses]


def encode_words(text: str, encoding: str) -> str:
    """Return ``text`` itself if it is ASCII, else as encoded words (RFC 2047), folded."""
    if text.isascii():
        return text
    return _encoded(text, encoding)


def _encoded(text: str, encoding: str) -> str:
    if encoding.lower() not in ("utf-8", "utf8"):
        try:
            return Header(text, encoding, header_name=_FIELD).encode()
        except (UnicodeEncodeError, LookupError):
            pass
    return " ".join(encoded_words(text, room=LINE_LENGTH - len(f"{_FIELD}: ")))


def join(name: str, address: str) -> str:
    """Return ``name <address>``, with the name quoted if RFC 5322 requires it.

    Encoded words in a name stay encoded words.
    """
    if not name:
        return address
    if _SPECIALS.search(name) and not _ENCODED_WORDS.fullmatch(name):
        name = '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
    return f"{name} <{address}>"


def display(address: Address | list[str]) -> str:
    """Return an address as one readable string, as in `Message.sender`."""
    if isinstance(address, (tuple, list)) and len(address) == 2:
        return join(_literal(force_text(address[0] or "")), force_text(address[1]))
    return force_text(address)


def header_addresses(values: Iterable[Address], encoding: str) -> list[str]:
    """Return the addresses in ``values`` as header values, in order, without duplicates."""
    found: dict[str, None] = {}
    for value in values:
        usual = _usual(value)
        for pair in [usual] if usual else _pairs(value):
            found[_header_value(pair, encoding)] = None
    return list(found)


def _header_value(pair: tuple[str, str], encoding: str) -> str:
    name, address = pair
    return join(encode_words(name, encoding), _ascii_domain(address))


def bare_addresses(values: Iterable[Address], field: str) -> list[str]:
    """Return the addresses without names, in order, without duplicates.

    A string may contain several addresses, separated by commas.

    Raises:
        InvalidAddressError: a value is not an address. The text names ``field``.
    """
    found: dict[str, None] = {}
    for value in values:
        if usual := _usual(value):
            found[usual[1]] = None
            continue
        if _LINE_BREAK.search(display(value)):
            raise InvalidAddressError(f"{field} {value!r} contains a line break: remove it")
        for _, address in _pairs(value) or [("", "")]:
            # A local user, such as "root", must be the whole value: in
            # "Doe, Jo <jo@example.com>" the first part is a name that lacks its quotes.
            is_local = address == value
            is_complete = "@" in address or is_local
            if not (_ADDR_SPEC.fullmatch(address) and is_complete and _is_within(address, value)):
                raise InvalidAddressError(
                    f"{field} {value!r} is not an address: write 'name@example.com', "
                    "'Name <name@example.com>' or ('Name', 'name@example.com'), "
                    "and put a name that contains a comma into double quotes"
                )
            found[address] = None
    return list(found)


def _is_within(address: str, value: Address) -> bool:
    """Return whether the value contains the address as it is, blanks around the @ apart.

    The parser drops blanks: it would send mail for ``ada@exam ple.com`` to another domain.
    """
    text = value if isinstance(value, str) else display(value)
    return address in re.sub(r"\s*@\s*", "@", text) or "(" in text


def _usual(value: Address) -> tuple[str, str] | None:
    """Return name and address if no parser is needed, which takes fifty times as long."""
    found = _USUAL.fullmatch(value) if isinstance(value, str) else None
    return (found["name"] or "", found["spec"] or found["alone"]) if found else None


def _one_line(text: str) -> str:
    return re.sub(r"[\r\n]+", "", text)


def _pairs(value: Address) -> list[tuple[str, str]]:
    """Return the names and addresses in ``value``."""
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            return []
        name, address = value
        name = _literal(_one_line(force_text(name or "")))
        return [(name, _one_line(force_text(address)).strip("<> "))]
    text = _one_line(force_text(value))
    if usual := _usual(text):
        return [usual]
    found = email.utils.getaddresses([text], **_LENIENT)
    return [pair for pair in found if pair != ("", "")]


def _literal(name: str) -> str:
    """Return ``name``, encoded if it looks like an encoded word or has control characters."""
    # A line break is left as it is: it is refused, and must not be hidden from that check.
    if not _UNUSUAL.search(name) or _LINE_BREAK.search(name):
        return name
    return " ".join(_encoded(name, "utf-8").split())


def _ascii_domain(address: str) -> str:
    """Return the address as it is in the envelope: its domain as A-labels (RFC 5890)."""
    try:
        return to_ascii(address)
    except InvalidAddressError:
        return address  # refused when the message is sent


def reverse_path(envelope_from: Address | None, sender: str) -> str:
    """Return the address for bounces: ``envelope_from`` if given, or the sender's.

    Raises:
        InvalidAddressError: it is not one address.
    """
    if envelope_from == "<>":
        return ""
    field = "envelope_from" if envelope_from else "sender"
    found = bare_addresses([envelope_from or sender], field)
    if len(found) != 1:
        raise InvalidAddressError(f"{field} must be one address, got {sender!r}")
    return found[0]
