"""What is sent: a letter, in a form that each client takes, and what must have arrived of it."""

from __future__ import annotations

import email
import email.policy
import itertools
import os
import re
from dataclasses import dataclass, field

from interop import tally
from interop.servers.base import Arrival

__all__ = ["DATE", "Letter", "check", "tag"]

DATE = "Mon, 02 Nov 2026 10:00:00 +0000"

_numbers = itertools.count()
_BOUNDARY = re.compile(rb'(?m)^Content-Type: multipart/[^"]*boundary="([^"]+)"')


def tag() -> str:
    """A word that stands nowhere else."""
    return f"t{os.getpid()}n{next(_numbers)}e"


@dataclass(frozen=True, slots=True)
class Letter:
    """One message. Bytes go as ``raw`` says, a framework makes its own of the other fields."""

    text: str = "Hello.\n"
    subject: str = "a letter"
    people: tuple[str, ...] = ("a",)
    """Local parts, without the extension that makes them this letter's."""
    sender: str = "sender@example.test"
    wire_text: bytes | None = None
    """In place of ``text``, for those who send bytes: line ends that no text has."""
    attachment: bytes | None = None
    is_refused: bool = False
    """With a field that servers are told to refuse."""
    is_empty: bool = False
    """No byte at all, for those who can send that."""
    token: str = field(default_factory=tag)

    @property
    def recipients(self) -> tuple[str, ...]:
        """The forward-paths."""
        return tuple(f"{name}+{self.token}@example.test" for name in self.people)

    @property
    def message_id(self) -> str:
        """With the token in it."""
        return f"<{self.token}@example.test>"

    @property
    def is_8bit(self) -> bool:
        """True where the bytes are not all ASCII."""
        return not self.raw.isascii()

    @property
    def needs_utf8(self) -> bool:
        """True where an address is not ASCII."""
        return not all(one.isascii() for one in (self.sender, *self.recipients))

    @property
    def raw(self) -> bytes:
        """For those who send bytes."""
        if self.is_empty:
            return b""
        head = f"Message-ID: {self.message_id}\r\nDate: {DATE}\r\nFrom: {self.sender}\r\n"
        head += f"Subject: {self.subject}\r\n" + "X-Refuse: yes\r\n" * self.is_refused
        head += "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        head += "Content-Transfer-Encoding: 8bit\r\n\r\n"
        if self.wire_text is not None:
            return head.encode() + self.wire_text
        text = self.text.replace("\n", "\r\n").encode()
        if self.attachment is not None:
            text += b"\r\n".join(re.findall(rb".{1,76}", self.attachment.hex().encode()[: 1 << 26]))
        return head.encode() + text


def check(arrival: Arrival, letter: Letter, whole: bytes, *, exactly: bool = False) -> None:
    """Compare all bytes that arrived with the ``whole`` content that was sent.

    A server may store LF for CRLF, take a lone CR or LF for the end of a line, and end
    the last line; nothing else. ``exactly``: it keeps the line ends, too.

    Raises:
        AssertionError: it may not do this.
    """
    arrived = arrival.content
    # The boundary between parts is another each time that a message is made.
    if (drawn := _BOUNDARY.search(whole)) and (there := _BOUNDARY.search(arrived)):
        whole = whole.replace(drawn[1], there[1])
    if exactly:
        got, expected = arrived.removesuffix(b"\r\n"), [whole.removesuffix(b"\r\n")]
    else:
        # Postfix makes a space of a CR that stands alone, smtp-sink drops it.
        others = [re.sub(rb"\r(?!\n)", by, whole) for by in (b" ", b"")]
        got, expected = _lines(arrived), [_lines(one) for one in (whole, *others)]
    tally.arrived["with the line ends" if exactly else "line by line"] += 1
    if got not in expected and (letter.raw or got.strip()):
        pairs = enumerate(zip(got, expected[0], strict=False))
        at = next((i for i, (a, b) in pairs if a != b), -1)
        raise AssertionError(
            f"from byte {at} of {len(expected[0])} it arrived ({len(got)}) as "
            f"{got[max(0, at - 60) : at + 60]!r} and not "
            f"{expected[0][max(0, at - 60) : at + 60]!r}"
        )


def check_text(arrival: Arrival, letter: Letter) -> None:
    """Compare subject and text, decoded, with what a framework was given."""
    parsed = email.message_from_bytes(arrival.content, policy=email.policy.default)
    assert (parsed["Subject"] or "") == letter.subject
    body = parsed.get_body(("plain",))
    assert body is not None
    got = re.sub("\r\n|\r|\n", "\n", body.get_content())
    assert got.rstrip("\n") == re.sub("\r\n|\r|\n", "\n", letter.text).rstrip("\n")


def _lines(content: bytes) -> bytes:
    lines = re.sub(rb"\r\n|\r|\n", b"\n", content)
    return lines if lines.endswith(b"\n") or not lines else lines + b"\n"
