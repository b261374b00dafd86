"""Plain messages written at once, without objects for them: text, alternatives, attachments.

The result is byte for byte what `email.message.EmailMessage` and its generator give by
``email.policy.SMTP``. Only what is plain is written here. Headers of parts, header fields that
need more than a glance and texts that need an encoding come from the email package itself, as
the installed version makes them. Everything else has to be built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from email.contentmanager import raw_data_manager
from email.message import Message, MIMEPart
from functools import lru_cache
from typing import Any, NamedTuple

from mailbackends.mime.fields import SMTP, address_field, date_or_identifier, text_field
from mailbackends.mime.folding import boundary_line, header_lines
from mailbackends.mime.pieces import Piece, base64_body, multipart_body, with_crlf
from mailbackends.mime.serializer import StreamedPart
from mailbackends.mime.words import LINE_LENGTH

__all__ = [
    "Part",
    "WrittenMessage",
    "binary_part",
    "multipart",
    "text_part",
    "written_message",
]

_ADDRESSES = frozenset({"From", "To", "Cc", "Reply-To"})
_ONCE = frozenset({"subject", "from", "to", "cc", "reply-to", "date", "message-id"})
_VERSION = b"MIME-Version: 1.0\r\n"


@dataclass(slots=True)
class WrittenMessage:
    """A message already written as it will be sent. `written_message` makes it.

    It has no Bcc field, header fields in ASCII, and its text as 8bit if the lines are short.
    """

    pieces: tuple[Piece, ...] = field(repr=False)
    message_id: str | None
    build: Callable[[], Message[Any, Any]] = field(repr=False)
    """Makes the message object, for a server that needs the message in another form."""
    is_final: bool = False
    """True for one that is sent as it is, to any server."""


def written_message(
    fields: Iterable[tuple[str, str | Sequence[str]]],
    text: str | None,
    build: Callable[[], Message[Any, Any]],
    *,
    subtype: str = "plain",
    alternatives: Iterable[tuple[str | bytes, str]] = (),
    related: Sequence[tuple[str, str, bytes, str]] = (),
    attachments: Iterable[tuple[str, str | bytes, str] | StreamedPart] = (),
) -> WrittenMessage | None:
    """The bytes that ``build()`` would give, without building; None if that is not certain.

    ``build`` makes an `email.message.EmailMessage` with ``email.policy.SMTP``: by
    ``set_content`` with the text (unless it is None), ``add_alternative`` with each pair of
    content and type, ``add_related`` to the last of these with each Content-ID, file name,
    content and type, inline; ``add_attachment`` with each file name, content and type, or
    ``attach`` with each part that is streamed; then the header fields, in their order. From,
    To, Cc and Reply-To are given as lists of mailboxes. It is called only if the server needs
    another form.
    """
    known = _header(fields)
    if known is None:
        return None
    header, message_id = known
    try:
        body = _body(text, subtype, alternatives, related, attachments)
    except _NotPlain:
        return None
    if body is None:
        return None
    return WrittenMessage((body.head + header + b"\r\n", *body.body), message_id, build)


def _header(fields: Iterable[tuple[str, str | Sequence[str]]]) -> tuple[bytes, str | None] | None:
    lines: list[bytes] = []
    seen: set[str] = set()
    message_id: str | None = None
    for name, value in fields:
        lowered = name.lower()
        if lowered in _ONCE:
            if lowered in seen:
                return None
            seen.add(lowered)
        if not isinstance(value, str):
            line = address_field(name, value) if name in _ADDRESSES else None
        elif name in ("Date", "Message-ID"):
            line = date_or_identifier(name, value)
            if name == "Message-ID":
                message_id = value
        else:
            line = text_field(name, value)
        if line is None:
            return None
        lines.append(line)
    return b"".join(lines), message_id


class _NotPlain(Exception):
    """A part that has to be built."""


class Part(NamedTuple):
    """One part: its header fields, each with its line end, and its body."""

    head: bytes
    body: list[Piece]

    @property
    def pieces(self) -> list[Piece]:
        """The whole part."""
        return [self.head + b"\r\n", *self.body]


def _body(
    text: str | None,
    subtype: str,
    alternatives: Iterable[tuple[str | bytes, str]],
    related: Sequence[tuple[str, str, bytes, str]],
    attachments: Iterable[tuple[str, str | bytes, str] | StreamedPart],
) -> Part | None:
    """The body with the fields about the content, which come first in the header."""
    further = [_part(content, kind, None) for content, kind in alternatives]
    files = [
        _streamed(file) if isinstance(file, StreamedPart) else _part(file[1], file[2], file[0])
        for file in attachments
    ]
    parts = [] if text is None else [_known(text_part(text, subtype, version=False))]
    # The email package adds MIME-Version with the first text, and leaves it at the top; each
    # further part is made as a message and has another.
    version = _VERSION if parts else b""
    if related:
        shown = further or parts
        shown[-1] = _with_related(shown[-1], related)
        if further:
            shown[-1] = Part(_VERSION + shown[-1].head, shown[-1].body)
    if not (further or files):
        if not parts:
            return None
        head = parts[0].head
        return Part(version + head if related else head + version, parts[0].body)
    if further:
        parts = [multipart("alternative", parts + further)]
    body = multipart("mixed", parts + files) if files else parts[0]
    return Part(version + body.head, body.body)


def _with_related(text: Part, related: Sequence[tuple[str, str, bytes, str]]) -> Part:
    text = Part(text.head.removesuffix(_VERSION), text.body)
    images: list[Part] = []
    for content_id, filename, data, kind in related:
        maintype, _, subtype = kind.partition("/")
        images.append(
            _known(
                binary_part(
                    data, maintype, subtype, version=True, filename=filename, content_id=content_id
                )
            )
        )
    return multipart("related", [text, *images])


def _streamed(part: StreamedPart) -> Part:
    return Part(header_lines(part.raw_items(), SMTP), [part.encoded()])


def _part(content: str | bytes, kind: str, filename: str | None) -> Part:
    maintype, _, subtype = kind.partition("/")
    if maintype == "text" and isinstance(content, str):
        return _known(text_part(content, subtype, version=True, filename=filename))
    if maintype == "text" or not isinstance(content, bytes):
        raise _NotPlain
    return _known(binary_part(content, maintype, subtype, version=True, filename=filename))


def _known(part: Part | None) -> Part:
    if part is None:
        raise _NotPlain
    return part


# --- Parts ----------------------------------------------------------------------------------


def multipart(subtype: str, children: Sequence[Part]) -> Part:
    """A multipart with these parts, and a boundary that occurs in none of them."""
    boundary, body = multipart_body([child.pieces for child in children])
    head = boundary_line(SMTP, "Content-Type", f"multipart/{subtype}", boundary)
    return Part(head, body)


def text_part(
    text: str, subtype: str, *, version: bool, filename: str | None = None
) -> Part | None:
    """A part with text in UTF-8, as 7bit or 8bit if its lines are short, else encoded.

    ``version`` adds MIME-Version to its header. None for text that UTF-8 cannot represent or
    that contains NUL, and for an invalid subtype.
    """
    if "\0" in text:
        return None
    try:
        lines = text.encode("utf-8").splitlines()
        head = _text_head(subtype, filename)
    except (UnicodeError, ValueError, TypeError):
        return None
    if len(max(lines, key=len, default=b"")) <= LINE_LENGTH:
        body = b"\r\n".join(lines) + b"\r\n"
        encoding = b"7bit" if body.isascii() else b"8bit"
    else:
        recorder = _Recorder()
        raw_data_manager.set_content(recorder, text, subtype=subtype, charset="utf-8")  # type: ignore[arg-type]
        body = with_crlf(recorder.payload.encode("ascii"))
        encoding = recorder.encoding.encode("ascii")
    before, after = head
    return Part(before + encoding + after + (_VERSION if version else b""), [body])


class _Recorder:
    """Takes the place of the message that a content manager fills, with only what that sets."""

    policy = SMTP
    payload = ""
    encoding = ""

    def __setitem__(self, name: str, value: str) -> None:
        if name == "Content-Transfer-Encoding":
            self.encoding = value

    def get_content_maintype(self) -> str:
        return "text"

    def clear_content(self) -> None:
        pass

    def set_payload(self, payload: str) -> None:
        self.payload = payload

    def set_param(self, *args: object, **options: object) -> None:
        pass


@lru_cache(maxsize=256)
def _text_head(subtype: str, filename: str | None) -> tuple[bytes, bytes]:
    """The header of such a part, before and after its encoding."""
    part = MIMEPart(policy=SMTP)
    part.set_content("", subtype=subtype, charset="utf-8", filename=filename)
    before, encoding, after = _part_header(part).partition(b"7bit")
    if not encoding or part.get_content_type() != f"text/{subtype}":
        raise ValueError("not as expected")
    return before, after


def binary_part(
    data: bytes,
    maintype: str,
    subtype: str,
    *,
    version: bool,
    filename: str | None = None,
    content_id: str | None = None,
) -> Part | None:
    """A part in base64: an attachment if it has a name, inline if it has a Content-ID.

    None for an invalid type or name.
    """
    try:
        head = _binary_head(maintype, subtype, filename, content_id is not None)
        if content_id is not None:
            head += header_lines([("Content-ID", f"<{content_id}>")], SMTP)
    except (UnicodeError, ValueError, TypeError):
        return None
    return Part(head + (_VERSION if version else b""), [base64_body(data)])


@lru_cache(maxsize=256)
def _binary_head(maintype: str, subtype: str, filename: str | None, is_inline: bool) -> bytes:
    part = MIMEPart(policy=SMTP)
    disposition = "inline" if is_inline else None
    part.set_content(
        b"", maintype=maintype, subtype=subtype, filename=filename, disposition=disposition
    )
    if part.get_content_type() != f"{maintype}/{subtype}" or maintype in ("multipart", "message"):
        raise ValueError("not as expected")
    return _part_header(part)


def _part_header(part: MIMEPart) -> bytes:
    values = part.values()
    if not all(str(value).isprintable() for value in values) or any(v.defects for v in values):
        raise ValueError("not as expected")
    return header_lines(part.raw_items(), SMTP)
