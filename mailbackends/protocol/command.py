"""Commands as lines: the one place that decides what a command line may contain."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mailbackends.protocol.masking import HIDDEN, masked_line

__all__ = ["Command", "bdat", "mail", "rcpt"]

# RFC 5321 section 2.3.8 ends a line with CRLF only, but servers differ in what they take
# for a line end. Other control characters do not belong in a command, and a lone surrogate
# has no form in UTF-8.
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")

# After these the server may be in a new state, in which it would read what follows as
# something else (RFC 2920 section 3.1).
_ENDS_GROUP = frozenset(
    {"EHLO", "HELO", "LHLO", "STARTTLS", "AUTH", "DATA", "VRFY", "EXPN", "QUIT", "NOOP"}
)


@dataclass(slots=True)
class Command:
    """One command line: a verb, and its argument.

    ``is_secret`` keeps the argument out of ``repr()``, logs and debug output. The verb is
    empty for the response to a challenge of an AUTH exchange (RFC 4954 section 4).

    Raises:
        ValueError: a control character in verb or argument.
    """

    verb: str
    argument: str = ""
    is_secret: bool = False
    ends_group: bool = field(init=False, repr=False)
    """True if nothing may follow before the reply (RFC 2920 section 3.1)."""

    def __post_init__(self) -> None:
        # No local variable contains the text, which may be a secret: error reports show those.
        # Printable ASCII is harmless, and is recognised ten times as fast.
        if not (
            (self.argument.isascii() and self.argument.isprintable() and self.verb.isalpha())
            or not _CONTROL.search(f"{self.verb} {self.argument}")
        ):
            shown = "(hidden)" if self.is_secret else f"{self.verb} {self.argument}"
            raise ValueError(f"a command cannot contain control characters: {shown!r}")
        self.ends_group = not self.verb or self.verb in _ENDS_GROUP

    @property
    def line(self) -> bytes:
        """The line as it is sent, with its CRLF, in UTF-8 (RFC 6531 section 3.1)."""
        return f"{self.verb} {self.argument}".strip(" ").encode() + b"\r\n"

    def __str__(self) -> str:
        line = f"{self.verb} {self.argument}".strip(" ")
        if not self.is_secret:
            return line
        return masked_line(line, is_response=not self.verb) or HIDDEN

    def __repr__(self) -> str:
        return f"<Command {self!s}>"


def mail(reverse_path: str, parameters: tuple[str, ...] = ()) -> Command:
    """MAIL with its parameters (RFC 5321 section 4.1.1.2). The empty path is the null one."""
    return Command("MAIL", " ".join([f"FROM:<{reverse_path}>", *parameters]))


def rcpt(forward_path: str, parameters: tuple[str, ...] = ()) -> Command:
    """RCPT with its parameters (RFC 5321 section 4.1.1.3)."""
    return Command("RCPT", " ".join([f"TO:<{forward_path}>", *parameters]))


def bdat(size: int, *, last: bool) -> Command:
    """BDAT for a chunk of ``size`` bytes (RFC 3030 section 2)."""
    return Command("BDAT", f"{size} LAST" if last else str(size))
