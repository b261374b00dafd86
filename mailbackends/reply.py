"""A server's reply, and the enhanced status code in its text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from mailbackends.texts import one_line

__all__ = ["EnhancedStatus", "Reply"]

# RFC 2034 section 4: class "." subject "." detail, then a space; RFC 3463 section 2
# allows three digits for subject and detail and only the classes 2, 4 and 5.
_ENHANCED = re.compile(rb"([245])\.(\d{1,3})\.(\d{1,3})(?=[ \t]|$)")


@dataclass(frozen=True, slots=True)
class EnhancedStatus:
    """An enhanced mail system status code, such as 5.1.1 (RFC 3463)."""

    status_class: int
    subject: int
    detail: int

    def __str__(self) -> str:
        return f"{self.status_class}.{self.subject}.{self.detail}"


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole reply of a server (RFC 5321 section 4.2).

    ``code`` is the three-digit reply code, or -1 where the server sent none.
    ``lines`` are the texts after the code, without line ends, as bytes.
    """

    code: int
    lines: tuple[bytes, ...] = (b"",)

    @classmethod
    def of(cls, code: int, text: bytes | str) -> Reply:
        """The reply with this text, whose lines are joined by a line feed, as in `smtplib`."""
        data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
        return cls(code, tuple(data.split(b"\n")))

    @property
    def message(self) -> bytes:
        """The text as `smtplib` gives it: the lines joined by a line feed."""
        return b"\n".join(self.lines)

    @property
    def text(self) -> str:
        """The text for people: one line that cannot disturb a terminal or a log."""
        return one_line(" ".join(line.decode("utf-8", "backslashreplace") for line in self.lines))

    @property
    def enhanced(self) -> EnhancedStatus | None:
        """The enhanced status code at the head of the text, or None (RFC 2034)."""
        match = _ENHANCED.match(self.lines[0]) if self.lines else None
        return EnhancedStatus(*(int(part) for part in match.groups())) if match else None

    @property
    def is_positive(self) -> bool:
        """True for 2yz: the command was done (RFC 5321 section 4.2.1)."""
        return 200 <= self.code <= 299

    @property
    def is_transient(self) -> bool:
        """True for 4yz: the same command may succeed later."""
        return 400 <= self.code <= 499

    @property
    def is_permanent(self) -> bool:
        """True for 5yz: the same command will fail again."""
        return 500 <= self.code <= 599

    def as_dict(self) -> dict[str, Any]:
        """The reply in JSON's types: ``code``, ``text`` and ``enhanced_status``."""
        enhanced = self.enhanced
        return {
            "code": self.code,
            "text": self.text,
            "enhanced_status": None if enhanced is None else str(enhanced),
        }

    def __str__(self) -> str:
        return f"{self.code} {self.text}".rstrip()
