"""What the server can do: its EHLO reply, read once (RFC 5321 section 4.1.1.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mailbackends.reply import Reply

__all__ = ["Extensions", "parse"]

# A keyword with anything else behind it is another one, which we do not know.
_KEYWORD = re.compile(r"(?P<keyword>[A-Za-z0-9][A-Za-z0-9-]*)(?:[ \t=]|$)(?P<parameters>.*)", re.S)
# Before RFC 2554 some servers announced "AUTH=LOGIN PLAIN"; some still announce both.
_OLD_STYLE_AUTH = re.compile(r"AUTH=(?P<parameters>.*)", re.I | re.S)


@dataclass(frozen=True, slots=True)
class Extensions:
    """The announced service extensions: keyword in upper case to its parameters as text.

    A server that knows HELO only has none. An AUTH line in the old style counts too.
    """

    keywords: Mapping[str, str] = field(default_factory=dict)

    # Asked for each message, and so read once.
    max_size: int | None = field(init=False, repr=False, compare=False)
    """The largest message taken, in bytes, or None where no limit is told (RFC 1870)."""
    max_messages: int | None = field(init=False, repr=False, compare=False)
    """MAILMAX: how many messages one connection may carry, or None (RFC 9422)."""
    max_recipients: int | None = field(init=False, repr=False, compare=False)
    """RCPTMAX: how many recipients one message may have, or None (RFC 9422)."""

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
    """The number, or None: a limit of 0 is none, and one beyond 18 digits is a mistake."""
    digits = text.strip()
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        return None
    return int(digits) or None


def parse(reply: Reply) -> Extensions:
    """The extensions in a positive reply to EHLO or LHLO; what is unreadable is passed over."""
    keywords: dict[str, str] = {}
    for raw in reply.lines[1:]:
        line = raw.decode("latin-1")
        if old_style := _OLD_STYLE_AUTH.match(line):
            keyword, parameters = "AUTH", old_style["parameters"]
        elif match := _KEYWORD.match(line):
            keyword, parameters = match["keyword"].upper(), match["parameters"]
        else:
            continue
        if keyword == "AUTH":
            parameters = f"{keywords.get('AUTH', '')} {parameters}"
        keywords[keyword] = parameters.strip()
    return Extensions(keywords)
