"""From the addresses in Django's messages to those of the envelope."""

from __future__ import annotations

import re
from email.headerregistry import AddressHeader
from typing import Any, cast

from django.utils.encoding import force_str

from mailbackends import InvalidAddressError
from mailbackends.integration import check_visible, plain_address, to_ascii

__all__ = ["envelope_address", "is_local_default", "prep_address", "with_quotes"]

# What the email package's parser reports and mail servers accept.
_HARMLESS = {
    "addr-spec local part with no domain",  # "webmaster" is a local mailbox
    "period in 'phrase'",  # "Example Inc. <info@example.com>"
    "comment found without atom",  # with the above
    # A name such as '"=?utf-8?q?Jo?=" <jo@example.com>'; it is written anew.
    "encoded word inside quoted string",
    "missing trailing whitespace after encoded-word",
    "missing whitespace before encoded word",
    # Addresses that large providers have given out: "a..b@docomo.example".
    "local-part is not dot-atom, quoted-string, or obs-local-part",
    "invalid repeated '.'",
    "Invalid leading '.' in local part",
    "Invalid trailing '.' in local part",
}
_NOT_ASCII = "local-part contains non-ASCII characters)"  # fine with SMTPUTF8
# Words in place of a local part, alone or in angle brackets.
_WORD = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+"
_UNQUOTED = re.compile(
    rf"(?P<before>[^<>@]*<)?(?P<local>{_WORD}(?:(?<!\.) (?!\.){_WORD})+)(?P<after>@{_WORD})(?(1)>)"
)
_WRITE = "write it as 'name@example.com' or 'Name <name@example.com>'"


def prep_address(address: Any, force_ascii: bool = True) -> str:
    """The bare ``local@domain`` of one address, which may carry a display name.

    With ``force_ascii``, the domain is returned as A-labels (IDNA), and a local part that is
    not ASCII is refused. Without it both are unchanged, for servers with SMTPUTF8 (RFC 6531).

    Raises:
        InvalidAddressError: the value is not exactly one address, or contains a line break.
            A ``ValueError`` whose text begins with ``Invalid address``, as in Django.
    """
    text = force_str(address)
    plain = plain_address(text)
    if plain is not None:
        return plain
    mailbox = _parse(text, _HARMLESS if force_ascii else {*_HARMLESS, _NOT_ASCII})
    path = str(mailbox.addr_spec)
    check_visible(path, of="recipient")
    return to_ascii(path) if force_ascii else path


def envelope_address(address: Any) -> str:
    """The bare address as given, for the `Mailer`; ``<>`` is the null reverse-path.

    The Mailer converts an international domain to A-labels by IDNA 2008 (Django's own
    function by IDNA 2003), and uses SMTPUTF8 if a local part is not ASCII.

    Raises: as `prep_address`.
    """
    text = force_str(address)
    plain = plain_address(text)
    if plain is not None:
        return plain
    if text == "<>":
        return ""
    return str(_parse(text, {*_HARMLESS, _NOT_ASCII}).addr_spec)


def with_quotes(text: str) -> str:
    """The address with its local part in quotes if that has blanks: ``"a b"@example.com``.

    Mobile providers have given out such addresses, and Django before 6.0 quoted them. Anything
    else is returned as it is.
    """
    found = _UNQUOTED.fullmatch(text.strip(" ")) if " " in text else None
    if found is None:
        return text
    before, local, after = found["before"] or "", found["local"], found["after"]
    return f'{before}"{local}"{after}{">" if before else ""}'


def _parse(text: str, allowed: set[str]) -> Any:
    text = with_quotes(text)
    if "\r" in text or "\n" in text:
        raise InvalidAddressError(f"Invalid address {text!r}: it contains a line break. Remove it.")
    try:
        parsed = cast(Any, AddressHeader.value_parser(text))
        defects = {str(defect) for defect in parsed.all_defects} - allowed
        mailboxes = parsed.all_mailboxes
    except Exception as error:  # the parser fails on some input, for example with an IndexError
        raise InvalidAddressError(f"Invalid address {text!r}: {_WRITE}.") from error
    if defects == {_NOT_ASCII}:
        raise InvalidAddressError(
            f"Invalid address {text!r}: it has non-ASCII characters before the @: {_WRITE}."
        )
    if defects:
        raise InvalidAddressError(f"Invalid address {text!r}: {_WRITE}.")
    if len(mailboxes) != 1:
        raise InvalidAddressError(
            f"Invalid address {text!r}: it must be one address: {_WRITE}, "
            "each address in its own list entry."
        )
    return mailboxes[0]


def is_local_default(sender: Any) -> bool:
    """True for a sender at localhost, such as Django's default ``webmaster@localhost``."""
    try:
        path = envelope_address(sender)
    except InvalidAddressError:
        return False
    return path.rpartition("@")[2].lower() in ("localhost", "localhost.localdomain")
