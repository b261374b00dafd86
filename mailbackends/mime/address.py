"""Addresses: the paths of MAIL and RCPT, the mailboxes in header fields, and their domains."""

from __future__ import annotations

import re
import unicodedata
from email import headerregistry
from email.errors import InvalidHeaderDefect
from email.utils import getaddresses
from typing import Any
from unicodedata import ucd_3_2_0

from mailbackends.errors import InvalidAddressError
from mailbackends.mime.email_internals import header_class, is_one_group_each, source_text
from mailbackends.mime.words import utf8_text

__all__ = [
    "ADDRESS_CLASSES",
    "PLAIN_LIST",
    "addresses_in",
    "check_visible",
    "is_plain_mailbox",
    "parse_path",
    "plain_address",
    "to_a_labels",
    "to_ascii",
]

# RFC 5321 section 4.1.2, with the UTF-8 of RFC 6531. Dots may be anywhere in the local part,
# since large providers have assigned such addresses. Outside quotes there is no white space,
# angle bracket or control character: nothing that could end the path. Surrogates have no form
# in UTF-8, and U+FFFD replaces bytes that were lost.
_NEVER = r"\x00-\x1f\x7f-\x9f\u2028\u2029\ufffd\ud800-\udfff"
_ATOM = rf"[^{_NEVER}\xa0 \"(),:;<>@\[\\\]]+"
_QUOTED = rf'"(?:[^{_NEVER}"\\]|\\[\x20-\x7e])*"'
_DOMAIN = rf"{_ATOM}|\[[A-Za-z0-9:.-]+\]"
_PATH = re.compile(f"(?:{_ATOM}|{_QUOTED})(?:@(?:{_DOMAIN}))?")
# A display name, where an unquoted comma, colon or "@" would make two addresses of one
# (RFC 5322 section 3.4); or a comment after the address, as was usual before 1982.
_NAMED = re.compile(rf'(?:{_QUOTED}|[^{_NEVER}"<>@,:;])*<(?P<path>[^{_NEVER}]+)>')
_COMMENTED = re.compile(rf"(?P<path>[^{_NEVER}]+?) *\([^{_NEVER}()]*\)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

# Characters that are not seen, or look like a space, and come with text that was pasted:
# zero-width and soft-hyphen characters, direction marks, tags, variation selectors, fillers
# and every space but the usual one. Unicode would allow some of them in a local part.
_INVISIBLE = re.compile(
    "[\x80-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200b\u200e\u200f"
    "\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    # Scripts such as Persian need the joiners U+200C and U+200D, within their own letters.
    "|(?:^|(?<=[\x00-\x7f]))[\u200c\u200d]|[\u200c\u200d](?=[\x00-\x7f]|$)"
)

# The plain address: an addr-spec (RFC 5322 section 3.4.1) in ASCII, without quotes, comments
# and folding, which every parser reads alike. Possessive words, so that long input takes linear
# time; not possessive groups, which Python before 3.11.5 (Debian 12) matches wrongly.
_WORD = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++"
_SPEC = rf"{_WORD}(?:\.{_WORD})*@[A-Za-z0-9-]++(?:\.[A-Za-z0-9-]++)*"
_MAILBOX = rf"(?:{_WORD}(?: {_WORD})* <{_SPEC}>|{_SPEC})"
_PLAIN_MAILBOX = re.compile(_MAILBOX)
_PLAIN_ADDRESS = re.compile(rf"(?:{_WORD}(?: {_WORD})* )?<({_SPEC})>|({_SPEC})")

PLAIN_LIST = re.compile(f"{_MAILBOX}(?:, {_MAILBOX})*")
"""Plain addresses, which may follow a display name of plain words, separated by ", "."""

ADDRESS_CLASSES = frozenset(
    {
        headerregistry.AddressHeader,
        headerregistry.UniqueAddressHeader,
        headerregistry.SingleAddressHeader,
        headerregistry.UniqueSingleAddressHeader,
    }
)

# RFC 5321 section 4.5.3.1.4: servers need not accept a command line of more than 512 octets.
# A server that reads less than it was sent may take the rest for another command.
_LONGEST = 512 - len("MAIL FROM:<>\r\n")

# A group without members, such as "undisclosed-recipients:;" (RFC 5322 section 3.4).
_EMPTY_GROUP = re.compile(r"[^<>@:;,]*:\s*;")
_EMPTY_ENTRIES = re.compile(r",(?:\s*,)+")
# Quoted strings, comments and address literals, in which a comma does not separate.
_SEPARATOR = re.compile("[,;]")
_OPAQUE = re.compile(r'"(?:[^"\\]|\\.)*"|\([^()]*\)|\[[^\[\]]*\]', re.S)


def is_plain_mailbox(text: str) -> bool:
    """True for one plain address, alone or after a display name of plain words."""
    return _PLAIN_MAILBOX.fullmatch(text) is not None


def plain_address(text: str) -> str | None:
    """The address in ``text`` where it is plain, else None: then a parser has to read it.

    Plain is an addr-spec in ASCII without quotes and comments, alone, in angle brackets, or
    after a display name of plain words. Nearly all addresses are, and a parser takes far longer.
    """
    found = _PLAIN_ADDRESS.fullmatch(text)
    return (found[1] or found[2]) if found else None


def parse_path(address: str, *, of: str = "recipient") -> str:
    """The bare address in ``address``, which may have a display name: ``local@domain``.

    Raises:
        InvalidAddressError: it is not one address, or contains a control character or one
            that is invisible.
    """
    if type(address) is str and len(address) <= _LONGEST and address.isascii():
        # As nearly all are. A path contains no control character and no space at its start.
        if _PATH.fullmatch(address):
            return address
    elif address is None or isinstance(address, bytes):
        raise InvalidAddressError(
            f"the {of} address must be text, got {type(address).__name__}: {address!r}"
        )
    text = str(address).strip(" ")
    if len(text) > 4 * _LONGEST:
        raise InvalidAddressError(f"the {of} address {text[:80]!r}... is too long")
    if _CONTROL.search(text):
        raise InvalidAddressError(
            f"the {of} address {address!r} contains a line break or another control character: "
            "remove it"
        )
    path = text
    if not _PATH.fullmatch(text):
        found = _NAMED.fullmatch(text) or _COMMENTED.fullmatch(text)
        path = found["path"].strip(" ") if found else ""
    if not _PATH.fullmatch(path):
        invisible = _INVISIBLE.search(text)
        hint = f"; it contains {_described(invisible[0])}: remove it" if invisible else ""
        raise InvalidAddressError(
            f"the {of} address {address!r} is not one address: write it as "
            f"'name@example.com' or 'Name <name@example.com>'{hint}"
        )
    if not path.isascii():
        check_visible(path, of=of)
    if len(path.encode()) > _LONGEST:
        raise InvalidAddressError(
            f"the {of} address {path[:80]!r}... is longer than {_LONGEST} octets, "
            "which servers need not accept (RFC 5321 section 4.5.3.1): use a shorter one"
        )
    return path


def check_visible(path: str, *, of: str) -> None:
    """Refuse an address with an invisible character, such as a zero-width space.

    Raises:
        InvalidAddressError: names the address and the character.
    """
    found = _INVISIBLE.search(path)
    if found is not None:
        raise InvalidAddressError(
            f"the {of} address {path!r} contains {_described(found[0])}: remove it"
        )


def _described(character: str) -> str:
    name = unicodedata.name(character, "a control character")
    return f"the invisible character U+{ord(character):04X} ({name})"


def to_ascii(path: str) -> str:
    """The path with its domain as A-labels (UTS 46); the local part is not changed.

    Raises:
        InvalidAddressError: the domain has no A-labels.
    """
    local, at, domain = path.rpartition("@")
    return f"{local}{at}{to_a_labels(domain)}" if at and not domain.isascii() else path


def addresses_in(name: str, value: Any) -> list[str]:
    """The addresses in one header field, without display names; `parse_path` checks each.

    Raises:
        InvalidAddressError: the field cannot be read completely, so that a recipient would
            be lost silently.
    """
    plain = _plain_addresses(value)
    if plain is not None:
        return plain
    if hasattr(value, "addresses"):
        text = source_text(value)
        found = [utf8_text(address.addr_spec) for address in value.addresses]
        is_faulty = any(isinstance(defect, InvalidHeaderDefect) for defect in value.defects)
        # The parser reads what it can of a faulty field and skips the rest: of "a@x b@y" and
        # of "a@x <b@y>" it keeps the first. The source text shows what was skipped.
        is_whole = not is_faulty or found == _read(text)
    else:
        text = str(value)
        found, is_whole = _read(text), True
    if not all(found) or not is_whole:
        raise InvalidAddressError(
            f"the {name} field cannot be read as a list of addresses: {text[:_LONGEST]!r}; write "
            "'name@example.com' or '\"Name\" <name@example.com>', with commas between them"
        )
    return found


def _plain_addresses(value: Any) -> list[str] | None:
    """The addresses of a field whose text is plain, else None."""
    is_object = header_class(value) in ADDRESS_CLASSES
    if not (is_object or type(value) is str) or not PLAIN_LIST.fullmatch(value) or "=?" in value:
        return None
    entries = str.split(value, ", ")
    # The text lacks what the parser skipped, and an Address object can contain a comma.
    if is_object and not is_one_group_each(value, len(entries)):
        return None
    return [entry.rpartition("<")[2].rstrip(">") for entry in entries]


def _read(text: str) -> list[str]:
    # Python's versions differ on empty entries, as in "a@x, , b@y,".
    text = _EMPTY_ENTRIES.sub(",", text).strip(" ,\t\r\n")
    if not text or _EMPTY_GROUP.fullmatch(text):
        return []
    found = [path for _, path in getaddresses([text])]
    # Older versions of Python read two addresses in one entry (CVE-2023-27043), and all of
    # them read the entry "John Doe" as the mailbox "John".
    entries = [
        entry.rpartition(":")[2].strip() for entry in _SEPARATOR.split(_OPAQUE.sub("", text))
    ]
    entries = [entry for entry in entries if entry]
    if len(found) != len(entries):
        return [""]
    return [
        path if "@" in path or " " not in entry or "<" in entry else ""
        for path, entry in zip(found, entries, strict=True)
    ]


# UTS 46 section 7: IDNA 2008 keeps these four characters. IDNA 2003, which Python's own codec
# implements, maps them to others, and so to another domain.
_DEVIATIONS = frozenset("ßς\u200c\u200d")
_HINT = (
    'install the idna package (python -m pip install "mailbackends[idna]"), or write the domain '
    "as A-labels (xn--)"
)

# RFC 5321 section 4.5.3.1.2. The time of the conversion grows with the square of the length.
_LONGEST_DOMAIN = 255
# Compatibility mapping turns look-alikes into "<", " " and others, which would end the path or
# begin a parameter (UTS 46 section 4.1, UseSTD3ASCIIRules).
_A_LABELS = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9-]+\.?")


def to_a_labels(domain: str) -> str:
    """The domain in ASCII, by the `idna` package if it is installed.

    Otherwise by Python's own codec, which implements only IDNA 2003: domains that it would map
    to another one, and characters added after Unicode 3.2, are refused.

    Raises:
        InvalidAddressError: the domain has no A-labels, or needs the `idna` package.
    """
    if len(domain) > _LONGEST_DOMAIN:
        raise _refused(domain[:80], "it is too long")
    try:
        import idna
    except ImportError:
        labels = _by_codec(domain)
    else:
        try:
            labels = idna.encode(domain, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError) as error:
            raise _refused(domain, error) from error
    if len(labels) > _LONGEST_DOMAIN or not _A_LABELS.fullmatch(labels):
        raise _refused(domain, f"it maps to {labels!r}")
    return labels


def _by_codec(domain: str) -> str:
    # The codec passes characters that its version of Unicode lacks, without mapping them.
    is_newer = any(ucd_3_2_0.category(character) == "Cn" for character in domain)
    if is_newer or not _DEVIATIONS.isdisjoint(domain):
        raise InvalidAddressError(f"the domain {domain!r} needs IDNA 2008: {_HINT}")
    try:
        return domain.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise InvalidAddressError(f"the domain {domain!r} cannot be encoded: {_HINT}") from error


def _refused(domain: str, reason: object) -> InvalidAddressError:
    return InvalidAddressError(
        f"{domain!r} is not a valid domain name: {reason}; correct the address"
    )
