"""A message object to bytes, as the email package's generator writes it, but faster.

`serialized` knows messages as they are made by the standard library's own classes. What it
does not know, it leaves to the generator: a class or a policy with a method of its own, a
part that must be re-encoded, parts that are messages. `header_line` likewise leaves to the
policy each header field that needs folding or encoding.
"""

from __future__ import annotations

import random
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from email import headerregistry
from email.message import Message
from email.policy import Compat32, EmailPolicy, Policy
from functools import lru_cache
from typing import Any, TypeAlias, cast

from mailbackends.protocol.headers import check_field, is_field_name
from mailbackends.protocol.standard import header_class, is_standard, tree_text

__all__ = [
    "Encoded",
    "EncodedText",
    "Piece",
    "StreamedPart",
    "header_line",
    "made_boundary",
    "serialized",
]

_POLICIES = (EmailPolicy, Compat32)

# Header objects of these are folded from their own text; others from the tree that it was
# parsed into, which is long to ask.
_TEXT_IS_SOURCE = frozenset(
    {
        headerregistry.UnstructuredHeader,
        headerregistry.UniqueUnstructuredHeader,
        headerregistry.MIMEVersionHeader,
        headerregistry.ContentTypeHeader,
        headerregistry.ContentDispositionHeader,
        headerregistry.ContentTransferEncodingHeader,
        headerregistry.MessageIDHeader,
    }
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


def serialized(
    message: Message[Any, Any], policy: Policy, fields: list[tuple[str, Any]] | None = None
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


def header_line(policy: Policy, name: str, value: Any) -> bytes:
    """One header field as the policy folds it, its line end included.

    Raises:
        InvalidMessageError: it holds a line break, or has no proper name.
    """
    text, written = "", name
    kind = header_class(value)
    if kind is not None:
        if isinstance(policy, EmailPolicy):
            text = value if kind in _TEXT_IS_SOURCE else tree_text(value._parse_tree)
            written = value._name
    elif isinstance(value, str) and not hasattr(value, "name"):
        text = value if _PLAIN_VALUE.fullmatch(value) and _leaves_alone(policy, value) else ""
    if (
        text
        and len(written) + len(text) + 2 <= (policy.max_line_length or 0)
        and str.isascii(text)
        and str.isprintable(text)
        and is_field_name(written)
    ):
        return "".join((written, ": ", text, "\r\n")).encode("ascii")
    check_field(name, value)
    return policy.fold_binary(name, value)


def _leaves_alone(policy: Policy, value: str) -> bool:
    if isinstance(policy, EmailPolicy):
        return policy.refold_source != "all"
    return "=?" not in value


def _write(
    message: Message[Any, Any], fields: list[tuple[str, Any]], policy: Policy, out: list[Piece]
) -> bool:
    kind: Any = type(message)
    if _is_streamed(kind):
        out += [_header(fields, policy), cast(StreamedPart, message).encoded()]
        return True
    if not is_standard(message):
        return False
    if _is_leaf(fields):
        out.append(_header(fields, policy))
        return _text(message, policy, out)
    # As the generator does it: what is read from the header, and the boundary that is
    # written into it, go by the policy of the output. The message belongs to the caller.
    own: Any = Message(policy)
    own._headers = list(fields)
    own.set_default_type(message.get_default_type())
    main = own.get_content_maintype()
    body: list[Piece] = []
    if main == "multipart":
        is_signed = own.get_content_subtype() == "signed"
        if is_signed or not _multipart(message, own, policy, body):
            return False
    elif main == "message" or not _text(message, policy, body):
        return False
    # Behind the body: making it may have set the boundary in the header.
    out.append(_header(own.raw_items(), policy))
    out += body
    return True


@lru_cache(maxsize=256)
def _is_streamed(kind: type) -> bool:
    return issubclass(kind, StreamedPart)


def _is_leaf(fields: list[tuple[str, Any]]) -> bool:
    """True where a look shows a type that has no parts, under each policy."""
    for name, value in fields:
        if len(name) == len("Content-Type") and name.lower() == "content-type":
            return isinstance(value, str) and str.startswith(value, _LEAF_TYPES)
    return False


_LEAF_TYPES = ("text/", "application/", "image/", "audio/", "video/")


def _header(fields: Iterable[tuple[str, Any]], policy: Policy) -> bytes:
    return b"".join([header_line(policy, name, value) for name, value in fields]) + b"\r\n"


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


def _multipart(
    message: Message[Any, Any], own: Message[Any, Any], policy: Policy, out: list[Piece]
) -> bool:
    parts: Any = message._payload  # type: ignore[attr-defined]
    if not isinstance(parts, list) or message.preamble is not None or message.epilogue is not None:
        return False
    written: list[list[Piece]] = []
    for part in parts:
        pieces: list[Piece] = []
        if not _write(part, list(part.raw_items()), policy, pieces):
            return False
        written.append(pieces)
    boundary = own.get_boundary()
    if not boundary:
        boundary = made_boundary(written)
        own.set_boundary(boundary)
    elif not boundary.isascii() or not boundary.isprintable():
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
