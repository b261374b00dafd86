"""From the addresses in Django's messages to those of the envelope."""

from __future__ import annotations

import re
from email.headerregistry import Address, AddressHeader
from typing import Any, cast

from django.utils.encoding import force_str, punycode

from mailbackends import InvalidAddressError

__all__ = ["envelope_address", "prep_address"]

# An ASCII address, alone or after a plain display name, with nothing to unquote, decode or
# encode. Nearly all addresses match, and the email package's parser takes far longer.
_SPEC = (
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*"
)
_PLAIN = re.compile(rf"(?:[\w .!#$%&'*+/=?^`{{|}}~-]* )?<({_SPEC})>|({_SPEC})")
_HARMLESS = {
    "addr-spec local part with no domain",  # "webmaster" is a local mailbox
    "period in 'phrase'",  # "Example Inc. <info@example.com>"
}
_NOT_ASCII = "local-part contains non-ASCII characters)"  # fine with SMTPUTF8


def prep_address(address: Any, force_ascii: bool = True) -> str:
    """The bare ``local@domain`` of one address, which may carry a display name.

    With ``force_ascii``, the domain is returned as A-labels (IDNA), and a local part that is
    not ASCII is refused. Without it both are unchanged, for servers with SMTPUTF8 (RFC 6531).

    Raises:
        InvalidAddressError: the value is not exactly one address, or contains a line break.
            A ``ValueError`` whose text begins with ``Invalid address``, as in Django.
    """
    text = force_str(address)
    plain = _PLAIN.fullmatch(text)
    if plain:
        return plain[1] or plain[2]
    mailbox = _parse(text, _HARMLESS if force_ascii else {*_HARMLESS, _NOT_ASCII})
    return _in_ascii(mailbox) if force_ascii else str(mailbox.addr_spec)


def envelope_address(address: Any) -> str:
    """The bare address as given, for the `Mailer`; ``<>`` is the null reverse-path.

    The Mailer converts an international domain to A-labels by IDNA 2008 (Django's own
    function by IDNA 2003), and uses SMTPUTF8 if a local part is not ASCII.

    Raises: as `prep_address`.
    """
    text = force_str(address)
    plain = _PLAIN.fullmatch(text)
    if plain:
        return plain[1] or plain[2]
    if text == "<>":
        return ""
    return str(_parse(text, {*_HARMLESS, _NOT_ASCII}).addr_spec)


def _parse(text: str, allowed: set[str]) -> Any:
    if "\r" in text or "\n" in text:
        raise InvalidAddressError(f"Invalid address {text!r}: it contains a line break. Remove it.")
    try:
        parsed = cast(Any, AddressHeader.value_parser(text))
        defects = {str(defect) for defect in parsed.all_defects} - allowed
        mailboxes = parsed.all_mailboxes
    except Exception as error:  # the parser fails on some input, for example with an IndexError
        raise InvalidAddressError(f"Invalid address {text!r}: it cannot be parsed.") from error
    if defects:
        raise InvalidAddressError(f"Invalid address {text!r}: {'; '.join(sorted(defects))}")
    if len(mailboxes) != 1:
        raise InvalidAddressError(
            f"Invalid address {text!r}: must be a single address. "
            "Put each address into its own list entry."
        )
    return mailboxes[0]


def _in_ascii(mailbox: Any) -> str:
    if not mailbox.domain or mailbox.domain.isascii():
        return str(mailbox.addr_spec)
    # Address adds the quotes that the local part may need.
    return str(Address(username=mailbox.local_part, domain=punycode(mailbox.domain)))
