"""International domain names as A-labels (UTS 46; RFC 5890)."""

from __future__ import annotations

import re
from unicodedata import ucd_3_2_0

from mailbackends.errors import InvalidAddressError

__all__ = ["to_a_labels"]

# UTS 46 section 7: these four stand for themselves since IDNA 2008, and for something else
# in the IDNA 2003 of Python's own codec, which would address another domain.
_DEVIATIONS = frozenset("ßς\u200c\u200d")
_MEND = "install the 'idna' package (pip install mailbackends[idna]) or write it as A-labels (xn--)"

# RFC 5321 section 4.5.3.1.2. A longer one is not worth the time, which grows with its square.
_LONGEST = 255
# Compatibility mapping makes "<", " " and others of characters that look alike: a name that
# would then end the path, or begin a parameter (UTS 46 section 4.1, UseSTD3ASCIIRules).
_A_LABELS = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9-]+\.?")


def to_a_labels(domain: str) -> str:
    """The domain in ASCII, by the `idna` package where it is installed.

    Without it Python's own codec serves, which knows IDNA 2003 only: what it would map to
    another domain, and the characters that came after Unicode 3.2, are refused.

    Raises:
        InvalidAddressError: the domain has no such form, or needs the `idna` package.
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
            raise InvalidAddressError(
                f"the domain {domain!r} is no domain name: {error}"
            ) from error
    if len(labels) > _LONGEST or not _A_LABELS.fullmatch(labels):
        raise InvalidAddressError(f"the domain {domain!r} is no domain name: it maps to {labels!r}")
    return labels


def _by_codec(domain: str) -> str:
    # The codec lets through what its Unicode does not know, and cannot map it.
    is_newer = any(ucd_3_2_0.category(character) == "Cn" for character in domain)
    if is_newer or not _DEVIATIONS.isdisjoint(domain):
        raise InvalidAddressError(f"the domain {domain!r} needs IDNA 2008: {_MEND}")
    try:
        return domain.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise InvalidAddressError(f"the domain {domain!r} cannot be encoded: {_MEND}") from error


def _refused(domain: str, reason: object) -> InvalidAddressError:
    return InvalidAddressError(f"the domain {domain!r} is no domain name: {reason}")
