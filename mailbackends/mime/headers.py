"""The header fields of a message object: their checks, and international domains in ASCII."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from email.header import Header
from email.headerregistry import Address, Group
from email.message import Message
from email.policy import Policy
from email.utils import formataddr, getaddresses
from functools import lru_cache
from typing import Any, TypeAlias

from mailbackends.errors import InvalidAddressError, InvalidMessageError
from mailbackends.mime.address import addresses_in, check_visible, parse_path, to_ascii
from mailbackends.mime.words import utf8_text

__all__ = [
    "ADDRESS_FIELDS",
    "Field",
    "HeaderIndex",
    "check_field",
    "check_headers",
    "field_that_needs_utf8",
    "is_field_name",
    "outgoing_fields",
]

# A line end inside a field is folding only if white space follows (RFC 5322 section 2.2.3).
_UNFOLDED_LINE_END = re.compile(r"\r\n(?![ \t])|\r(?!\n)(?![ \t])|(?<!\r)\n(?![ \t])")
# Other line ends of str.splitlines(), at which the email package may fold a field.
_OTHER_LINE_END = re.compile(r"[\x0b\x0c\x1c-\x1e]")
_HEADER_NAME = re.compile(r"[!-9;-~]+")

# RFC 5322 section 3.6, and others in use that contain addresses.
ADDRESS_FIELDS = frozenset(
    {
        *("from", "sender", "reply-to", "to", "cc", "bcc"),
        *("resent-from", "resent-sender", "resent-reply-to", "resent-to", "resent-cc"),
        *("resent-bcc", "disposition-notification-to", "return-receipt-to"),
    }
)
"""The fields that contain addresses, in lower case."""

BLIND = frozenset({"bcc", "resent-bcc"})
"""The fields that are never sent, in lower case."""

Field: TypeAlias = "tuple[str, Any]"


def check_headers(message: Message[Any, Any]) -> None:
    """Refuse a message with a header field that would become two fields.

    The legacy policy (``compat32``) accepts any text, and the generators of some Python
    versions write it unchanged.

    Raises:
        InvalidMessageError: names the field and the value; or the message cannot be read.
        InvalidAddressError: an address contains an invisible character.
    """
    try:
        fields = [field for part in message.walk() for field in part.raw_items()]
    except (AttributeError, RecursionError) as error:
        raise InvalidMessageError(f"the message cannot be read: {error}") from error
    if not all(map(is_field_name, [name for name, _ in fields])) or not _all_of(
        fields, str.isprintable
    ):
        for name, value in fields:
            check_field(name, value)
            if _is_international(name, value):
                _paths_in(message.policy, name, value)


def check_field(name: str, value: Any) -> None:
    """Refuse a header field that would become two fields, or whose name is invalid.

    Raises:
        InvalidMessageError: names the field and the value.
    """
    if not is_field_name(name):
        raise InvalidMessageError(
            f"{name!r} is not a valid name of a header field (RFC 5322 section 2.2): "
            "use letters, digits and hyphens"
        )
    text = value if isinstance(value, str) else str(value)
    if str.isprintable(text):
        return
    if _UNFOLDED_LINE_END.search(text) or _OTHER_LINE_END.search(text):
        raise InvalidMessageError(
            f"the header field {name} contains a line break: {text[:200]!r}; "
            "remove it: it would begin another field"
        )


@lru_cache(maxsize=256)
def is_field_name(name: str) -> bool:
    """True for a valid name of a header field: ASCII without space and colon (RFC 5322 2.2)."""
    return _HEADER_NAME.fullmatch(name) is not None


def _all_of(fields: list[Field], holds: Callable[[str], bool]) -> bool:
    """True if ``holds`` is true of all values; it examines each character separately."""
    try:
        return holds("".join([value for _, value in fields]))
    except TypeError:  # the legacy email.header.Header
        return all(holds(str(value)) for _, value in fields)


class HeaderIndex:
    """The header of a message, read once and then looked up by name, as in `Message`."""

    __slots__ = ("_fields", "_policy")

    def __init__(self, message: Message[Any, Any]) -> None:
        self._policy = message.policy
        self._fields: defaultdict[str, list[Field]] = defaultdict(list)
        for field in message.raw_items():
            self._fields[field[0].lower()].append(field)

    def __getitem__(self, name: str) -> Any:
        """The first field of this name, or None.

        Raises:
            InvalidMessageError: it cannot be read.
        """
        fields = self._fields.get(name.lower())
        return _parsed(self._policy, *fields[0]) if fields else None

    def get_all(self, name: str) -> list[Any] | None:
        """All fields of this name, or None. Raises as `__getitem__`."""
        fields = self._fields.get(name.lower())
        return [_parsed(self._policy, *field) for field in fields] if fields else None


def _parsed(policy: Policy, name: str, raw: Any) -> Any:
    try:
        return policy.header_fetch_parse(name, raw)
    except Exception as error:  # the parser fails on some texts, which differ by version
        raise InvalidMessageError(
            f"the header field {name} cannot be read: {str(raw)[:200]!r}: {error}; correct it"
        ) from error


def field_that_needs_utf8(message: Message[Any, Any]) -> str | None:
    """The name of a field with an address whose local part is not ASCII, or None.

    Such an address has no form in ASCII (RFC 6532 section 3.2); encoded words must not be
    used in addresses (RFC 2047 section 5). The whole message then needs SMTPUTF8.

    Raises:
        InvalidAddressError: an address contains an invisible character.
    """
    fields = list(message.raw_items())
    if _all_of(fields, str.isascii):
        return None
    for name, raw in fields:
        if not _is_international(name, raw):
            continue
        for path in _paths_in(message.policy, name, raw):
            local = path.rpartition("@")[0] or path
            if not local.isascii():
                return name
    return None


def _paths_in(policy: Policy, name: str, raw: Any) -> list[str]:
    """The addresses in a field; none if it is unreadable, as it will be for every recipient."""
    try:
        paths = addresses_in(name, _parsed(policy, name, raw))
    except InvalidAddressError:
        return []
    for path in paths:
        check_visible(path, of=name)
    try:
        return [parse_path(path) for path in paths]
    except InvalidAddressError:
        return []


def outgoing_fields(message: Message[Any, Any], *, utf8: bool) -> list[Field]:
    """The header fields as they are sent, without Bcc (RFC 5322 section 3.6.3).

    With ``utf8``, legacy `email.header.Header` objects become their text. Without it,
    international domains in address fields become A-labels: the email package would put the
    whole address into an encoded word, to which nobody can reply (RFC 2047 section 5).

    Raises:
        InvalidAddressError: a domain has no A-labels, or an address contains an invisible
            character.
        InvalidMessageError: such a field, or Bcc, contains a line break.
    """
    fields = list(message.raw_items())
    is_ascii = _all_of(fields, str.isascii)
    if not is_ascii:
        for field in fields:
            if _is_international(*field):
                _paths_in(message.policy, *field)
    if not BLIND.isdisjoint([name.lower() for name, _ in fields]):
        for field in fields:
            if field[0].lower() in BLIND:
                check_field(*field)
        fields = [field for field in fields if field[0].lower() not in BLIND]
    if utf8:
        return [(name, str(raw) if isinstance(raw, Header) else raw) for name, raw in fields]
    if is_ascii:
        return fields
    return [
        (name, _with_a_labels(message.policy, name, raw) if _is_international(name, raw) else raw)
        for name, raw in fields
    ]


def _is_international(name: str, raw: Any) -> bool:
    return name.lower() in ADDRESS_FIELDS and not str(raw).isascii()


def _with_a_labels(policy: Policy, name: str, raw: Any) -> Any:
    check_field(name, raw)
    value = _parsed(policy, name, raw)
    new: Any = None
    if hasattr(value, "groups"):
        groups = tuple(_ascii_group(group) for group in value.groups)
        new = groups if groups != value.groups else None
    elif isinstance(value, str):
        new = _ascii_text(name, value)
    return raw if new is None else policy.header_store_parse(name, new)[1]


def _ascii_group(group: Group) -> Group:
    return Group(group.display_name, tuple(_ascii_address(one) for one in group.addresses))


def _ascii_address(address: Address) -> Address:
    domain = utf8_text(address.domain)
    if domain.isascii():
        return address
    labels = to_ascii(f"@{domain}").removeprefix("@")
    return Address(utf8_text(address.display_name), utf8_text(address.username), labels)


def _ascii_text(name: str, value: str) -> str | None:
    """The field for the legacy policy, which would encode all of it; None: no change."""
    try:
        addresses_in(name, value)
    except InvalidAddressError:
        return None
    pairs = [(display, to_ascii(path)) for display, path in getaddresses([value])]
    try:
        return ", ".join(formataddr(pair) for pair in pairs)
    except UnicodeError:  # a local part that is not ASCII
        return None
