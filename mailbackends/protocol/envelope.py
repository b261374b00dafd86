"""The envelope: the sender and the recipients, as they go into MAIL and RCPT."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.message import Message
from email.utils import getaddresses
from typing import Any, TypeAlias

from mailbackends.errors import InvalidMessageError
from mailbackends.mime.address import addresses_in, parse_path, to_ascii
from mailbackends.mime.email_internals import is_standard
from mailbackends.mime.headers import HeaderIndex
from mailbackends.texts import plain_text

__all__ = ["SMTPLIB_RULES", "Envelope", "EnvelopeRules", "addresses_of", "from_message"]

_Header: TypeAlias = "HeaderIndex | Message[Any, Any] | None"


@dataclass(slots=True)
class Envelope:
    """Addresses without angle brackets, each once, and the parameters of MAIL and RCPT.

    The null reverse-path is the empty string (RFC 5321 section 4.5.5).
    """

    reverse_path: str
    forward_paths: tuple[str, ...]
    mail_parameters: tuple[str, ...] = ()
    rcpt_parameters: tuple[str, ...] = ()

    @property
    def needs_smtputf8(self) -> bool:
        """True if a local part is not ASCII: there is no ASCII form for it (RFC 6531)."""
        paths = (self.reverse_path, *self.forward_paths)
        return not "".join(paths).isascii() and not all(to_ascii(p).isascii() for p in paths)

    def on_wire(self, path: str) -> str:
        """The path as it goes into a command, with international domains as A-labels.

        Every server on the way understands them, with or without SMTPUTF8.
        """
        return path if path.isascii() else to_ascii(path)


@dataclass(frozen=True, slots=True)
class EnvelopeRules:
    """How addresses are read from header fields."""

    recipient_fields: tuple[str, str, str]
    """The fields of recipients, in their order."""
    all_fields: bool
    """Whether a second field of the same name counts."""
    addresses_in: Callable[[str, Any], list[str]]
    """The addresses in one field, given its name and value."""


_RULES = EnvelopeRules(("To", "Cc", "Bcc"), True, addresses_in)
SMTPLIB_RULES = EnvelopeRules(
    ("To", "Bcc", "Cc"), False, lambda name, value: [path for _, path in getaddresses([value])]
)
"""As the standard library: a field that cannot be read raises nothing."""


def from_message(
    message: Message[Any, Any] | None,
    from_addr: str | None = None,
    to_addrs: str | Iterable[str] | None = None,
) -> Envelope:
    """The envelope given by a message's header fields, or by the arguments instead.

    Raises:
        InvalidAddressError: an address is unusable.
        InvalidMessageError: no sender, no recipient, more than one Resent- block, or a field
            that the email package's parser fails to read.
    """
    header: _Header = None
    if message is not None:
        header = HeaderIndex(message) if is_standard(message) else message
    sender, recipients = addresses_of(header, from_addr, to_addrs)
    reverse_path = "" if sender in ("", "<>") else parse_path(sender, of="sender")
    forward_paths = _each_once([parse_path(address) for address in recipients])
    if not forward_paths:
        raise InvalidMessageError(
            "the message has no recipients: give to_addrs, or a To, Cc or Bcc field"
        )
    return Envelope(reverse_path, forward_paths)


def addresses_of(
    header: _Header,
    from_addr: str | None = None,
    to_addrs: str | Iterable[str] | None = None,
    rules: EnvelopeRules = _RULES,
) -> tuple[str, list[str]]:
    """The sender and the recipients of a message: those given, or those in its header.

    The sender is the Sender field, or else the first address in From; the recipients are To,
    Cc and Bcc. If the message was resent, the fields that begin with Resent- count instead
    (RFC 5322 sections 3.6.2 and 3.6.6).

    Raises:
        InvalidMessageError: no sender, or more than one Resent- block.
        InvalidAddressError: a field cannot be read.
    """
    prefix = "" if header is None else _resent_prefix(header)
    if from_addr is None:
        from_addr = _sender(header, prefix, rules)
    if to_addrs is None:
        return from_addr, _recipients(header, prefix, rules)
    if type(to_addrs) is list or type(to_addrs) is tuple:
        return from_addr, [*to_addrs]
    # A lazy string would otherwise be read as a list of its characters.
    single = plain_text(to_addrs)
    return from_addr, list(to_addrs) if single is None else [single]


def _resent_prefix(header: HeaderIndex | Message[Any, Any]) -> str:
    blocks = header.get_all("Resent-Date")
    if blocks is not None and len(blocks) > 1:
        raise InvalidMessageError("message has more than one 'Resent-' header block")
    return "Resent-" if blocks else ""


def _sender(header: _Header, prefix: str, rules: EnvelopeRules) -> str:
    for name in (f"{prefix}Sender", f"{prefix}From"):
        value = header[name] if header is not None else None
        if value is not None:
            found = rules.addresses_in(name, value)
            if found:
                return found[0]
    raise InvalidMessageError(
        f"the message has no sender: give from_addr, or a {prefix}From field with an address"
    )


def _recipients(header: _Header, prefix: str, rules: EnvelopeRules) -> list[str]:
    if header is None:
        return []
    found: list[str] = []
    for field in rules.recipient_fields:
        name = f"{prefix}{field}"
        values = header.get_all(name) or []
        for value in values if rules.all_fields else values[:1]:
            found += rules.addresses_in(name, value)
    return found


def _each_once(paths: list[str]) -> tuple[str, ...]:
    """The paths in their order, without repetitions, which would be delivered twice.

    Domains are compared case-insensitively, and as A-labels.
    """
    if len(paths) == 1:
        return (paths[0],)
    if "".join(paths).isascii() and len({path.lower() for path in paths}) == len(paths):
        return tuple(paths)  # all differ in more than that
    found: dict[str, str] = {}
    for path in paths:
        local, at, domain = to_ascii(path).rpartition("@")
        found.setdefault(f"{local}{at}{domain.lower()}" if at else path, path)
    return tuple(found.values())
