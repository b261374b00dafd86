"""A message object to bytes, as the email package's generator writes it, but faster.

`serialized` knows messages as they are made by the standard library's own classes. What it
does not know, it leaves to the generator: a class or a policy with a method of its own, a
part that must be re-encoded, parts that are messages. `header_line` likewise leaves to the
policy each header field that needs folding or encoding.
"""

from __future__ import annotations

import email.message
import random
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from email import headerregistry
from email.message import Message
from email.policy import Compat32, EmailPolicy, Policy
from functools import lru_cache
from typing import Any, TypeAlias

__all__ = [
    "Encoded",
    "EncodedText",
    "Piece",
    "StreamedPart",
    "header_line",
    "made_boundary",
    "serialized",
]

# What the generator asks of a message. A class that answers one of these in its own way
# is left to the generator.
_ASKED = frozenset(
    {
        "__getitem__",
        "__delitem__",
        "get",
        "get_all",
        "get_boundary",
        "get_content_maintype",
        "get_content_subtype",
        "get_content_type",
        "get_param",
        "get_payload",
        "is_multipart",
        "items",
        "raw_items",
        "set_boundary",
        "walk",
    }
)
# The most special class first: what is checked is the nearest base of the standard library.
_STANDARD = (email.message.EmailMessage, email.message.MIMEPart, Message)
_POLICIES = (EmailPolicy, Compat32)

_TEXT_IS_SOURCE = (
    headerregistry.UnstructuredHeader,
    headerregistry.DateHeader,
    headerregistry.MIMEVersionHeader,
    headerregistry.ParameterizedMIMEHeader,
    headerregistry.ContentTransferEncodingHeader,
    headerregistry.MessageIDHeader,
)

# One space between words, none around them: nothing that folding could change.
_PLAIN_VALUE = re.compile(r"[!-~]+(?: [!-~]+)*")

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


def serialized(message: Message[Any, Any], policy: Policy) -> list[Piece] | None:
    """What ``BytesGenerator(mangle_from_=False, policy=policy)`` writes, in pieces.

    ``policy`` has CRLF for its line end. None where the generator has to do it.
    """
    if type(policy) not in _POLICIES or policy.linesep != "\r\n":
        return None
    out: list[Piece] = []
    return out if _write(message, policy, out) else None


def header_line(policy: Policy, name: str, value: Any) -> bytes:
    """One header field as the policy folds it, its line end included."""
    limit = policy.max_line_length or 0
    if value and isinstance(value, str) and len(name) + len(value) + 2 <= limit and value.isascii():
        if not hasattr(value, "name"):
            if _PLAIN_VALUE.fullmatch(value) and _leaves_alone(policy, value):
                return f"{name}: {value}\r\n".encode("ascii")
        elif isinstance(policy, EmailPolicy):
            # What a header object is folded from. For these it is its own text, and asking
            # the tree for it takes as long as all the rest.
            own = isinstance(value, _TEXT_IS_SOURCE)
            source = str(value) if own else str(getattr(value, "_parse_tree", ""))
            fits = 0 < len(source) <= limit - len(name) - 2
            if fits and source.isascii() and "\n" not in source and "\r" not in source:
                return f"{value.name}: {source}\r\n".encode("ascii")
    return policy.fold_binary(name, value)


def _leaves_alone(policy: Policy, value: str) -> bool:
    if isinstance(policy, EmailPolicy):
        return policy.refold_source != "all"
    return "=?" not in value


def _write(message: Message[Any, Any], policy: Policy, out: list[Piece]) -> bool:
    if isinstance(message, StreamedPart):
        lines = [header_line(policy, name, value) for name, value in message.raw_items()]
        out += [b"".join(lines) + b"\r\n", message.encoded()]
        return True
    kind: Any = type(message)
    if not _is_standard(kind) or not _ASKED.isdisjoint(vars(message)):
        return False
    # As the generator does it: what is read from the header, and the boundary that is
    # written into it, go by the policy of the output.
    own_policy = message.policy
    message.policy = policy
    try:
        return _write_by_policy(message, policy, out)
    finally:
        message.policy = own_policy


def _write_by_policy(message: Message[Any, Any], policy: Policy, out: list[Piece]) -> bool:
    main = message.get_content_maintype()
    body: list[Piece] = []
    if main == "multipart":
        if message.get_content_subtype() == "signed" or not _multipart(message, policy, body):
            return False
    elif main == "message" or not _text(message, policy, body):
        return False
    # Behind the body: making it may have set the boundary in the header.
    lines = [header_line(policy, name, value) for name, value in message.raw_items()]
    out.append(b"".join(lines) + b"\r\n")
    out += body
    return True


@lru_cache(maxsize=256)
def _is_standard(kind: type) -> bool:
    base = next((base for base in _STANDARD if issubclass(kind, base)), None)
    return base is not None and all(
        getattr(kind, name, None) is getattr(base, name, None) for name in _ASKED
    )


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
        out.append(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n"))
        return True
    if "\r" in payload:
        payload = payload.replace("\r\n", "\n").replace("\r", "\n")
    if len(payload) > _LARGE:
        out.append(EncodedText(payload))
    else:
        out.append(payload.encode("ascii").replace(b"\n", b"\r\n"))
    return True


def _multipart(message: Message[Any, Any], policy: Policy, out: list[Piece]) -> bool:
    parts: Any = message._payload  # type: ignore[attr-defined]
    if not isinstance(parts, list) or message.preamble is not None or message.epilogue is not None:
        return False
    written: list[list[Piece]] = []
    for part in parts:
        pieces: list[Piece] = []
        if not _write(part, policy, pieces):
            return False
        written.append(pieces)
    boundary = message.get_boundary()
    if not boundary:
        boundary = made_boundary(written)
        message.set_boundary(boundary)
    elif not boundary.isascii():
        return False
    line = b"--" + boundary.encode("ascii")
    separator = line + b"\r\n"
    for pieces in written:
        out.append(separator)
        out += pieces
        separator = b"\r\n" + line + b"\r\n"
    if not written:
        out.append(separator)
    out.append(b"\r\n" + line + b"--\r\n")
    return True


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
