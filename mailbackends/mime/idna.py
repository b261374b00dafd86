"""International domain names as A-labels (UTS 46; RFC 5890)."""

from __future__ import annotations

import re
from unicodedata import ucd_3_2_0

from mailbackends.errors import InvalidAddressError

__all__ = ["to_a_labels"]

# UTS 46 section 7: IDNA 2008 keeps these four characters. IDNA 2003, which Python's own codec
# implements, maps them to others, and so to another domain.
_DEVIATIONS = frozenset("ßς\u200c\u200d")
_HINT = (
    'install the idna package (python -m pip install "mailbackends[idna]"), or write the domain '
    "as A-labels (xn--)"
)

# RFC 5321 section 4.5.3.1.2. The time of the conversion grows with the square of the length.
_LONGEST = 255
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
    if len(domain) > _LONGEST:
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
    if len(labels) > _LONGEST or not _A_LABELS.fullmatch(labels):
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
