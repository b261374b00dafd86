"""The service extensions that a server announces in its EHLO reply (RFC 5321 section 4.1.1.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from mailbackends.reply import Reply

__all__ = ["OLDSTYLE_AUTH", "Extensions", "announced", "parse"]

_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
# Before RFC 2554 some servers announced "AUTH=LOGIN PLAIN"; some still announce both.
OLDSTYLE_AUTH = re.compile(r"auth=(.*)", re.I)


@dataclass(frozen=True, slots=True)
class Extensions:
    """The announced service extensions: keyword in upper case to its parameters as text.

    A server that knows only HELO has none. An AUTH line in the old style counts, too.
    """

    keywords: Mapping[str, str] = field(default_factory=dict)

    # Used for each message, and so read once.
    max_size: int | None = field(init=False, repr=False, compare=False)
    """The size of the largest message accepted, in bytes, or None if not announced (RFC 1870)."""
    max_messages: int | None = field(init=False, repr=False, compare=False)
    """MAILMAX: the maximum number of messages over one connection, or None (RFC 9422)."""
    max_recipients: int | None = field(init=False, repr=False, compare=False)
    """RCPTMAX: the maximum number of recipients of one message, or None (RFC 9422)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_size", _positive(self.keywords.get("SIZE", "")))
        object.__setattr__(self, "max_messages", self._limit("MAILMAX"))
        object.__setattr__(self, "max_recipients", self._limit("RCPTMAX"))

    def __contains__(self, keyword: str) -> bool:
        return keyword.upper() in self.keywords

    @property
    def auth_mechanisms(self) -> tuple[str, ...]:
        """The SASL mechanisms in upper case, in the server's order (RFC 4954 section 3)."""
        return tuple(dict.fromkeys(self.keywords.get("AUTH", "").upper().split()))

    def _limit(self, name: str) -> int | None:
        for entry in self.keywords.get("LIMITS", "").split():
            key, _, value = entry.partition("=")
            if key.upper() == name:
                return _positive(value)
        return None


def _positive(text: str) -> int | None:
    """The number, or None: 0 means no limit, and more than 18 digits are a mistake."""
    digits = text.strip()
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        return None
    return int(digits) or None


def announced(lines: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """Each keyword, in upper case, and the text after it, of the lines of an EHLO reply.

    The first line, which greets, is not among ``lines``. A line that cannot be read is
    skipped. The parameters of several AUTH lines, in the old style or the new, are joined,
    with a space before those of each line.
    """
    mechanisms = ""
    for raw in lines:
        line = raw.decode("latin-1")
        if old_style := OLDSTYLE_AUTH.match(line):
            keyword, text = "AUTH", old_style[1]
        elif match := _KEYWORD.match(line):
            keyword, text = match[0].upper(), line[match.end() :]
        else:
            continue
        if keyword == "AUTH":
            text = mechanisms = f"{mechanisms} {text.strip()}"
        yield keyword, text


def parse(reply: Reply) -> Extensions:
    """The extensions in a positive reply to EHLO or LHLO."""
    keywords: dict[str, str] = {}
    for keyword, text in announced(reply.lines[1:]):
        # A keyword followed by anything else is a different one, which is unknown here.
        if not text or text[0] in " \t=":
            keywords[keyword] = text[1:].strip()
    return Extensions(keywords)
