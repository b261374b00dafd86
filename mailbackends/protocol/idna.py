"""International domain names as A-labels (UTS 46; RFC 5890)."""

from __future__ import annotations

from mailbackends.errors import InvalidAddressError

__all__ = ["to_a_labels"]

# UTS 46 section 7: these four stand for themselves since IDNA 2008, and for something else
# in the IDNA 2003 of Python's own codec, which would address another domain.
_DEVIATIONS = frozenset("ßς\u200c\u200d")
_MEND = "install the 'idna' package (pip install mailbackends[idna]) or write it as A-labels (xn--)"


def to_a_labels(domain: str) -> str:
    """The domain in ASCII, by the `idna` package where it is installed.

    Without it Python's own codec serves, which knows IDNA 2003 only: what it would map to
    another domain, and the characters that came after Unicode 3.2, are refused.

    Raises:
        InvalidAddressError: the domain has no such form, or needs the `idna` package.
    """
    try:
        import idna
    except ImportError:
        return _by_codec(domain)
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise InvalidAddressError(f"the domain {domain!r} is no domain name: {error}") from error


def _by_codec(domain: str) -> str:
    if not _DEVIATIONS.isdisjoint(domain):
        raise InvalidAddressError(f"the domain {domain!r} needs IDNA 2008: {_MEND}")
    try:
        return domain.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise InvalidAddressError(f"the domain {domain!r} cannot be encoded: {_MEND}") from error
