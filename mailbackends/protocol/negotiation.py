"""Negotiation of what a message needs with what the server offers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from typing import Any, TypeAlias

from mailbackends.errors import InvalidMessageError, Outcome, SMTPDataError, SMTPNotSupportedError
from mailbackends.mime import content as contents
from mailbackends.mime.content import Content
from mailbackends.mime.headers import field_that_needs_utf8
from mailbackends.mime.writer import WrittenMessage
from mailbackends.protocol.envelope import Envelope
from mailbackends.protocol.extensions import Extensions
from mailbackends.protocol.parameters import check_supported, keyword_of
from mailbackends.reply import Reply

__all__ = ["Prepared", "prepare", "size_refusal"]

MessageOrBytes: TypeAlias = "Message[Any, Any] | WrittenMessage | bytes"


@dataclass(slots=True)
class Prepared:
    """A message in the form for one server."""

    envelope: Envelope
    content: Content


def prepare(
    message: MessageOrBytes,
    envelope: Envelope,
    extensions: Extensions,
    *,
    is_tls: bool = False,
    fast: bool = True,
    sign: Callable[[Content], Content] | None = None,
) -> Prepared:
    """The message for a server with these extensions: SIZE, 8BITMIME and SMTPUTF8 as needed.

    SMTPUTF8 is used only if a local part requires it, since a later server on the way to the
    recipient may not support it. Parameters that the caller gives are not changed. ``sign``
    adds to the final content, whose bytes are then sent as they are.

    Raises:
        SMTPNotSupportedError: an address or a parameter needs what the server lacks.
        SMTPDataError: the content is larger than the server takes (code 552).
        InvalidMessageError, InvalidAddressError: it cannot be sent to any server.
    """
    offered = extensions.keywords
    asked: dict[str, str] = {}
    if envelope.mail_parameters or envelope.rcpt_parameters:
        asked = {keyword_of(p): p.partition("=")[2].upper() for p in envelope.mail_parameters}
        _check_parameters(envelope, extensions, is_tls=is_tls)
    utf8 = "SMTPUTF8" in asked or _needs_utf8(message, envelope, extensions)
    may_be_8bit = "8BITMIME" in offered and asked.get("BODY") != "7BIT"
    if isinstance(message, bytes):
        content = contents.from_bytes(message)
    elif isinstance(message, WrittenMessage):
        content = contents.from_written(message, utf8=utf8, allow_8bit=may_be_8bit, fast=fast)
    else:
        content = contents.from_message(message, utf8=utf8, allow_8bit=may_be_8bit, fast=fast)
    if content.is_8bit and asked.get("BODY") == "7BIT":
        raise InvalidMessageError(
            "BODY=7BIT is given, and the content is not ASCII: leave BODY out, it is set as needed"
        )
    if sign is not None:
        content = sign(content)
    if (refusal := size_refusal(content.size, extensions)) is not None:
        error = SMTPDataError(refusal.code, refusal.message)
        error.outcome = Outcome.REFUSED
        raise error
    parameters = envelope.mail_parameters
    if utf8 and "SMTPUTF8" not in asked:
        parameters = ("SMTPUTF8", *parameters)
    if content.is_8bit and may_be_8bit and "BODY" not in asked:
        parameters = ("BODY=8BITMIME", *parameters)
    if "SIZE" in offered and "SIZE" not in asked:
        parameters = (f"SIZE={content.size}", *parameters)
    paths = envelope.reverse_path, envelope.forward_paths
    return Prepared(Envelope(*paths, parameters, envelope.rcpt_parameters), content)


def _check_parameters(envelope: Envelope, extensions: Extensions, *, is_tls: bool) -> None:
    rcpt = envelope.rcpt_parameters
    check_supported((*envelope.mail_parameters, *rcpt), extensions, is_tls=is_tls)
    if len(envelope.forward_paths) > 1 and any(keyword_of(p) == "ORCPT" for p in rcpt):
        raise InvalidMessageError(
            "ORCPT names one original recipient, and the message has "
            f"{len(envelope.forward_paths)}: send it to each of them separately"
        )


def _needs_utf8(message: MessageOrBytes, envelope: Envelope, extensions: Extensions) -> bool:
    field = field_that_needs_utf8(message) if isinstance(message, Message) else None
    if field is None and not envelope.needs_smtputf8:
        return False
    if "SMTPUTF8" not in extensions:
        what = "One or more source or delivery addresses require"
        if field is not None:
            what = f"An address in the {field} field requires"
        raise _not_sent(
            SMTPNotSupportedError(
                f"{what} internationalized email support, but the server does not advertise "
                "the required SMTPUTF8 capability"
            )
        )
    return True


def size_refusal(size: int, extensions: Extensions) -> Reply | None:
    """The refusal of content of ``size`` bytes, if the server announces a lower limit.

    It is what the server would answer to MAIL (RFC 1870 section 6.1 item 1), without the
    round trip.
    """
    limit = extensions.max_size
    if limit is None or size <= limit:
        return None
    text = f"5.3.4 the content has {size} bytes, and the server takes at most {limit} (SIZE)"
    return Reply(552, (text.encode(),))


def _not_sent(error: SMTPNotSupportedError) -> SMTPNotSupportedError:
    error.outcome = Outcome.NOT_SENT
    return error
