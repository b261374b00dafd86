"""A message as it is stored, and as a worker sends it."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import format_datetime
from typing import Any

from mailbackends.errors import ConfigurationError, InvalidMessageError
from mailbackends.mailer.submission import Job, Submission
from mailbackends.mime import content as contents
from mailbackends.mime.address import to_ascii
from mailbackends.mime.content import Content
from mailbackends.mime.headers import field_that_needs_utf8
from mailbackends.mime.writer import WrittenMessage
from mailbackends.outbox.blobs import BlobStore, pieces_of
from mailbackends.outbox.ids import uuid7
from mailbackends.outbox.policy import RetryPolicy
from mailbackends.outbox.values import (
    BlobPart,
    OnUnknown,
    OutboxMessage,
    OutboxRecipient,
    Priority,
)
from mailbackends.protocol.delivery_options import delivery_options
from mailbackends.texts import one_line

__all__ = ["DATE_OR_ID", "INLINE_LIMIT", "outbox_message", "source_of", "submission_of"]

INLINE_LIMIT = 256 * 1024
"""Larger parts are stored in blobs, in bytes."""

DATE_OR_ID = re.compile(rb"(?im)^(?:date|message-id):[^\n]*\n(?:[ \t][^\n]*\n)*")
"""The fields that are made when a message is stored, and stay the same for all attempts."""

_HAS_DATE = re.compile(rb"(?im)^date:")
_MESSAGE_ID = re.compile(rb"(?im)^message-id:\s*([^\r\n]{1,900})")
_SUBJECT = re.compile(rb"(?im)^subject:[ \t]*([^\n]*(?:\n[ \t][^\n]*)*)")
_BOUNDARY = re.compile(rb'(?i)\bboundary="?([^";\s]+)')


def outbox_message(
    submission: Submission,
    *,
    blobs: BlobStore | None = None,
    alias: str = "default",
    key: str | None = None,
    at: datetime | timedelta | None = None,
    expires: datetime | timedelta | None = None,
    priority: Priority | int | str = Priority.NORMAL,
    on_unknown: OnUnknown | str = OnUnknown.HOLD,
    policy: RetryPolicy | None = None,
    inline_limit: int = INLINE_LIMIT,
) -> OutboxMessage:
    """The row for a message, to be inserted in the caller's transaction.

    ``at`` is the earliest time to send it, ``expires`` the latest: aware datetimes, or
    timedeltas from now. Without ``expires`` it is tried for the policy's ``lifetime``. Parts with
    more than ``inline_limit`` bytes go to ``blobs``; without a blob store they stay in the row.
    Date and Message-ID are added where they are missing: all attempts send the same ones.

    Raises:
        InvalidAddressError, InvalidMessageError: as `Mailer.send_message`.
        ConfigurationError: an argument is not usable.
    """
    job = Job(submission)
    utf8 = _needs_utf8(job)
    id = uuid7()
    content = _content(job.message, utf8=utf8)
    stored, parts = _stored(content, blobs, inline_limit)
    head = stored[: _end_of_header(stored)]
    # Not the row's id, by which a report settles it: recipients see this one.
    new_id = f"<{uuid7()}@{_domain(job.envelope.reverse_path)}>"
    added, message_id = _missing_fields(head, new_id)
    now = datetime.now(UTC)
    not_before = _moment("at", at, now)
    lifetime = timedelta(seconds=(policy or RetryPolicy()).lifetime)
    expires_at = _moment("expires", expires, now) or (not_before or now) + lifetime
    if expires_at <= (not_before or now):
        raise ConfigurationError(f"expires must be later than the time to send it, got {expires!r}")
    mail_parameters, rcpt_parameters = job.envelope.mail_parameters, job.envelope.rcpt_parameters
    if utf8 and not job.envelope.needs_smtputf8 and "SMTPUTF8" not in mail_parameters:
        mail_parameters = ("SMTPUTF8", *mail_parameters)
    return OutboxMessage(
        id=id,
        content=added + stored if added else stored,
        sender=job.envelope.reverse_path,
        recipients=tuple(map(OutboxRecipient, job.envelope.forward_paths)),
        blobs=tuple(replace(part, offset=part.offset + len(added)) for part in parts),
        alias=alias,
        key=_key(key),
        fingerprint=_fingerprint(job, stored, parts) if key is not None else "",
        priority=Priority.of(priority),
        on_unknown=OnUnknown.of(on_unknown),
        stream=submission.stream or "",
        not_before=not_before,
        expires_at=expires_at,
        mail_options=tuple(mail_parameters),
        rcpt_options=tuple(rcpt_parameters),
        message_id=message_id,
        subject=_subject(head),
        size=content.size + len(added),
    )


def submission_of(
    message: OutboxMessage,
    blobs: BlobStore | None = None,
    *,
    asks: bool = True,
    **fields: Any,
) -> Submission:
    """What a Mailer sends to the recipients who are left. Blobs are read while they are sent.

    ``asks`` asks for a delivery status notification where the message says so (`OnUnknown.ASK`).
    ``fields`` are further fields of the `Submission`.

    Raises:
        InvalidMessageError: a blob is missing or cannot be read.
    """
    _check_sendable(message)
    mail, rcpt = list(message.mail_options), list(message.rcpt_options)
    if asks and message.on_unknown is OnUnknown.ASK:
        options = delivery_options(
            notify=["success", "failure", "delay"], envelope_id=str(message.id)
        )
        mail += [each for each in options["mail_options"] if not _has(mail, each)]
        rcpt += [each for each in options["rcpt_options"] if not _has(rcpt, each)]
    content: bytes | WrittenMessage = message.content
    if message.blobs:
        content = WrittenMessage(
            pieces_of(message, blobs), message.message_id or None, _no_other_form, is_final=True
        )
    # Those who are suppressed are no longer pending: the Mailer need not ask again.
    asked: dict[str, Any] | None = None if message.suppressed is None else {}
    fields = {"stream": message.stream or None, "suppressed": asked, **fields}
    return Submission(content, message.sender, message.pending, mail, rcpt, **fields)


def whole_content(message: OutboxMessage, blobs: BlobStore | None = None) -> bytes:
    """The whole message, for what cannot read it while it is sent.

    Raises:
        InvalidMessageError: as `submission_of`.
    """
    _check_sendable(message)
    return b"".join(source_of(message, blobs))


def _check_sendable(message: OutboxMessage) -> None:
    if not message.pending:
        raise InvalidMessageError("no recipient is left: the message was sent to all of them")
    if not message.content and not message.blobs:
        raise InvalidMessageError("the content was erased: it cannot be sent again")


def source_of(message: OutboxMessage, blobs: BlobStore | None = None) -> Iterator[bytes]:
    """The whole message as it is sent, piece by piece: for people to look at.

    Raises:
        InvalidMessageError: a blob is missing or cannot be read.
    """
    for piece in pieces_of(message, blobs):
        if isinstance(piece, bytes):
            yield piece
        else:
            yield from piece.pieces()


# --- Storing ----------------------------------------------------------------------------------


def _needs_utf8(job: Job) -> bool:
    if "SMTPUTF8" in job.envelope.mail_parameters or job.envelope.needs_smtputf8:
        return True
    message = job.message
    return isinstance(message, Message) and field_that_needs_utf8(message) is not None


def _content(message: Message[Any, Any] | WrittenMessage | bytes, *, utf8: bool) -> Content:
    if isinstance(message, bytes):
        return contents.from_bytes(message)
    if isinstance(message, WrittenMessage):
        return contents.from_written(message, utf8=utf8, allow_8bit=utf8)
    return contents.from_message(message, utf8=utf8, allow_8bit=utf8)


def _stored(
    content: Content, blobs: BlobStore | None, limit: int
) -> tuple[bytes, tuple[BlobPart, ...]]:
    """The bytes for the row, and the parts that were stored elsewhere."""
    pieces = content.pieces
    if len(pieces) == 1 and isinstance(pieces[0], bytes) and len(pieces[0]) <= limit:
        return pieces[0], ()
    inline: list[bytes] = []
    parts: list[BlobPart] = []
    offset = 0

    def keep(data: bytes) -> None:
        nonlocal offset
        inline.append(data)
        offset += len(data)

    for piece in pieces:
        if blobs is None or (len(piece) if isinstance(piece, bytes) else piece.size) <= limit:
            for data in [piece] if isinstance(piece, bytes) else piece.pieces():
                keep(data)
            continue
        if isinstance(piece, bytes):
            # The header stays in the row, to be read there.
            start = 0 if inline else _end_of_header(piece)
            if start:
                keep(piece[:start])
            digest, size = blobs.put([memoryview(piece)[start:]])
            parts.append(BlobPart(offset, digest, size, "7bit"))
        else:
            digest, size = blobs.put(piece.source())
            parts.append(BlobPart(offset, digest, size, "base64" if piece.is_base64 else "7bit"))
    return b"".join(inline), tuple(parts)


def _end_of_header(content: bytes) -> int:
    end = content.find(b"\r\n\r\n")
    return end + 4 if end >= 0 else len(content)


def _missing_fields(head: bytes, new_id: str) -> tuple[bytes, str]:
    """The Date and Message-ID fields to add, and the Message-ID that the message then has."""
    found = _MESSAGE_ID.search(head)
    added = b""
    if found is None:
        message_id = new_id
        added = f"Message-ID: {new_id}\r\n".encode("ascii")
    else:
        message_id = found[1].decode("ascii", "replace").strip()
    if not _HAS_DATE.search(head):
        added = f"Date: {format_datetime(datetime.now(UTC))}\r\n".encode("ascii") + added
    return added, message_id


def _domain(reverse_path: str) -> str:
    return to_ascii(reverse_path).rpartition("@")[2] or "localhost"


def _subject(head: bytes) -> str:
    found = _SUBJECT.search(head)
    if found is None:
        return ""
    text = found[1].replace(b"\r", b"").replace(b"\n", b"").decode("utf-8", "replace")
    if "=?" in text:
        with contextlib.suppress(MessageError, LookupError, UnicodeError, ValueError):
            text = str(make_header(decode_header(text)))
    return one_line(text)[:255]


def _fingerprint(job: Job, stored: bytes, parts: tuple[BlobPart, ...]) -> str:
    """Equal for equal messages, whatever their Date, Message-ID and boundaries."""
    end = _end_of_header(stored)
    text = DATE_OR_ID.sub(b"", stored[:end]) + stored[end:]
    for number, boundary in enumerate(dict.fromkeys(_BOUNDARY.findall(text))):
        text = text.replace(boundary, b"boundary-%d" % number)
    digest = hashlib.sha256(job.envelope.reverse_path.encode())
    for address in sorted(job.envelope.forward_paths):
        digest.update(b"\0" + address.encode())
    digest.update(b"\0" + text)
    for part in parts:
        digest.update(part.digest.encode())
    return digest.hexdigest()


def _moment(name: str, value: datetime | timedelta | None, now: datetime) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, timedelta):
        return now + value
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ConfigurationError(
            f"{name} must be a datetime with a time zone or a timedelta, got {value!r}: use "
            "datetime(..., tzinfo=UTC) or timedelta(hours=1)"
        )
    return value.astimezone(UTC)


def _key(key: str | None) -> str | None:
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= 200):
        raise ConfigurationError(f"key must be a text of 1 to 200 characters, got {key!r}")
    return key


# --- Sending ----------------------------------------------------------------------------------


def _no_other_form() -> Message[Any, Any]:
    raise RuntimeError("a stored message has one form only")  # pragma: no cover


def _has(options: list[str], option: str) -> bool:
    name = option.partition("=")[0] + "="
    return any(each.upper().startswith(name) for each in options)
