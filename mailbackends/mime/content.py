"""A message's content as it goes on the wire: CRLF, dots, size (RFC 5321 section 4.5.2)."""

from __future__ import annotations

import base64
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

from mailbackends.errors import InvalidMessageError
from mailbackends.mime.headers import Field, check_headers, outgoing_fields
from mailbackends.mime.line_ends import whole_lines, with_crlf
from mailbackends.mime.serializer import Piece, serialized
from mailbackends.mime.writer import WrittenMessage

__all__ = [
    "Content",
    "check_headers",
    "from_bytes",
    "from_message",
    "from_written",
]

# What the email package raises on messages that are no proper ones.
_NOT_SERIALISABLE = (
    *(UnicodeError, LookupError, TypeError, ValueError, AttributeError),
    *(MessageError, RecursionError),
)


@dataclass(slots=True, repr=False)
class Content:
    """Lines that end with CRLF, the last one too, and never with a lone CR or LF.

    They stand in pieces, none of which ends between CR and LF; a large text is made only
    while it is sent.
    """

    pieces: tuple[Piece, ...]
    is_8bit: bool
    size: int
    """The bytes of the message, as SIZE declares and BDAT counts them (RFC 1870)."""

    def chunk(self) -> Iterable[bytes]:
        """The buffers for BDAT: the lines as they are (RFC 3030 section 2).

        A tuple where all of them are there.
        """
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
        at_line_start = True
        for buffer in _windows(filter(None, self.chunk())):
            if at_line_start and buffer.startswith(b"."):
                yield b"."
            # Ten times as fast as a regular expression. No lone CR or LF can stand here,
            # so CRLF is the only line end behind which a dot could be read as the end.
            # Without a dot to stuff, replace() gives the same object, not a copy.
            yield buffer.replace(b"\r\n.", b"\r\n..")
            at_line_start = buffer.endswith(b"\r\n")
        yield b".\r\n"

    def __repr__(self) -> str:
        return f"<Content of {self.size} bytes>"


def _windows(buffers: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes; a large buffer that has dots to stuff comes in slices of whole lines."""
    for buffer in buffers:
        if b"\r\n." in buffer:
            yield from whole_lines(buffer)
        else:
            yield buffer


def from_bytes(data: bytes) -> Content:
    """The content of a message that is serialised already.

    Every line end, also a lone CR or LF, becomes CRLF: what a server could take for one
    (SMTP smuggling, CVE-2023-51764) goes out as one. A last line without an end gets it.
    """
    return _made_of([with_crlf(data)])


def from_message(
    message: Message[Any, Any],
    *,
    utf8: bool = False,
    allow_8bit: bool = True,
    fast: bool = True,
) -> Content:
    """The content of a message object, without its Bcc fields (RFC 5322 section 3.6.3).

    ``utf8`` leaves header fields in UTF-8 (RFC 6532), which only a transaction with
    SMTPUTF8 may carry. Without ``allow_8bit`` 8-bit bodies are encoded for 7 bits.
    Without ``fast`` the email package's generator serialises every message.

    Raises:
        InvalidMessageError: a header field holds a line break or has no proper name, or the
            message is no proper one.
        InvalidAddressError: an address field holds a domain that has no form in ASCII.
    """
    fields = outgoing_fields(message, utf8=utf8)
    policy = _policy(message.policy, utf8=utf8, allow_8bit=allow_8bit)
    try:
        pieces = serialized(message, policy, fields) if fast else None
        if pieces is None:
            check_headers(message)
            pieces = [with_crlf(_generated(message, policy, fields))]
        return _made_of(pieces)
    except InvalidMessageError:
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
    """The content of a message that stands written; built after all where that does not do.

    Raises: as `from_message`.
    """
    if fast and not utf8:
        pieces = _joined(message.pieces)
        content = _made_of([with_crlf(p) if isinstance(p, bytes) else p for p in pieces])
        if allow_8bit or not content.is_8bit:
            return content
    return from_message(message.build(), utf8=utf8, allow_8bit=allow_8bit, fast=fast)


@lru_cache(maxsize=64)
def _policy(policy: Policy, *, utf8: bool, allow_8bit: bool) -> Policy:
    changes: dict[str, Any] = {"cte_type": "8bit" if allow_8bit else "7bit", "linesep": "\r\n"}
    if utf8 and not hasattr(policy, "utf8"):
        # The legacy policy (``compat32``) would encode the addresses, which none can read.
        return EmailPolicy(utf8=True, max_line_length=policy.max_line_length, **changes)
    if utf8:
        changes["utf8"] = True
    return policy.clone(**changes)


def _generated(message: Message[Any, Any], policy: Policy, fields: list[Field]) -> bytes:
    # A copy, for the generator writes its policy and the boundary into the message.
    outgoing = copy.copy(message)
    if _told_apart(fields) != _told_apart(message.raw_items()):
        for name in set(message.keys()):
            del outgoing[name]
        for field in fields:
            outgoing.set_raw(*field)
    try:
        return _flattened(outgoing, policy)
    except UnicodeEncodeError:
        return _flattened(_in_base64(outgoing), policy)


def _flattened(message: Message[Any, Any], policy: Policy) -> bytes:
    buffer = io.BytesIO()
    BytesGenerator(buffer, mangle_from_=False, policy=policy).flatten(message)
    return buffer.getvalue()


def _in_base64(message: Message[Any, Any]) -> Message[Any, Any]:
    """A copy with its 8-bit texts in base64.

    The generator encodes them itself for 7 bits, and trips over them where somebody told the
    email package, for the whole process, that UTF-8 needs no encoding: to import Flask-Mail
    is enough.
    """
    encoded = copy.deepcopy(message)
    for part in encoded.walk():
        text = part.get_payload()
        if isinstance(text, str) and not text.isascii():
            text.encode()  # Half a character has no form at all.
            data = cast(bytes, part.get_payload(decode=True))
            part.replace_header("Content-Transfer-Encoding", "base64")
            part.set_payload(base64.encodebytes(data).decode("ascii"))
    return encoded


def _told_apart(fields: Iterable[Field]) -> list[tuple[str, bool, Any]]:
    # The legacy email.header.Header says that it is equal to its text.
    return [(name, isinstance(value, Header), value) for name, value in fields]


def _made_of(pieces: Sequence[Piece]) -> Content:
    """The content of these pieces, whose lines end with CRLF; small ones are joined into one."""
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
    except TypeError:  # not bytes alone
        pass
    joined: list[Piece] = []
    for is_bytes, group in groupby(pieces, lambda piece: isinstance(piece, bytes)):
        run = list(group)
        joined += [b"".join(cast(list[bytes], run))] if is_bytes else run
    return joined


def _ends_line(piece: Piece) -> bool:
    return piece.endswith(b"\r\n") if isinstance(piece, bytes) else piece.ends_line
