"""The header fields of a message object: what may stand in them, and addresses for ASCII."""

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
from mailbackends.mime.address import addresses_in, parse_path, to_ascii

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


BLIND = frozenset({"bcc", "resent-bcc"})
"""Those that nobody but the sender may see, in lower case."""

Field: TypeAlias = "tuple[str, Any]"


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
    if not all(map(is_field_name, [name for name, _ in fields])) or not _all_of(
        fields, str.isprintable
    ):
        for name, value in fields:
            check_field(name, value)


def check_field(name: str, value: Any) -> None:
    """Refuse one header field that would be another one, or two.

    Raises:
        InvalidMessageError: names the field and the value.
    """
    if not is_field_name(name):
        raise InvalidMessageError(f"{name!r} is no name of a header field (RFC 5322)")
    text = value if isinstance(value, str) else str(value)
    if str.isprintable(text):
        return
    if _UNFOLDED_LINE_END.search(text) or _OTHER_LINE_END.search(text):
        raise InvalidMessageError(
            f"the header field {name} holds a line break: {text[:200]!r}; "
            "take it out, for it would begin another field"
        )


@lru_cache(maxsize=256)
def is_field_name(name: str) -> bool:
    """True for the name of a header field (RFC 5322 section 2.2)."""
    return _HEADER_NAME.fullmatch(name) is not None


def _all_of(fields: list[Field], holds: Callable[[str], bool]) -> bool:
    """True where something that is true of each character is so of those of all values."""
    try:
        return holds("".join([value for _, value in fields]))
    except TypeError:  # the legacy email.header.Header
        return all(holds(str(value)) for _, value in fields)


class HeaderIndex:
    """The header of a message, gone through only once, with `Message`'s methods to ask it."""

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
    except Exception as error:  # the parser trips over some texts, in each version over others
        raise InvalidMessageError(
            f"the header field {name} cannot be read: {str(raw)[:200]!r}: {error}"
        ) from error


def field_that_needs_utf8(message: Message[Any, Any]) -> str | None:
    """The name of a field with an address whose local part is not ASCII, or None.

    Nothing stands for such an address in ASCII (RFC 6532 section 3.2): an encoded word is
    no address (RFC 2047 section 5). The whole message then needs SMTPUTF8.
    """
    fields = list(message.raw_items())
    if _all_of(fields, str.isascii):
        return None
    for name, raw in fields:
        if not _is_international(name, raw):
            continue
        value = _parsed(message.policy, name, raw)
        try:
            paths = [parse_path(path) for path in addresses_in(name, value)]
        except InvalidAddressError:
            continue  # as unreadable to whoever receives it
        for path in paths:
            local = path.rpartition("@")[0] or path
            if not local.isascii():
                return name
    return None


def outgoing_fields(message: Message[Any, Any], *, utf8: bool) -> list[Field]:
    """The header fields as they go out, without Bcc (RFC 5322 section 3.6.3).

    With ``utf8`` the legacy `email.header.Header` objects are the text they stand for.
    Without it international domains in address fields are A-labels: the email package would
    put the whole address into an encoded word, which is none to whoever answers (RFC 2047
    section 5).

    Raises:
        InvalidAddressError: a domain has no form in ASCII.
        InvalidMessageError: such a field, or Bcc, holds a line break.
    """
    fields: list[Field] = []
    for field in message.raw_items():
        if field[0].lower() in BLIND:
            check_field(*field)
        else:
            fields.append(field)
    if utf8:
        return [(name, str(raw) if isinstance(raw, Header) else raw) for name, raw in fields]
    if _all_of(fields, str.isascii):
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
