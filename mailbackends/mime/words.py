"""Text as the words of a header field, and words as its lines.

ASCII stays ASCII, however long it is. Only what has no other form in a header becomes an
encoded word (RFC 2047): characters that are not ASCII, control characters, and text that a
reader would take for an encoded word.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote

__all__ = [
    "ATOMS",
    "LINE_LENGTH",
    "LONGEST_LINE",
    "LONGEST_WORD",
    "MALFORMED",
    "PLAIN_WORDS",
    "encoded_words",
    "fold",
    "parameter_words",
    "phrase_words",
    "quoted_string",
    "text_words",
    "utf8_text",
]

LINE_LENGTH = 78
"""The length of a line, without its end, that should not be exceeded (RFC 5322 section 2.1.1)."""

MALFORMED = re.compile(rb"\?[bq]\?\?=|\?==\?", re.I)
"""An encoded word without text, or two without a space between them, as some versions of the
email package write them: RFC 2047 sections 2 and 5 forbid both, and Yahoo refuses such mail."""

LONGEST_LINE = 998
"""The octets that a line may have at most, without its end (RFC 5322 section 2.1.1)."""

LONGEST_WORD = LONGEST_LINE - 2
"""With room for a space before the word, and a comma or semicolon after it."""

ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
"""A phrase that needs no quotes (RFC 5322 section 3.2.3), with one space between its words."""

PLAIN_WORDS = re.compile(r"[!-~]+(?: [!-~]+)*")
"""One space between words, none around them: nothing that folding could change."""

_LONGEST_ENCODED = 75  # RFC 2047 section 2
_START_Q, _START_B, _END = "=?utf-8?q?", "=?utf-8?b?", "?="

_SPACES = re.compile(r"([ \t]+)")
# What can stay as it is in unstructured text: printable ASCII.
_PLAIN_WORD = re.compile(r"[!-~]+")
# RFC 2047 section 5: these are allowed in a phrase, and so everywhere.
_Q_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/")
_Q = tuple(chr(n) if n in _Q_SAFE else "_" if n == 0x20 else f"={n:02X}" for n in range(256))

_UTF8_ATOM = r'[^\x00-\x20\x7f()<>@,;:\\".\[\]]+'  # RFC 6532 section 3.2
_UTF8_ATOMS = re.compile(f"{_UTF8_ATOM}(?: {_UTF8_ATOM})*")
_QUOTABLE = re.compile(r"[\t -~]*")
# What readers take for an encoded word, or for the start of one.
_LIKE_ENCODED = re.compile(r"=\?[^?]*\?[^?]*\?")


def utf8_text(text: str) -> str:
    """The text with undecoded bytes, which a parsed message has as surrogates, read as UTF-8."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def text_words(text: str, *, room: int = 0, utf8: bool = False, literal: bool = True) -> list[str]:
    """Unstructured text as words and the white space between them, alternating.

    ``room`` is the space left on the first line. ``utf8`` leaves characters that are not ASCII
    (RFC 6532). With ``literal``, text that looks like an encoded word is encoded, so that it is
    shown as it is; without it, it is one.

    Raises:
        UnicodeEncodeError: the text contains a lone surrogate.
    """
    tokens: list[str] = _SPACES.split(text)
    out: list[str] = []
    run: list[str] = []
    for index in range(0, len(tokens), 2):
        word = tokens[index]
        space = tokens[index - 1] if index else ""
        if _is_plain(word, utf8=utf8, literal=literal):
            _add(out, run, room)
            run = []
            out += [space, word] if index else [word]
        else:
            # White space between two encoded words is not shown: it belongs into the word.
            run += [space, word] if run or index else [word]
    _add(out, run, room)
    return out


def _add(out: list[str], run: list[str], room: int) -> None:
    if run:
        if out:
            out.append(run.pop(0))
        words = encoded_words("".join(run), room=0 if out else room)
        out += [word for one in words for word in (" ", one)][1:]


def _is_plain(word: str, *, utf8: bool, literal: bool) -> bool:
    if len(word) > LONGEST_WORD or (literal and _LIKE_ENCODED.search(word)):
        return False
    if not word or _PLAIN_WORD.fullmatch(word):
        return True
    return utf8 and word.isprintable() and len(word.encode()) <= LONGEST_WORD


def encoded_words(text: str, *, room: int = 0) -> list[str]:
    """The text in UTF-8 as encoded words, in the shorter of the two encodings.

    The first word has at most ``room`` characters where that is enough for some text.

    Raises:
        UnicodeEncodeError: the text contains a lone surrogate.
    """
    data = text.encode()
    if sum(len(_Q[byte]) for byte in data) <= (len(data) + 2) // 3 * 4:
        return [f"{_START_Q}{part}{_END}" for part in _q_parts(text, room)]
    return [f"{_START_B}{part}{_END}" for part in _b_parts(text, room)]


def _room(room: int) -> int:
    """The encoded characters that the first word can have."""
    full = _LONGEST_ENCODED - len(_START_Q) - len(_END)
    first = min(room - len(_START_Q) - len(_END), full)
    return first if first >= 24 else full  # too little for a word that is worth it


def _q_parts(text: str, room: int) -> Iterator[str]:
    limit, part = _room(room), ""
    for character in text:
        encoded = "".join([_Q[byte] for byte in character.encode()])
        if len(part) + len(encoded) > limit:
            yield part
            limit, part = _room(0), ""
        part += encoded
    yield part


def _b_parts(text: str, room: int) -> Iterator[str]:
    limit, part = _room(room) // 4 * 3, b""
    for character in text:
        encoded = character.encode()
        if len(part) + len(encoded) > limit:
            yield _base64(part)
            limit, part = _room(0) // 4 * 3, b""
        part += encoded
    yield _base64(part)


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def phrase_words(name: str, *, utf8: bool = False) -> list[str]:
    """A display name as words: as it is, quoted or encoded (RFC 5322 section 3.2.5).

    Nothing in it can become an address, whoever reads it. It may be folded between the words.
    """
    if utf8 and name.isprintable() and "=?" not in name and len(name.encode()) < LONGEST_WORD:
        return name.split(" ") if _UTF8_ATOMS.fullmatch(name) else [quoted_string(name)]
    if _LIKE_ENCODED.search(name) or not _QUOTABLE.fullmatch(name):
        return encoded_words(name)
    if ATOMS.fullmatch(name) and "=?" not in name and max(map(len, name.split(" "))) < LONGEST_WORD:
        return name.split(" ")
    quoted = quoted_string(name)
    # Not folded within the quotes: some readers would take the line end for a part of the name.
    return [quoted] if len(quoted) <= LONGEST_WORD else encoded_words(name)


def quoted_string(text: str) -> str:
    r"""The text in quotes, with ``\`` before quotes and backslashes (RFC 5322 section 3.2.4)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def parameter_words(name: str, value: str, *, width: int = LINE_LENGTH) -> list[str]:
    """A parameter of Content-Type or Content-Disposition: ``name=value``, in one word or more.

    What is not ASCII is encoded by RFC 2231, over several parameters if it is long.

    Raises:
        UnicodeEncodeError: the value contains a lone surrogate.
    """
    if value.isascii() and value.isprintable():
        quoted = f"{name}={quoted_string(value)}"
        if len(quoted) <= LONGEST_WORD:
            return [quoted]
    encoded = quote(value, safe="", encoding="utf-8", errors="strict")
    if len(name) + len(encoded) + len("*=utf-8''") < width - 2:
        return [f"{name}*=utf-8''{encoded}"]
    return _continued(name, encoded, width)


def _continued(name: str, encoded: str, width: int) -> list[str]:
    words: list[str] = []
    rest = f"utf-8''{encoded}"
    while rest:
        start = f"{name}*{len(words)}*="
        end = max(width - 3 - len(start), 12)
        if "%" in rest[end - 2 : end] and end < len(rest):  # not within an octet: "%C3"
            end = rest.rindex("%", 0, end)
        words.append(start + rest[:end])
        rest = rest[end:]
    return words


def fold(name: str, words: Iterable[str], width: int = LINE_LENGTH) -> list[str]:
    """The lines of a field with these words and the white space between them, alternating.

    A word for which a line has no room begins the next line, with the white space before it.
    """
    lines: list[str] = []
    line, space = f"{name}:", " "
    for index, word in enumerate(words):
        if index % 2:
            space = word
        elif word and len(line) + len(space) + len(word) > width:
            lines.append(line)
            line = space + word
        else:
            line += space + word
    return [*lines, line.rstrip(" ") if not lines and line == f"{name}: " else line]
