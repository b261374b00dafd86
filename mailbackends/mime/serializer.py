"""A message object to bytes, as the email package's generator writes it, but faster.

`serialized` handles messages made of the standard library's own classes. It leaves to the
generator: classes and policies with their own methods, parts that must be re-encoded, and
parts that are messages.
"""

from __future__ import annotations

import io
import re
from abc import ABC, abstractmethod
from email.generator import BytesGenerator
from email.message import Message
from email.policy import Compat32, EmailPolicy, Policy
from functools import lru_cache
from typing import Any, cast

from mailbackends.mime.email_internals import is_standard, message_with, payload_of
from mailbackends.mime.folding import (
    CheckedCompat32,
    CheckedPolicy,
    boundary_line,
    header_lines,
)
from mailbackends.mime.headers import Field
from mailbackends.mime.pieces import (
    LARGE_TEXT,
    UNENCODED,
    EncodedText,
    Piece,
    has_long_line,
    join_parts,
    new_boundary,
    with_crlf,
)
from mailbackends.mime.words import LONGEST_LINE

__all__ = ["StreamedPart", "is_streamed", "serialized"]

_POLICIES = (CheckedPolicy, CheckedCompat32, EmailPolicy, Compat32)

# What can be seen without asking the policy: types that have no parts, and a multipart that
# has no boundary yet.
_LEAF_TYPES = ("text/", "application/", "image/", "audio/", "video/")
_PLAIN_MULTIPART = re.compile("multipart/(?!signed$)[a-z]+")


class StreamedPart(Message, ABC):
    """A part whose body comes encoded, piece by piece, without being in memory as a whole.

    Its header states the encoding (Content-Transfer-Encoding). It is not a multipart.
    """

    @abstractmethod
    def encoded(self) -> Piece:
        """The body; bytes have CRLF as their line ends."""


def serialized(
    message: Message[Any, Any], policy: Policy, fields: list[Field] | None = None
) -> list[Piece] | None:
    """What ``BytesGenerator(mangle_from_=False, policy=policy)`` writes, in pieces.

    ``policy`` has CRLF as its line end. ``fields`` replace the message's own header fields.
    The message is not changed. None if the generator has to write the message.

    Raises:
        InvalidMessageError: a header field contains a line break, or its name is invalid.
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
    if is_streamed(own_class):
        body = cast(StreamedPart, message).encoded()
        if isinstance(body, bytes) and not body.isascii() and policy.cte_type != "8bit":
            return False
        out += [_header(fields, policy), body]
        return True
    if not is_standard(message):
        return False
    place, kind = _content_type(fields)
    if str.startswith(kind, _LEAF_TYPES):
        out.append(_header(fields, policy))
        return _text(message, fields, policy, out)
    if _PLAIN_MULTIPART.fullmatch(kind):
        parts = _parts(message, policy)
        if parts is None:
            return False
        boundary = new_boundary(parts)
        line = boundary_line(policy, fields[place][0], str(kind), boundary)
        before, after = fields[:place], fields[place + 1 :]
        out.append(header_lines(before, policy) + line + _header(after, policy))
        out += join_parts(parts, boundary)
        return True
    return _write_by_policy(message, fields, policy, out)


def _write_by_policy(
    message: Message[Any, Any], fields: list[Field], policy: Policy, out: list[Piece]
) -> bool:
    # As the generator does it: the policy of the output decides how the header is read and
    # how a new boundary is written into it. The message itself belongs to the caller.
    own = message_with(fields, policy)
    own.set_default_type(message.get_default_type())
    main = own.get_content_maintype()
    body: list[Piece] = []
    if main == "multipart" and own.get_content_subtype() != "signed":
        parts = _parts(message, policy)
        if parts is None:
            return False
        boundary = own.get_boundary()
        if not boundary:
            boundary = new_boundary(parts)
            own.set_boundary(boundary)
        elif not boundary.isascii() or not boundary.isprintable():
            return False
        body += join_parts(parts, boundary)
    elif main in ("multipart", "message") or not _text(message, fields, policy, body):
        return False
    # After the body, which may have set the boundary in the header.
    out.append(_header(list(own.raw_items()), policy))
    out += body
    return True


@lru_cache(maxsize=256)
def is_streamed(kind: type) -> bool:
    """True for a class of parts whose body may not be read as a whole."""
    return issubclass(kind, StreamedPart)


def _content_type(fields: list[Field]) -> tuple[int, str]:
    """The index of the Content-Type field and its text; ``""`` unless there is exactly one."""
    found = [
        (place, value)
        for place, (name, value) in enumerate(fields)
        if len(name) == len("Content-Type") and name.lower() == "content-type"
    ]
    if len(found) == 1 and isinstance(found[0][1], str):
        return found[0]
    return 0, ""


def _header(fields: list[Field], policy: Policy) -> bytes:
    return header_lines(fields, policy) + b"\r\n"


def _text(
    message: Message[Any, Any], fields: list[Field], policy: Policy, out: list[Piece]
) -> bool:
    payload = payload_of(message)
    if payload is None:
        return True
    if not isinstance(payload, str) or "\0" in payload:
        return False
    if len(payload) > LONGEST_LINE and _is_unencoded(fields) and has_long_line(payload):
        return False
    if not payload.isascii():
        # Surrogates represent raw bytes, sent as they are where 8 bits are allowed.
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
    if len(payload) > LARGE_TEXT:
        out.append(EncodedText(payload))
    else:
        out.append(payload.encode("ascii").replace(b"\n", b"\r\n"))
    return True


def _is_unencoded(fields: list[Field]) -> bool:
    encoding = next(
        (str(value) for name, value in fields if name.lower() == "content-transfer-encoding"), ""
    )
    return encoding.strip().lower() in UNENCODED


def _parts(message: Message[Any, Any], policy: Policy) -> list[list[Piece]] | None:
    parts = payload_of(message)
    if not isinstance(parts, list) or message.preamble is not None or message.epilogue is not None:
        return None
    written: list[list[Piece]] = []
    for part in parts:
        pieces: list[Piece] = []
        if not _write(part, list(part.raw_items()), policy, pieces):
            encoded = _encoded_for_7_bits(part, policy)
            if encoded is None:
                return None
            pieces = [encoded]
        written.append(pieces)
    return written


def _encoded_for_7_bits(part: Message[Any, Any], policy: Policy) -> bytes | None:
    """A text of 8 bits as the generator encodes it, so that the parts beside it can be streamed.

    None if the generator has to write the whole message.
    """
    if policy.cte_type == "8bit" or not is_standard(part):
        return None
    payload = payload_of(part)
    if not str.startswith(_content_type(list(part.raw_items()))[1], _LEAF_TYPES):
        return None
    if not isinstance(payload, str) or "\0" in payload or has_long_line(payload):
        return None
    buffer = io.BytesIO()
    try:
        BytesGenerator(buffer, mangle_from_=False, policy=policy).flatten(part)
    except (UnicodeError, LookupError, TypeError, ValueError, AttributeError):
        return None
    return with_crlf(buffer.getvalue()) if buffer.getvalue().isascii() else None
