"""Who sends and who receives: what goes into MAIL and RCPT."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import Any, TypeAlias

from mailbackends.errors import InvalidMessageError
from mailbackends.mime.address import addresses_in, parse_path, to_ascii
from mailbackends.mime.email_internals import is_standard
from mailbackends.mime.headers import HeaderIndex

__all__ = ["Envelope", "from_message"]

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
        """True where a local part is not ASCII: nothing stands for it there (RFC 6531)."""
        paths = (self.reverse_path, *self.forward_paths)
        return not "".join(paths).isascii() and not all(to_ascii(p).isascii() for p in paths)

    def on_wire(self, path: str) -> str:
        """The path as it goes into a command: international domains as A-labels.

        Every server on the way understands them, with SMTPUTF8 or without.
        """
        return path if path.isascii() else to_ascii(path)


def from_message(
    message: Message[Any, Any] | None,
    from_addr: str | None = None,
    to_addrs: str | Iterable[str] | None = None,
) -> Envelope:
    """The envelope that a message's own fields ask for, or the one given instead.

    The sender is the Sender field, or From; recipients are To, Cc and Bcc; where the
    message was resent, the fields that begin with Resent- (RFC 5322 sections 3.6.2, 3.6.6).

    Raises:
        InvalidAddressError: an address is unusable.
        InvalidMessageError: no sender, no recipient, more than one Resent- block, or a field
            over which the email package's parser trips.
    """
    header: _Header = None
    if message is not None:
        header = HeaderIndex(message) if is_standard(message) else message
    prefix = _resent_prefix(header)
    if from_addr is None:
        from_addr = _sender(header, prefix)
    reverse_path = "" if from_addr in ("", "<>") else parse_path(from_addr, of="sender")
    if to_addrs is None:
        to_addrs = _recipients(header, prefix)
    elif isinstance(to_addrs, str):
        to_addrs = [to_addrs]
    forward_paths = _each_once([parse_path(address) for address in to_addrs])
    if not forward_paths:
        raise InvalidMessageError(
            "the message has no recipients: give to_addrs, or a To, Cc or Bcc field"
        )
    return Envelope(reverse_path, forward_paths)


def _resent_prefix(header: _Header) -> str:
    blocks = header.get_all("Resent-Date") if header is not None else None
    if blocks is not None and len(blocks) > 1:
        raise InvalidMessageError("message has more than one 'Resent-' header block")
    return "Resent-" if blocks else ""


def _sender(header: _Header, prefix: str) -> str:
    for name in (f"{prefix}Sender", f"{prefix}From"):
        value = header[name] if header is not None else None
        if value is not None:
            found = addresses_in(name, value)
            if found:
                return found[0]
    raise InvalidMessageError("the message has no sender: give from_addr, or a From field")


def _recipients(header: _Header, prefix: str) -> Sequence[str]:
    if header is None:
        return []
    found: list[str] = []
    for name in (f"{prefix}To", f"{prefix}Cc", f"{prefix}Bcc"):
        for value in header.get_all(name) or []:
            found += addresses_in(name, value)
    return found


def _each_once(paths: list[str]) -> tuple[str, ...]:
    """The paths in their order: one address twice would be one mail twice.

    A domain is the same in any case, and in Unicode or in A-labels.
    """
    if "".join(paths).isascii() and len({path.lower() for path in paths}) == len(paths):
        return tuple(paths)  # all differ in more than that: nothing to look for
    found: dict[str, str] = {}
    for path in paths:
        local, at, domain = to_ascii(path).rpartition("@")
        found.setdefault(f"{local}{at}{domain.lower()}" if at else path, path)
    return tuple(found.values())
