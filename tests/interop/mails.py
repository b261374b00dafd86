"""What is sent: a mail, in a form for each client, and the comparison with what arrived."""

from __future__ import annotations

import email
import email.policy
import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from interop import counts
from interop.servers.base import Arrival

__all__ = ["DATE", "Mail", "check", "tag"]

DATE = "Mon, 02 Nov 2026 10:00:00 +0000"

_numbers = itertools.count()
_LONE = rb"\r(?!\n)|(?<!\r)\n"
_BOUNDARY = re.compile(rb'(?m)^Content-Type: multipart/[^"]*boundary="([^"]+)"')


def tag() -> str:
    """A unique word."""
    return f"t{os.getpid()}n{next(_numbers)}e"


@dataclass(frozen=True, slots=True)
class Mail:
    """One message: as bytes in ``raw``, and as fields from which a framework writes its own."""

    text: str = "Hello.\n"
    subject: str = "a mail"
    local_parts: tuple[str, ...] = ("a",)
    """Local parts, without the extension that makes them this mail's."""
    sender: str = "sender@example.test"
    wire_text: bytes | None = None
    """Instead of ``text`` for clients that send bytes, with line ends that text cannot have."""
    attachment: bytes | None = None
    is_refused: bool = False
    """With a field that servers are configured to refuse."""
    is_empty: bool = False
    """An empty message, from clients that can send one."""
    token: str = field(default_factory=tag)

    @property
    def recipients(self) -> tuple[str, ...]:
        """The forward-paths."""
        return tuple(f"{name}+{self.token}@example.test" for name in self.local_parts)

    @property
    def message_id(self) -> str:
        """With the token in it."""
        return f"<{self.token}@example.test>"

    @property
    def is_8bit(self) -> bool:
        """True if the bytes are not all ASCII."""
        return not self.raw.isascii()

    @property
    def needs_utf8(self) -> bool:
        """True if an address is not ASCII."""
        return not all(one.isascii() for one in (self.sender, *self.recipients))

    @property
    def raw(self) -> bytes:
        """The message for clients that send bytes."""
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


def check(arrival: Arrival, mail: Mail, whole: bytes, *, exactly: bool = False) -> None:
    """Compare all bytes that arrived with the ``whole`` content that was sent.

    A server may store LF for CRLF, take a lone CR or LF for the end of a line, and end
    the last line; nothing else. ``exactly``: it stores the line ends as they came.

    Raises:
        AssertionError: the server changed something else.
    """
    arrived = arrival.content
    # Each time a message is written, it gets another boundary between its parts.
    if (sent := _BOUNDARY.search(whole)) and (stored := _BOUNDARY.search(arrived)):
        whole = whole.replace(sent[1], stored[1])
    counts.arrived["with the line ends" if exactly else "line by line"] += 1
    if exactly:
        got, expected = arrived.removesuffix(b"\r\n"), whole.removesuffix(b"\r\n")
        is_same = got == expected
    else:
        got, expected = _lines(arrived), _lines(whole)
        is_same = any(got == _lines(one) for one in _stored_forms(whole))
    if not is_same and (mail.raw or got.strip()):
        pairs = enumerate(zip(got, expected, strict=False))
        at = next((i for i, (a, b) in pairs if a != b), -1)
        raise AssertionError(
            f"from byte {at} of {len(expected)} it arrived ({len(got)}) as "
            f"{got[max(0, at - 60) : at + 60]!r} and not {expected[max(0, at - 60) : at + 60]!r}"
        )


def _stored_forms(whole: bytes) -> Iterator[bytes]:
    """The content with each lone CR or LF as servers store it.

    Postfix makes a space of a lone CR, smtp-sink drops it; Exim makes a space of a lone LF.
    """
    yield whole
    if re.search(_LONE, whole):
        for cr, lf in itertools.product((b"\n", b" ", b""), (b"\n", b" ")):
            stored = {b"\r": cr, b"\n": lf}
            yield re.sub(_LONE, lambda found: stored[found[0]], whole)  # noqa: B023


def check_text(arrival: Arrival, mail: Mail) -> None:
    """Compare subject and text, decoded, with what a framework was given."""
    parsed = email.message_from_bytes(arrival.content, policy=email.policy.default)
    assert (parsed["Subject"] or "") == mail.subject
    body = parsed.get_body(("plain",))
    assert body is not None
    got = re.sub("\r\n|\r|\n", "\n", body.get_content())
    assert got.rstrip("\n") == re.sub("\r\n|\r|\n", "\n", mail.text).rstrip("\n")


def _lines(content: bytes) -> bytes:
    lines = re.sub(rb"\r\n|\r|\n", b"\n", content)
    return lines if lines.endswith(b"\n") or not lines else lines + b"\n"
