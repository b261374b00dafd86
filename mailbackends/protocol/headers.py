"""The header fields of a message object: what may stand in them, and addresses for ASCII."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.header import Header
from email.headerregistry import Address, Group
from email.message import Message
from email.utils import formataddr, getaddresses
from typing import Any

from mailbackends.errors import InvalidAddressError, InvalidMessageError
from mailbackends.protocol.address import addresses_in, parse_path, to_ascii

__all__ = [
    "ADDRESS_FIELDS",
    "check_headers",
    "field_that_needs_utf8",
    "make_domains_ascii",
    "make_text",
]

# A line end within a header is folding only where white space follows (RFC 5322 section 2.2.3).
_UNFOLDED_LINE_END = re.compile(r"\r\n(?![ \t])|\r(?!\n)(?![ \t])|(?<!\r)\n(?![ \t])")
# What str.splitlines() takes for line ends, and so the email package when it folds a field.
_OTHER_LINE_END = re.compile(r"[\x0b\x0c\x1c-\x1e]")
_HEADER_NAME = re.compile(r"[!-9;-~]+")

# RFC 5322 section 3.6, and those in use beside it that hold addresses.
ADDRESS_FIELDS = frozenset(
    {
        *("from", "sender", "reply-to", "to", "cc", "bcc"),
        *("resent-from", "resent-sender", "resent-reply-to", "resent-to", "resent-cc"),
        *("resent-bcc", "disposition-notification-to", "return-receipt-to"),
    }
)
"""The fields that hold addresses, in lower case."""


def check_headers(message: Message[Any, Any]) -> None:
    """Refuse what would let a header field's value become another field.

    The legacy policy (``compat32``) takes any text, and the generators of some Python
    versions write it out as it is.

    Raises:
        InvalidMessageError: names the field and the value; or the message is no proper one.
    """
    try:
        fields = [field for part in message.walk() for field in part.raw_items()]
    except (AttributeError, RecursionError) as error:
        raise InvalidMessageError(f"the message cannot be read: {error}") from error
    for name, value in fields:
        text = str(value)
        if not _HEADER_NAME.fullmatch(name):
            raise InvalidMessageError(f"{name!r} is no name of a header field (RFC 5322)")
        is_split = ("\n" in text or "\r" in text) and _UNFOLDED_LINE_END.search(text)
        if is_split or (not text.isprintable() and _OTHER_LINE_END.search(text)):
            raise InvalidMessageError(
                f"the header field {name} holds a line break: {text[:200]!r}; "
                "take it out, for it would begin another field"
            )


def field_that_needs_utf8(message: Message[Any, Any]) -> str | None:
    """The name of a field with an address whose local part is not ASCII, or None.

    Nothing stands for such an address in ASCII (RFC 6532 section 3.2): an encoded word is
    no address (RFC 2047 section 5). The whole message then needs SMTPUTF8.
    """
    for name, value in _international_fields(message):
        try:
            paths = [parse_path(path) for path in addresses_in(name, value)]
        except InvalidAddressError:
            continue  # as unreadable to whoever receives it
        for path in paths:
            local = path.rpartition("@")[0] or path
            if not local.isascii():
                return name
    return None


def make_domains_ascii(message: Message[Any, Any]) -> None:
    """Write international domains in address fields as A-labels, in place.

    The email package would put the whole address into an encoded word, which is none to
    whoever answers (RFC 2047 section 5).

    Raises:
        InvalidAddressError: a domain has no form in ASCII.
    """
    for name, value in list(_international_fields(message)):
        if hasattr(value, "groups"):
            groups = tuple(_ascii_group(group) for group in value.groups)
            if groups != value.groups:
                _replace(message, name, value, groups)
        elif isinstance(value, str):
            text = _ascii_text(name, value)
            if text is not None:
                _replace(message, name, value, text)


def make_text(message: Message[Any, Any]) -> None:
    """Turn the legacy `email.header.Header` objects into the text they stand for, in place."""
    for name, value in list(message.raw_items()):
        if isinstance(value, Header):
            _replace(message, name, value, str(value))


def _international_fields(message: Message[Any, Any]) -> Iterator[tuple[str, Any]]:
    for name, raw in message.raw_items():
        if name.lower() in ADDRESS_FIELDS and not str(raw).isascii():
            yield name, message.policy.header_fetch_parse(name, raw)


def _ascii_group(group: Group) -> Group:
    return Group(group.display_name, tuple(_ascii_address(one) for one in group.addresses))


def _ascii_address(address: Address) -> Address:
    domain = _text(address.domain)
    if domain.isascii():
        return address
    labels = to_ascii(f"@{domain}").removeprefix("@")
    return Address(_text(address.display_name), _text(address.username), labels)


def _text(text: str) -> str:
    """With the bytes of a message that was parsed, which stand there as surrogates, as UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _ascii_text(name: str, value: str) -> str | None:
    """The field for the legacy policy, which would encode all of it; None: leave it."""
    try:
        addresses_in(name, value)
    except InvalidAddressError:
        return None
    pairs = [(display, to_ascii(path)) for display, path in getaddresses([value])]
    try:
        return ", ".join(formataddr(pair) for pair in pairs)
    except UnicodeError:  # a local part that is not ASCII
        return None


def _replace(message: Message[Any, Any], name: str, old: Any, new: Any) -> None:
    values = message.get_all(name) or []
    if len(values) == 1:
        message.replace_header(name, new)
        return
    # A field that stands there more than once (Resent-To): all of them, in their order.
    del message[name]
    for value in values:
        message[name] = new if value == old else value
