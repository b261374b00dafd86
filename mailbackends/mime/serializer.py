"""A message object to bytes, as the email package's generator writes it, but faster.

`serialized` knows messages as they are made by the standard library's own classes. What it
does not know, it leaves to the generator: a class or a policy with a method of its own, a
part that must be re-encoded, parts that are messages.
"""

from __future__ import annotations

import random
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from email.message import Message
from email.policy import Compat32, EmailPolicy, Policy
from functools import lru_cache
from typing import Any, TypeAlias, cast

from mailbackends.mime.email_internals import is_standard
from mailbackends.mime.header_lines import header_line
from mailbackends.mime.headers import Field
from mailbackends.mime.line_ends import with_crlf

__all__ = [
    "Encoded",
    "EncodedText",
    "Piece",
    "StreamedPart",
    "between",
    "boundary_line",
    "made_boundary",
    "serialized",
]

_POLICIES = (EmailPolicy, Compat32)

# Text beyond this (characters) is encoded only while it is sent.
_LARGE = 128 * 1024


class Encoded(ABC):
    """Content that is made piece by piece while it is sent, each time anew: ASCII, CRLF."""

    __slots__ = ()

    size: int
    """Bytes in all."""
    ends_line: bool = True
    """The last piece ends with CRLF."""

    @abstractmethod
    def pieces(self) -> Iterator[bytes]:
        """The bytes, in whole order; no piece ends between CR and LF.

        Raises:
            InvalidMessageError: there are no longer as many as ``size`` says.
        """

    @abstractmethod
    def holds(self, text: str) -> bool:
        """True where ``text`` stands in it."""


class EncodedText(Encoded):
    """A large ASCII text as lines that end with CRLF."""

    __slots__ = ("ends_line", "size", "text")

    def __init__(self, text: str) -> None:
        """``text`` is ASCII, with LF for each line end."""
        self.text = text
        self.size = len(text) + text.count("\n")
        self.ends_line = text.endswith("\n")

    def pieces(self) -> Iterator[bytes]:
        """The bytes, in whole order."""
        for start in range(0, len(self.text), _LARGE):
            piece = self.text[start : start + _LARGE].encode("ascii")
            yield piece.replace(b"\n", b"\r\n")

    def holds(self, text: str) -> bool:
        """True where ``text`` stands in it."""
        return text in self.text


class StreamedPart(Message, ABC):
    """A part of a message that brings its body already encoded, without having it in memory.

    Its header says how (Content-Transfer-Encoding). It is no multipart.
    """

    @abstractmethod
    def encoded(self) -> Encoded:
        """The body."""


Piece: TypeAlias = bytes | Encoded


def serialized(
    message: Message[Any, Any], policy: Policy, fields: list[Field] | None = None
) -> list[Piece] | None:
    """What ``BytesGenerator(mangle_from_=False, policy=policy)`` writes, in pieces.

    ``policy`` has CRLF for its line end. With ``fields`` these stand in the place of the
    message's own. The message stays as it is. None where the generator has to do it.

    Raises:
        InvalidMessageError: a header field holds a line break, or has no proper name.
    """
    if type(policy) not in _POLICIES or policy.linesep != "\r\n":
        return None
    out: list[Piece] = []
    if fields is None:
        fields = list(message.raw_items())
    return out if _write(message, fields, policy, out) else None


def _write(
    message: Message[Any, Any], fields: list[Field], policy: Policy, out: list[Piece]
) -> bool:
    own_class: Any = type(message)
    if _is_streamed(own_class):
        out += [_header(fields, policy), cast(StreamedPart, message).encoded()]
        return True
    if not is_standard(message):
        return False
    place, kind = _content_type(fields)
    if str.startswith(kind, _LEAF_TYPES):
        out.append(_header(fields, policy))
        return _text(message, policy, out)
    if _PLAIN_MULTIPART.fullmatch(kind):
        parts = _parts(message, policy)
        if parts is None:
            return False
        boundary = made_boundary(parts)
        line = boundary_line(policy, fields[place][0], str(kind), boundary)
        head = _lines(fields[:place], policy), line, _lines(fields[place + 1 :], policy), b"\r\n"
        out.append(b"".join(head))
        out += between(parts, boundary)
        return True
    return _write_by_policy(message, fields, policy, out)


def _write_by_policy(
    message: Message[Any, Any], fields: list[Field], policy: Policy, out: list[Piece]
) -> bool:
    # As the generator does it: what is read from the header, and the boundary that is
    # written into it, go by the policy of the output. The message belongs to the caller.
    own: Any = Message(policy)
    own._headers = list(fields)
    own.set_default_type(message.get_default_type())
    main = own.get_content_maintype()
    body: list[Piece] = []
    if main == "multipart" and own.get_content_subtype() != "signed":
        parts = _parts(message, policy)
        if parts is None:
            return False
        boundary = own.get_boundary()
        if not boundary:
            boundary = made_boundary(parts)
            own.set_boundary(boundary)
        elif not boundary.isascii() or not boundary.isprintable():
            return False
        body += between(parts, boundary)
    elif main in ("multipart", "message") or not _text(message, policy, body):
        return False
    # Behind the body: making it may have set the boundary in the header.
    out.append(_header(own.raw_items(), policy))
    out += body
    return True


@lru_cache(maxsize=256)
def _is_streamed(kind: type) -> bool:
    return issubclass(kind, StreamedPart)


def _content_type(fields: list[Field]) -> tuple[int, str]:
    """Where the field about the content stands, and its text; ``""`` unless there is one."""
    found = [
        (place, value)
        for place, (name, value) in enumerate(fields)
        if len(name) == len("Content-Type") and name.lower() == "content-type"
    ]
    if len(found) == 1 and isinstance(found[0][1], str):
        return found[0]
    return 0, ""


# What can be seen by a look, whatever the policy makes of it: a type that has no parts, and
# one whose parts have no boundary yet.
_LEAF_TYPES = ("text/", "application/", "image/", "audio/", "video/")
_PLAIN_MULTIPART = re.compile("multipart/(?!signed$)[a-z]+")


def _header(fields: Iterable[Field], policy: Policy) -> bytes:
    return _lines(fields, policy) + b"\r\n"


def _lines(fields: Iterable[Field], policy: Policy) -> bytes:
    return b"".join([header_line(policy, name, value) for name, value in fields])


def _text(message: Message[Any, Any], policy: Policy, out: list[Piece]) -> bool:
    payload: Any = message._payload  # type: ignore[attr-defined]
    if payload is None:
        return True
    if not isinstance(payload, str):
        return False
    if not payload.isascii():
        # Bytes in the guise of surrogates go out as they are where 8 bits are allowed.
        if policy.cte_type != "8bit":
            return False
        try:
            data = payload.encode("ascii", "surrogateescape")
        except UnicodeEncodeError:
            return False
        out.append(with_crlf(data))
        return True
    if "\r" in payload:
        payload = payload.replace("\r\n", "\n").replace("\r", "\n")
    if len(payload) > _LARGE:
        out.append(EncodedText(payload))
    else:
        out.append(payload.encode("ascii").replace(b"\n", b"\r\n"))
    return True


def _parts(message: Message[Any, Any], policy: Policy) -> list[list[Piece]] | None:
    parts: Any = message._payload  # type: ignore[attr-defined]
    if not isinstance(parts, list) or message.preamble is not None or message.epilogue is not None:
        return None
    written: list[list[Piece]] = []
    for part in parts:
        pieces: list[Piece] = []
        if not _write(part, list(part.raw_items()), policy, pieces):
            return None
        written.append(pieces)
    return written


def between(parts: list[list[Piece]], boundary: str) -> list[Piece]:
    """The parts of a multipart with the boundary between them, before and behind."""
    line = b"--" + boundary.encode("ascii")
    out: list[Piece] = []
    separator = line + b"\r\n"
    for pieces in parts:
        out.append(separator)
        out += pieces
        separator = b"\r\n" + line + b"\r\n"
    if not parts:
        out.append(separator)
    out.append(b"\r\n" + line + b"--\r\n")
    return out


def made_boundary(parts: list[list[Piece]]) -> str:
    """A line that stands in no part; the email package's form, for it is known to be safe."""
    width = len(repr(sys.maxsize - 1))
    stem = boundary = f"{'=' * 15}{random.randrange(sys.maxsize):0{width}d}=="  # noqa: S311
    counter = 0
    while any(_contains(piece, boundary) for pieces in parts for piece in pieces):
        boundary, counter = f"{stem}.{counter}", counter + 1
    return boundary


def _contains(piece: Piece, boundary: str) -> bool:
    return boundary.encode("ascii") in piece if isinstance(piece, bytes) else piece.holds(boundary)


def boundary_line(policy: Policy, name: str, content_type: str, boundary: str) -> bytes:
    """The field about the content of a multipart that had no boundary."""
    sample = _boundary_line(policy, name, content_type, _SAMPLE)
    written = _SAMPLE.encode("ascii")
    # In short lines it would be cut into pieces, and a longer one might fall into another line.
    if written in sample and len(boundary) == len(_SAMPLE):
        return sample.replace(written, boundary.encode("ascii"))
    return _boundary_line(policy, name, content_type, boundary)


@lru_cache(maxsize=64)
def _boundary_line(policy: Policy, name: str, content_type: str, boundary: str) -> bytes:
    part: Message[Any, Any] = Message(policy)
    part[name] = content_type
    part.set_boundary(boundary)
    return _lines(part.raw_items(), policy)


_SAMPLE = made_boundary([])  # all are as long, but for one that was not the first tried
