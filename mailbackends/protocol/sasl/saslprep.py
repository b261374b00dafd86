"""SASLprep: one form for every way to type the same user name or password (RFC 4013)."""

from __future__ import annotations

import stringprep
import unicodedata
from collections.abc import Callable

from mailbackends.protocol.sasl.errors import SASLCredentialsError

__all__ = ["saslprep", "unprepared"]

# RFC 4013 section 2.3, with the tables of RFC 3454. An error names the kind of a character,
# never the character itself, which would be a part of the password.
_PROHIBITED: tuple[tuple[Callable[[str], bool], str], ...] = (
    (stringprep.in_table_c12, "a space outside ASCII"),
    (stringprep.in_table_c21_c22, "a control character"),
    (stringprep.in_table_c3, "a private use character"),
    (stringprep.in_table_c4, "a code point that is not a character"),
    (stringprep.in_table_c5, "a surrogate code point"),
    (stringprep.in_table_c6, "a character inappropriate for plain text"),
    (stringprep.in_table_c7, "a character inappropriate for canonical representation"),
    (stringprep.in_table_c8, "a character that changes the display or is deprecated"),
    (stringprep.in_table_c9, "a tagging character"),
)


def _normalised(text: str) -> str:
    # Section 2.1: spaces become SPACE, and characters commonly mapped to nothing are removed.
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char
        for char in text
        if not stringprep.in_table_b1(char)
    )
    # Section 2.2. RFC 3454 is bound to Unicode 3.2, and so are the tables above.
    return unicodedata.ucd_3_2_0.normalize("NFKC", mapped)


def _problem(text: str, is_stored: bool) -> str | None:
    if not text:
        return "is empty"
    for is_in_table, kind in _PROHIBITED:
        if any(map(is_in_table, text)):
            return f"contains {kind}, which SASLprep prohibits (RFC 4013 section 2.3)"
    # RFC 3454 section 6: right-to-left text must not contain left-to-right characters, and
    # must begin and end with a right-to-left character.
    if any(map(stringprep.in_table_d1, text)) and (
        any(map(stringprep.in_table_d2, text))
        or not stringprep.in_table_d1(text[0])
        or not stringprep.in_table_d1(text[-1])
    ):
        return "mixes directions of text, which SASLprep prohibits (RFC 4013 section 2.4)"
    if is_stored and any(map(stringprep.in_table_a1, text)):
        return (
            "contains a character newer than Unicode 3.2, such as an emoji, "
            "which SASLprep prohibits (RFC 4013 section 2.5)"
        )
    return None


def saslprep(text: str | None, *, what: str = "the string", is_stored: bool = False) -> str:
    """Return ``text`` in the form of RFC 4013.

    ``what`` names it in errors. With ``is_stored`` it is a "stored string" in the sense of
    RFC 3454 section 7, in which characters newer than Unicode 3.2 are prohibited; otherwise
    it is a "query".

    Raises:
        SASLCredentialsError: it contains what RFC 4013 prohibits, or it is empty, or becomes
            empty.
    """
    result = _normalised(text or "")
    problem = _problem(result, is_stored)
    if problem is None:
        return result
    del text, result  # Otherwise the frames of the traceback would show them.
    raise SASLCredentialsError(f"{what} {problem}")


def unprepared(text: str | None, *, what: str = "the string") -> bytes:
    """Return ``text`` in UTF-8 for a mechanism that leaves the preparation to the server.

    It is sent unchanged: RFC 4616 section 2 has the server prepare both what it stores and
    what it gets, and a server that does not prepare knows only what the user typed.

    Raises:
        SASLCredentialsError: it is empty, contains NUL (RFC 4616 section 2), or half of a
            surrogate pair.
    """
    problem = None
    if not text:
        problem = "is empty"
    elif "\0" in text:
        problem = "contains a NUL character (RFC 4616 section 2)"
    elif any("\ud800" <= char <= "\udfff" for char in text):
        problem = "contains a surrogate code point"
    if problem is None:
        return (text or "").encode()
    del text  # Otherwise the frames of the traceback would show it.
    raise SASLCredentialsError(f"{what} {problem}")
