"""A plain `Message` as bytes, without the email package's objects, but with the same result."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from email.message import Message as Part
from email.policy import Policy
from functools import lru_cache, partial
from typing import Any, TypeAlias

from flask_integration.attachment import Attachment, is_utf8_text, to_part
from flask_integration.headers import LINE_LENGTH
from flask_integration.mime import (
    FOLDED,
    PLAIN,
    Content,
    are_plain,
    body_encoding,
    build,
    composed,
    extra_fields,
    own_fields,
    text_part,
)
from flask_integration.rendering import Rendering
from mailbackends.integration import WrittenMessage, base64_body, multipart_body

__all__ = ["written"]

Fields: TypeAlias = tuple[tuple[str, str], ...]

# A value that no policy changes: single spaces between words, and no encoded word.
_UNCHANGED = re.compile(r"(?!.*=\?)[!-~]+(?: [!-~]+)*")
_FOLDED = re.compile(r"[ -~]*(?:\r\n [ -~]*)*")
# Bcc is not sent.
_NOT_WRITTEN = frozenset({"bcc", "resent-bcc"})


class _Unknown(Exception):
    """The message has to be built with the email package."""


class _Node:
    """A part: its header fields, and its body or its own parts."""

    __slots__ = ("body", "fields", "parts")

    def __init__(self, fields: Fields, body: Any = b"", parts: Sequence[_Node] = ()) -> None:
        self.fields = fields
        self.body = body
        self.parts = parts


def written(message: Content, rendering: Rendering) -> WrittenMessage | None:
    """Return the bytes of ``mime.build(message, rendering)``; None if it has to be called."""
    if (message.charset or rendering.charset).lower() != "utf-8":
        return None
    try:
        root = composed(message, rendering, _Nodes(rendering.ascii_filenames))
        header = [*own_fields(message, rendering), *extra_fields(message, rendering)]
        names = [name.lower() for name, _ in (*root.fields, *header)]
        if len(names) != len(set(names)) or not _NOT_WRITTEN.isdisjoint(names):
            return None
        policy = PLAIN if are_plain((*header, *_all_fields(root))) else FOLDED
        pieces = _pieces(root, policy, _lines(header, policy))
    except Exception:  # `build` will report what is wrong
        return None
    return WrittenMessage(tuple(pieces), message.msgId, partial(build, message, rendering))


class _Nodes:
    def __init__(self, ascii_filenames: bool) -> None:
        self.ascii_filenames = ascii_filenames

    def text(self, text: str, subtype: str) -> _Node:
        data = text.encode()
        fields = _text_fields(subtype, data.isascii())
        if body_encoding(data):
            part = text_part(text, subtype, "utf-8")
            fields, data = _fields_of(part), str(part.get_payload()).encode("ascii")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return _Node(fields, data.replace(b"\n", b"\r\n"))

    def file(self, file: Any) -> _Node:
        if not isinstance(file, Attachment):
            raise _Unknown
        data = file.data
        described = file.filename, file.content_type, file.disposition, (*file.headers.items(),)
        is_utf8 = is_utf8_text(file.content_type, data)
        fields = _file_fields(is_utf8, self.ascii_filenames, *described)
        return _Node(fields, base64_body(data.encode() if isinstance(data, str) else data))

    def multipart(self, subtype: str, parts: list[_Node]) -> _Node:
        return _Node(
            (("Content-Type", f"multipart/{subtype}"), ("MIME-Version", "1.0")), parts=parts
        )


# The header fields of a part are those that the email package writes.


@lru_cache(maxsize=64)
def _text_fields(subtype: str, is_ascii: bool) -> Fields:
    return _fields_of(text_part("" if is_ascii else "\u00e9", subtype, "utf-8"))


@lru_cache(maxsize=64)
def _file_fields(
    is_utf8: bool,
    ascii_filename: bool,
    filename: str | None,
    content_type: str,
    disposition: str,
    headers: Fields,
) -> Fields:
    data = "" if is_utf8 else b"\xff"  # only the fields matter
    sample = Attachment(filename, content_type, data, disposition, dict(headers))
    return _fields_of(to_part(sample, ascii_filename=ascii_filename))


def _fields_of(part: Part) -> Fields:
    # A message in a message is not encoded (RFC 2046 section 5.2.1), nor is what has parts.
    if part.is_multipart() or part.get_content_maintype() in ("message", "multipart"):
        raise _Unknown
    return tuple(part.raw_items())


def _all_fields(node: _Node) -> list[tuple[str, str]]:
    return [*node.fields, *(field for part in node.parts for field in _all_fields(part))]


def _pieces(node: _Node, policy: Policy, header: bytes = b"") -> list[Any]:
    if not node.parts:
        return [_head(node.fields, policy) + header + b"\r\n", node.body]
    boundary, body = multipart_body([_pieces(part, policy) for part in node.parts])
    sample = "0" * len(boundary)
    head = _multipart_head(node.fields, policy, sample).replace(sample.encode(), boundary.encode())
    return [head + header + b"\r\n", *body]


@lru_cache(maxsize=64)
def _multipart_head(fields: Fields, policy: Policy, boundary: str) -> bytes:
    part = Part(policy)
    for name, value in fields:
        part[name] = value
    part.set_boundary(boundary)
    return _lines(part.raw_items(), policy)


@lru_cache(maxsize=64)
def _head(fields: Fields, policy: Policy) -> bytes:
    return _lines(fields, policy)


def _lines(fields: Iterable[tuple[str, Any]], policy: Policy) -> bytes:
    lines: list[bytes] = []
    for name, value in fields:
        if len(name) + len(value) + 2 <= LINE_LENGTH and _UNCHANGED.fullmatch(value):
            lines.append(f"{name}: {value}\r\n".encode("ascii"))
        elif _FOLDED.fullmatch(value):
            lines.append(policy.fold_binary(name, value))
        else:
            raise _Unknown
    return b"".join(lines)
