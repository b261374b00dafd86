"""A message of any supported class, checked and with its envelope, ready to be sent."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from email.message import Message as Part
from email.parser import BytesHeaderParser
from email.utils import formatdate, make_msgid
from typing import Any, Protocol, cast

from flask_integration.addresses import (
    Address,
    bare_addresses,
    display,
    force_text,
    reverse_path,
    sanitize_address,
)
from flask_integration.errors import BadHeaderError, IncompleteMessageError
from flask_integration.headers import bad_header
from flask_integration.message import Message, from_flask_mail
from flask_integration.mime import written
from flask_integration.rendering import Rendering
from mailbackends import Email, InvalidMessageError, Submission
from mailbackends.integration import WrittenMessage
from mailbackends.suppression import Suppression

__all__ = ["Defaults", "Posting", "prepare", "unfolded"]

_FOLD = re.compile(r"(?:\r\n|\r|\n)([ \t])")
_NO_RECIPIENTS = "the message has no recipients: pass a list as recipients, cc or bcc"
_NO_SENDER = "the message has no sender: pass sender=, or set MAIL_DEFAULT_SENDER"


class Defaults(Protocol):
    """What a message takes from the configuration; a `MailState` has all of it."""

    @property
    def default_sender(self) -> Address | None:
        """The sender of messages that give none."""

    @property
    def mail_options(self) -> tuple[str, ...]:
        """The parameters of MAIL for messages that give none."""

    @property
    def rendering(self) -> Rendering:
        """How to write the message."""

    @property
    def is_fast(self) -> bool:
        """Whether the backend takes a `mailbackends.integration.WrittenMessage`."""

    def add_unsubscribe(self, message: Any, recipients: tuple[str, ...]) -> None:
        """Give the message its link for unsubscribing."""

    def bounce_sender(self, recipients: tuple[str, ...]) -> str | None:
        """The envelope sender that names the one recipient; None if there is none."""


@dataclass(frozen=True, slots=True)
class Posting:
    """One message with its envelope. ``original`` is what the application passed to `send`.

    The addresses have no display names, are unique, and are in the application's order.
    The sender is the empty string for the null reverse-path (RFC 5321 section 4.5.5). Only
    `SmtpBackend` itself, and no subclass of it, gets a plain message as a
    `mailbackends.integration.WrittenMessage`.
    """

    original: Any
    message: Part | WrittenMessage | bytes
    from_addr: str
    to_addrs: tuple[str, ...]
    mail_options: tuple[str, ...] = ()
    rcpt_options: tuple[str, ...] = ()
    message_id: str | None = None
    stream: str | None = None
    """The stream of mail, such as ``"newsletter"``."""
    suppressed: Mapping[str, Suppression] | None = None
    """The recipients who get no mail; None if the suppression list was not asked yet."""

    def submission(self) -> Submission:
        """Return it as the core's Mailers and outbox take it."""
        return Submission(
            *(self.message, self.from_addr, self.to_addrs, self.mail_options, self.rcpt_options),
            stream=self.stream,
            suppressed=self.suppressed,
        )

    def as_bytes(self) -> bytes:
        """Return the message as it is sent to a server that needs no conversion."""
        message = self.message
        if isinstance(message, WrittenMessage):
            message = message.build()
        return message if isinstance(message, bytes) else message.as_bytes()


def prepare(message: Any, defaults: Defaults, envelope_from: Address | None = None) -> Posting:
    """Check ``message`` and write its content. Nothing is sent yet.

    A missing sender and a missing date are filled in on ``message`` itself.

    Args:
        message: a `Message`, Flask-Mail's, a `mailbackends.Email`, an
            `email.message.Message`, a `mailbackends.Submission`, or an object with ``message()``,
            ``recipients()`` and ``from_email``, as Django's messages have.
        defaults: the default sender, and how to write messages.
        envelope_from: where bounces go, if not to the sender; ``"<>"`` for nowhere.

    Raises:
        BadHeaderError: a header or an address contains a line break.
        IncompleteMessageError: there is no recipient or no sender.
        InvalidAddressError, InvalidMessageError: an address or a part cannot be used.
        TypeError: ``message`` is none of the above.
    """
    if isinstance(message, Part):
        return _standard(message, defaults, envelope_from)
    if isinstance(message, Email):
        return _email(Submission(message), message, defaults, envelope_from)
    if isinstance(message, Submission):
        if isinstance(message.message, Email):
            return _email(message, message.message, defaults, envelope_from)
        return _submission(message, defaults, envelope_from)
    if hasattr(type(message), "send_to") and hasattr(message, "as_bytes"):
        return _flask(message, defaults, envelope_from)
    if callable(getattr(message, "message", None)) and callable(
        getattr(message, "recipients", None)
    ):
        return _django(message, defaults, envelope_from)
    if isinstance(message, bytes | bytearray | memoryview):
        raise TypeError(
            "a finished message in bytes needs an envelope: pass "
            "mailbackends.Submission(content, from_addr, to_addrs)"
        )
    raise TypeError(
        f"cannot send an object of type {type(message).__name__}: pass a "
        "flask_integration.Message, a mailbackends.Email, an email.message.EmailMessage or a "
        "Django message"
    )


def _flask(message: Any, defaults: Defaults, envelope_from: Address | None) -> Posting:
    for field in ("recipients", "cc", "bcc"):
        if isinstance(value := getattr(message, field, None), str):
            raise InvalidMessageError(
                f"{field} must be a list, got the string {value!r}: write [{value!r}]"
            )
    if problem := bad_header(message):
        raise BadHeaderError(problem)
    everybody = [*(message.recipients or ()), *(message.cc or ()), *(message.bcc or ())]
    recipients = _forward_paths(everybody)
    if getattr(message, "unsubscribe", None):
        defaults.add_unsubscribe(message, recipients)
    replies_to = getattr(message, "reply_to", None) or []
    bare_addresses(replies_to if isinstance(replies_to, list) else [replies_to], "reply_to")
    by_default = getattr(message, "_default_sender", None)
    if not message.sender or (by_default and message.sender == by_default):
        message.sender = _default_sender(defaults) or message.sender
    if not message.sender:
        raise IncompleteMessageError(_NO_SENDER)
    if message.date is None:
        message.date = time.time()
    elif not isinstance(message.date, int | float | datetime):
        raise InvalidMessageError(
            f"date must be a datetime or seconds since the epoch, got {message.date!r}"
        )
    try:
        content, message_id = _content(message, defaults)
    except UnicodeError as error:
        raise InvalidMessageError(
            f"the message contains text that cannot be encoded: {error}; a lone surrogate "
            "comes from bytes decoded with errors='surrogateescape': decode them as UTF-8"
        ) from error
    return Posting(
        message,
        content,
        reverse_path(envelope_from or defaults.bounce_sender(recipients), message.sender),
        recipients,
        tuple(map(force_text, message.mail_options or defaults.mail_options)),
        tuple(map(force_text, message.rcpt_options or ())),
        message_id,
        getattr(message, "stream", None) or getattr(message, "unsubscribe", None),
    )


def _content(message: Any, defaults: Defaults) -> tuple[Part | WrittenMessage | bytes, str]:
    if type(message).__module__.partition(".")[0] == "flask_mail":
        # Its own bytes list the recipients in an order that changes from run to run.
        message = from_flask_mail(message)
    if isinstance(message, Message) and type(message).as_bytes is Message.as_bytes:
        is_ours = type(message).as_email is Message.as_email and "as_email" not in vars(message)
        ready = written(message, defaults.rendering) if is_ours and defaults.is_fast else None
        return ready or message.as_email(defaults.rendering), message.msgId
    # A subclass that writes its own bytes, to sign or to encrypt.
    return message.as_bytes(), message.msgId


def _email(
    given: Submission, message: Email, defaults: Defaults, envelope_from: Address | None
) -> Posting:
    """An `Email`, whose content was checked when it was made."""
    sender = given.from_addr if envelope_from is None else envelope_from
    sender = message.envelope_sender() if sender is None else sender
    recipients = [given.to_addrs] if isinstance(given.to_addrs, str) else given.to_addrs
    return Posting(
        message,
        (message.written() if defaults.is_fast else None) or message.as_email_message(),
        reverse_path(sender or "<>", ""),
        _forward_paths(message.recipients() if recipients is None else recipients),
        tuple(given.mail_options),
        tuple(given.rcpt_options),
        message_id=message.message_id,
        stream=given.stream,
        suppressed=given.suppressed,
    )


def _submission(given: Submission, defaults: Defaults, envelope_from: Address | None) -> Posting:
    """Finished bytes, which are sent as they are; or a message whose envelope is given, too."""
    sender = given.from_addr if envelope_from is None else envelope_from
    if sender == "":
        sender = "<>"
    recipients = [given.to_addrs] if isinstance(given.to_addrs, str) else given.to_addrs
    content = given.message
    if isinstance(content, Part):
        posting = _standard(content, defaults, sender, recipients)
    else:
        if recipients is None:
            raise IncompleteMessageError(
                "the message has no recipients: pass to_addrs to Submission"
            )
        sender = sender or _default_sender(defaults)
        if sender is None:
            raise IncompleteMessageError(_NO_SENDER)
        if not isinstance(content, WrittenMessage):
            content = bytes(cast(bytes, content))
        posting = Posting(
            given,
            content,
            reverse_path(sender, ""),
            _forward_paths(recipients),
            message_id=_message_id(content),
        )
    return replace(
        posting,
        original=given,
        mail_options=tuple(given.mail_options) or defaults.mail_options,
        rcpt_options=tuple(given.rcpt_options),
        stream=given.stream,
        suppressed=given.suppressed,
    )


def _message_id(content: WrittenMessage | bytes) -> str | None:
    if isinstance(content, WrittenMessage):
        return content.message_id
    header = re.split(rb"\r?\n\r?\n", content, maxsplit=1)[0]
    found = BytesHeaderParser().parsebytes(header)["Message-ID"]
    return None if found is None else str(found)


def _standard(
    message: Part,
    defaults: Defaults,
    envelope_from: Address | None,
    to_addrs: Iterable[Address] | None = None,
) -> Posting:
    # RFC 5322 section 3.6.6: if the message was resent, the Resent- fields are the envelope.
    prefix = "Resent-" if message["Resent-Date"] is not None else ""
    fields = [f"{prefix}{name}" for name in ("To", "Cc", "Bcc")]
    values = [unfolded(value) for name in fields for value in message.get_all(name) or []]
    recipients = _forward_paths(
        [value for value in values if value.strip()] if to_addrs is None else to_addrs
    )
    default = _default_sender(defaults)
    if message["From"] is None and default:
        message["From"] = sanitize_address(default)
    sender = message[f"{prefix}Sender"] or message[f"{prefix}From"]
    if not sender:
        raise IncompleteMessageError(_NO_SENDER)
    from_addr = reverse_path(envelope_from, unfolded(sender))
    if message["Date"] is None:
        message["Date"] = formatdate(localtime=defaults.rendering.local_time)
    if message["Message-ID"] is None:
        message["Message-ID"] = make_msgid(domain=from_addr.rpartition("@")[2] or "localhost")
    return Posting(
        message,
        message,
        from_addr,
        recipients,
        defaults.mail_options,
        message_id=str(message["Message-ID"]),
    )


def unfolded(value: Any) -> str:
    """A field on one line: the legacy policy has it as it was parsed (RFC 5322 section 2.2.3)."""
    return _FOLD.sub(r"\1", str(value))


def _django(message: Any, defaults: Defaults, envelope_from: Address | None) -> Posting:
    recipients = _forward_paths(message.recipients())
    content: Part = message.message()
    sender = getattr(message, "from_email", None) or content["From"] or _default_sender(defaults)
    if not sender:
        raise IncompleteMessageError(_NO_SENDER)
    if content["From"] is None:
        content["From"] = sanitize_address(str(sender))
    message_id = content["Message-ID"]
    return Posting(
        message,
        content,
        reverse_path(envelope_from, unfolded(sender)),
        recipients,
        defaults.mail_options,
        message_id=None if message_id is None else str(message_id),
    )


def _default_sender(defaults: Defaults) -> str | None:
    return display(defaults.default_sender) if defaults.default_sender else None


def _forward_paths(recipients: Iterable[Address]) -> tuple[str, ...]:
    found = tuple(bare_addresses(recipients, "recipient"))
    if not found:
        raise IncompleteMessageError(_NO_RECIPIENTS)
    return found
