"""A message's content as it is sent: CRLF, dot-stuffing, size (RFC 5321 section 4.5.2)."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from email.errors import MessageError
from email.generator import BytesGenerator
from email.header import Header
from email.message import Message
from email.policy import EmailPolicy, Policy
from functools import lru_cache
from itertools import groupby
from typing import Any, cast

from mailbackends.errors import InvalidAddressError, InvalidMessageError
from mailbackends.mime.folding import checked_policy
from mailbackends.mime.headers import Field, check_headers, outgoing_fields
from mailbackends.mime.pieces import Piece, dot_stuffed, with_crlf
from mailbackends.mime.reencoding import sendable
from mailbackends.mime.serializer import serialized
from mailbackends.mime.writer import WrittenMessage

__all__ = [
    "Content",
    "check_headers",
    "from_bytes",
    "from_message",
    "from_written",
    "marked_as_automatic",
    "outgoing_policy",
]

# A small content is kept in one buffer, which is one write on a TLS connection.
_SMALL = 64 * 1024

# What the email package raises for malformed messages.
_NOT_SERIALISABLE = (
    *(UnicodeError, LookupError, TypeError, ValueError, AttributeError),
    *(MessageError, RecursionError),
)


@dataclass(slots=True, repr=False)
class Content:
    """Lines that end with CRLF, including the last one, without a lone CR or LF.

    No piece ends between CR and LF. Large attachments are encoded while they are sent.
    """

    pieces: tuple[Piece, ...]
    is_8bit: bool
    size: int
    """Length in bytes, as in the SIZE parameter and in BDAT (RFC 1870)."""

    @property
    def is_made_while_sent(self) -> bool:
        """True if a part is read from a file, or encoded, while the content is sent."""
        return any(not isinstance(piece, bytes) for piece in self.pieces)

    def chunk(self) -> Iterable[bytes]:
        """The buffers for BDAT: the lines unchanged (RFC 3030 section 2).

        A tuple if nothing is encoded while it is sent.
        """
        if len(self.pieces) == 1 and isinstance(self.pieces[0], bytes):
            return (self.pieces[0],)
        ready = [piece for piece in self.pieces if isinstance(piece, bytes)]
        return tuple(ready) if len(ready) == len(self.pieces) else self._made()

    def _made(self) -> Iterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, bytes):
                yield piece
            else:
                yield from piece.pieces()

    def dot_stuffed(self) -> Iterator[bytes]:
        """The buffers for DATA: a dot before each leading dot, and the final dot."""
        return dot_stuffed(self.chunk())

    def header(self) -> bytes:
        """The header fields as they are sent, without the empty line after them."""
        found = bytearray()
        for piece in self.pieces:
            if not isinstance(piece, bytes):
                break
            if not found and piece.startswith(b"\r\n"):
                return b""
            end = piece.find(b"\r\n\r\n")
            if end >= 0:
                return bytes(found) + piece[: end + 2] if found else piece[: end + 2]
            found += piece
        return bytes(found)

    def with_head(self, fields: bytes) -> Content:
        """The content with these fields before all others; nothing else of it is copied."""
        head = self.pieces[0]
        if len(self.pieces) == 1 and self.size <= _SMALL and isinstance(head, bytes):
            pieces: tuple[Piece, ...] = (fields + head,)
        else:
            pieces = (fields, *self.pieces)
        return Content(pieces, self.is_8bit, self.size + len(fields))

    def __repr__(self) -> str:
        return f"<Content of {self.size} bytes>"


def marked_as_automatic(word: str, content: Content) -> Content:
    """The content with ``Auto-Submitted: word`` (RFC 3834 section 5), unless it has the field.

    Exchange has a field of its own for the same purpose. What somebody has signed stays as it is.
    """
    present = (b"\n" + content.header()).lower()
    if b"\nauto-submitted:" in present or b"\ndkim-signature:" in present:
        return content
    fields = f"Auto-Submitted: {word}\r\n".encode("ascii")
    if b"\nx-auto-response-suppress:" not in present:
        fields += b"X-Auto-Response-Suppress: All\r\n"
    return content.with_head(fields)


def from_bytes(data: bytes) -> Content:
    """The content of a message given as bytes.

    Every line end becomes CRLF, including a lone CR or LF, which a server could take for one
    (SMTP smuggling, CVE-2023-51764). A missing end of the last line is added.
    """
    data = with_crlf(data)
    pieces = (data,) if data.endswith(b"\r\n") else (data, b"\r\n")
    return Content(pieces, not data.isascii(), sum(map(len, pieces)))


def from_message(
    message: Message[Any, Any],
    *,
    utf8: bool = False,
    allow_8bit: bool = True,
    fast: bool = True,
) -> Content:
    """The content of a message object, without its Bcc fields (RFC 5322 section 3.6.3).

    ``utf8`` leaves header fields in UTF-8 (RFC 6532), for a transaction with SMTPUTF8 only.
    Without ``allow_8bit``, 8-bit bodies are encoded for 7 bits. Without ``fast``, the email
    package's generator serialises every message.

    Raises:
        InvalidMessageError: a header field contains a line break or has an invalid name, or
            the message cannot be serialised.
        InvalidAddressError: a domain in an address field has no A-labels.
    """
    fields = outgoing_fields(message, utf8=utf8)
    policy = outgoing_policy(message, utf8=utf8, allow_8bit=allow_8bit)
    try:
        pieces = serialized(message, policy, fields) if fast else None
        if pieces is None:
            check_headers(message)
            pieces = [with_crlf(_generated(message, policy, fields))]
        return _made_of(pieces)
    except (InvalidAddressError, InvalidMessageError):
        raise
    except _NOT_SERIALISABLE as error:
        raise InvalidMessageError(f"the message cannot be serialised: {error}") from error


def from_written(
    message: WrittenMessage,
    *,
    utf8: bool = False,
    allow_8bit: bool = True,
    fast: bool = True,
) -> Content:
    """The content of a written message, which is built if the server needs another form.

    Raises: as `from_message`.
    """
    if message.is_final or (fast and not utf8):
        pieces = _joined(message.pieces)
        if message.has_crlf:
            content = _made_of(pieces)
        elif len(pieces) == 1 and isinstance(pieces[0], bytes):
            content = from_bytes(pieces[0])
        else:
            content = _made_of([with_crlf(p) if isinstance(p, bytes) else p for p in pieces])
        if message.is_final or allow_8bit or not content.is_8bit:
            return content
    return from_message(message.build(), utf8=utf8, allow_8bit=allow_8bit, fast=fast)


def outgoing_policy(
    message: Message[Any, Any], *, utf8: bool = False, allow_8bit: bool = True
) -> Policy:
    """The policy under which the message is written: its own, with what the server allows."""
    return _policy(message.policy, utf8=utf8, allow_8bit=allow_8bit, parsed=_is_parsed(message))


@lru_cache(maxsize=64)
def _policy(policy: Policy, *, utf8: bool, allow_8bit: bool, parsed: bool) -> Policy:
    changes: dict[str, Any] = {"cte_type": "8bit" if allow_8bit else "7bit", "linesep": "\r\n"}
    if hasattr(policy, "utf8"):
        # Also off: UTF-8 in a header is for a transaction with SMTPUTF8, whatever the policy.
        changes["utf8"] = utf8
    elif utf8:
        # The legacy policy (``compat32``) would encode the addresses, which makes them useless.
        policy = EmailPolicy(max_line_length=policy.max_line_length)
        changes["utf8"] = True
    return checked_policy(policy, keeps_source=parsed, **changes)


def _is_parsed(message: Message[Any, Any]) -> bool:
    """True if the message may come from the email package's parser, under the legacy policy.

    Then its fields are not folded anew, which would break a signature. The parser makes plain
    objects without a charset; what an application builds has another class or a charset. With
    the other policies, the fields themselves show where they come from.
    """
    return type(message) is Message and message.get_charset() is None


def _generated(message: Message[Any, Any], policy: Policy, fields: list[Field]) -> bytes:
    # A copy: the generator writes its policy and the boundary into the message.
    outgoing = copy.copy(message)
    if _comparable(fields) != _comparable(message.raw_items()):
        for name in set(message.keys()):
            del outgoing[name]
        for field in fields:
            outgoing.set_raw(*field)
    try:
        return _flattened(sendable(outgoing, policy), policy)
    except UnicodeEncodeError:
        # The generator encodes 8-bit texts for 7 bits itself, unless the email package's charset
        # registry was changed for the whole process, as importing Flask-Mail does.
        return _flattened(sendable(outgoing, policy, all_8bit=True), policy)


def _flattened(message: Message[Any, Any], policy: Policy) -> bytes:
    buffer = io.BytesIO()
    BytesGenerator(buffer, mangle_from_=False, policy=policy).flatten(message)
    return buffer.getvalue()


def _comparable(fields: Iterable[Field]) -> list[tuple[str, bool, Any]]:
    # The legacy email.header.Header compares equal to its text.
    return [(name, isinstance(value, Header), value) for name, value in fields]


def _made_of(pieces: Sequence[Piece]) -> Content:
    """The content of these pieces, whose lines end with CRLF; adjacent bytes are joined."""
    joined = _joined(pieces)
    if not _ends_line(joined[-1]):
        joined.append(b"\r\n")
    size, is_8bit = 0, False
    for piece in joined:
        if isinstance(piece, bytes):
            size += len(piece)
            is_8bit = is_8bit or not piece.isascii()
        else:
            size += piece.size
    return Content(tuple(joined), is_8bit, size)


def _joined(pieces: Sequence[Piece]) -> list[Piece]:
    try:
        return [b"".join(cast(Sequence[bytes], pieces))]
    except TypeError:  # not all are bytes
        pass
    joined: list[Piece] = []
    for is_bytes, group in groupby(pieces, lambda piece: isinstance(piece, bytes)):
        run = list(group)
        joined += [b"".join(cast(list[bytes], run))] if is_bytes else run
    return joined


def _ends_line(piece: Piece) -> bool:
    return piece.endswith(b"\r\n") if isinstance(piece, bytes) else piece.ends_line
