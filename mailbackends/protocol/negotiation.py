"""What a message needs and what the server offers: the form in which it will be sent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from email.message import Message
from typing import Any, TypeAlias

from mailbackends.errors import InvalidMessageError, Outcome, SMTPDataError, SMTPNotSupportedError
from mailbackends.protocol import content as contents
from mailbackends.protocol.content import Content
from mailbackends.protocol.envelope import Envelope
from mailbackends.protocol.extensions import Extensions

__all__ = ["Prepared", "check_parameters", "prepare"]

MessageOrBytes: TypeAlias = "Message[Any, Any] | bytes"

# RFC 5321 section 4.1.2: esmtp-param.
_PARAMETER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(?:=[!-<>-~]+)?")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A message in the form that one server takes."""

    envelope: Envelope
    content: Content


def check_parameters(parameters: Iterable[str]) -> tuple[str, ...]:
    """The parameters for MAIL or RCPT, each ``KEYWORD`` or ``KEYWORD=value``.

    Raises:
        InvalidMessageError: one of them would break the command line.
    """
    checked = tuple(parameters)
    for parameter in checked:
        if not _PARAMETER.fullmatch(parameter):
            raise InvalidMessageError(
                f"{parameter!r} is no parameter of MAIL or RCPT: write KEYWORD or KEYWORD=value, "
                "without spaces (RFC 5321 section 4.1.2)"
            )
    return checked


def prepare(
    message: MessageOrBytes, envelope: Envelope, extensions: Extensions, *, fast: bool = True
) -> Prepared:
    """The message for a server with these extensions: SIZE, 8BITMIME and SMTPUTF8 by need.

    SMTPUTF8 is asked for only where a local part leaves no other way: not every server
    on the way to the recipient may know it.

    Raises:
        SMTPNotSupportedError: an address needs SMTPUTF8 and the server lacks it.
        SMTPDataError: the content is larger than the server takes (code 552).
        InvalidMessageError, InvalidAddressError: it cannot be sent to any server.
    """
    if envelope.needs_smtputf8 and "SMTPUTF8" not in extensions:
        raise _not_sent(
            SMTPNotSupportedError(
                "One or more source or delivery addresses require internationalized email "
                "support, but the server does not advertise the required SMTPUTF8 capability"
            )
        )
    content = _content(message, envelope, extensions, fast=fast)
    if extensions.max_size is not None and content.size > extensions.max_size:
        error = SMTPDataError(
            552,
            f"5.3.4 {content.size} bytes of content, and the server announces that it takes "
            f"no more than {extensions.max_size}".encode(),
        )
        error.outcome = Outcome.REFUSED
        raise error
    return Prepared(_with_parameters(envelope, content, extensions), content)


def _content(
    message: MessageOrBytes, envelope: Envelope, extensions: Extensions, *, fast: bool
) -> Content:
    if isinstance(message, bytes):
        return contents.from_bytes(message)
    return contents.from_message(
        message,
        utf8=envelope.needs_smtputf8,
        allow_8bit="8BITMIME" in extensions,
        fast=fast,
    )


def _with_parameters(envelope: Envelope, content: Content, extensions: Extensions) -> Envelope:
    given = {parameter.partition("=")[0].upper() for parameter in envelope.mail_parameters}
    wanted = []
    if "SIZE" in extensions:
        wanted.append(f"SIZE={content.size}")
    if content.is_8bit and "8BITMIME" in extensions:
        wanted.append("BODY=8BITMIME")
    if envelope.needs_smtputf8:
        wanted.append("SMTPUTF8")
    added = [parameter for parameter in wanted if parameter.partition("=")[0] not in given]
    return replace(envelope, mail_parameters=(*added, *envelope.mail_parameters))


def _not_sent(error: SMTPNotSupportedError) -> SMTPNotSupportedError:
    error.outcome = Outcome.NOT_SENT
    return error
