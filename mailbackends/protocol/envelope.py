"""Who sends and who receives, for the server: addresses checked, and taken from headers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.message import Message
from email.utils import getaddresses
from typing import Any

from mailbackends.errors import InvalidAddressError, InvalidMessageError
from mailbackends.protocol import idna

__all__ = ["Envelope", "from_message", "parse_path", "to_ascii"]

# RFC 5321 section 4.1.2, with the UTF-8 of RFC 6531; dots may stand anywhere in the local
# part, since large providers have given out such addresses. No white space, no angle
# bracket, no control character outside quotes: nothing that could end the path.
_ATOM = r"[^\x00-\x20\x7f-\xa0\"(),:;<>@\[\\\]\u2028\u2029\ud800-\udfff]+"
_QUOTED = r'"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*"'
_DOMAIN = rf"{_ATOM}|\[[\x21-\x5a\x5e-\x7e]+\]"
_PATH = re.compile(f"(?P<local>{_ATOM}|{_QUOTED})(?:@(?P<domain>{_DOMAIN}))?")
# One address, alone or behind a name without quotes or comments: nearly every field. The
# email package's parser takes ten times as long to say the same.
_PLAIN = re.compile(
    rf"(?:[\w .!#$%&'*+/=?^`{{|}}~-]*[ ])?<(?P<in_brackets>{_ATOM}@{_ATOM})>"
    rf"|(?P<alone>{_ATOM}@{_ATOM})"
)
# A group without members, such as "undisclosed-recipients:;" (RFC 5322 section 3.4).
_EMPTY_GROUP = re.compile(r"[^<>@:;,]*:\s*;")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
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
        return not all(path.isascii() or to_ascii(path).isascii() for path in paths)

    def on_wire(self, path: str) -> str:
        """The path as it goes into a command: international domains as A-labels.

        Every server on the way understands them, with SMTPUTF8 or without.
        """
        return path if path.isascii() else to_ascii(path)


def parse_path(address: str, *, of: str = "recipient") -> str:
    """The bare address in ``address``, which may carry a display name: ``local@domain``.

    Raises:
        InvalidAddressError: it is none, or more than one, or holds a control character.
    """
    text = str(address).strip(" ")
    if _PATH.fullmatch(text):
        return text
    if _CONTROL.search(text):
        raise InvalidAddressError(
            f"the {of} address {address!r} holds a line break or another control character: "
            "take it out"
        )
    found = [path for _, path in getaddresses([text])]
    if len(found) != 1 or not _PATH.fullmatch(found[0]):
        raise InvalidAddressError(
            f"the {of} address {address!r} is not one address: write it as "
            "'name@example.com' or 'Name <name@example.com>'"
        )
    return found[0]


def to_ascii(path: str) -> str:
    """The path with its domain as A-labels (UTS 46). A local part that is not ASCII stays.

    Raises:
        InvalidAddressError: the domain has no form in ASCII.
    """
    local, at, domain = path.rpartition("@")
    return f"{local}{at}{idna.to_a_labels(domain)}" if at and not domain.isascii() else path


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
        InvalidMessageError: no sender, no recipient, or more than one Resent- block.
    """
    prefix = _resent_prefix(message) if message is not None else ""
    if from_addr is None:
        from_addr = _sender(message, prefix)
    reverse_path = "" if from_addr in ("", "<>") else parse_path(from_addr, of="sender")
    if to_addrs is None:
        to_addrs = _recipients(message, prefix)
    elif isinstance(to_addrs, str):
        to_addrs = [to_addrs]
    # The order is kept; one address twice would be one mail twice.
    forward_paths = tuple(dict.fromkeys(parse_path(address) for address in to_addrs))
    if not forward_paths:
        raise InvalidMessageError(
            "the message has no recipients: give to_addrs, or a To, Cc or Bcc field"
        )
    return Envelope(reverse_path, forward_paths)


def _resent_prefix(message: Message[Any, Any]) -> str:
    blocks = message.get_all("Resent-Date") or []
    if len(blocks) > 1:
        raise InvalidMessageError("message has more than one 'Resent-' header block")
    return "Resent-" if blocks else ""


def _sender(message: Message[Any, Any] | None, prefix: str) -> str:
    for name in (f"{prefix}Sender", f"{prefix}From"):
        value = message[name] if message is not None else None
        if value is not None:
            found = _addresses([str(value)], name)
            if found:
                return found[0]
    raise InvalidMessageError("the message has no sender: give from_addr, or a From field")


def _recipients(message: Message[Any, Any] | None, prefix: str) -> Sequence[str]:
    if message is None:
        return []
    found: list[str] = []
    for name in (f"{prefix}To", f"{prefix}Cc", f"{prefix}Bcc"):
        found += _addresses([str(value) for value in message.get_all(name) or []], name)
    return found


def _addresses(values: Sequence[str], name: str) -> list[str]:
    found: list[str] = []
    for value in values:
        if match := _PLAIN.fullmatch(value):
            found.append(match["alone"] or match["in_brackets"])
        elif value.strip() and not _EMPTY_GROUP.fullmatch(value):
            found += [path for _, path in getaddresses([value])]
    if not all(found):
        raise InvalidAddressError(f"the {name} field holds no readable address: {values!r}")
    return found
