"""A message to send: what the caller gave, checked before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from email.message import Message
from typing import Any

from mailbackends.errors import InvalidMessageError
from mailbackends.mailer.in_flight import InFlightTransaction
from mailbackends.mime.headers import check_headers
from mailbackends.mime.writer import WrittenMessage
from mailbackends.protocol import envelope
from mailbackends.protocol.envelope import Envelope
from mailbackends.protocol.extensions import Extensions
from mailbackends.protocol.negotiation import Prepared, prepare
from mailbackends.protocol.parameters import checked_parameters
from mailbackends.protocol.session import Session

__all__ = ["Job", "Submission"]

# With the line end before it: a search for a literal prefix is fast.
_MESSAGE_ID = re.compile(rb"(?i)\nmessage-id:[ \t]*(?:\r?\n[ \t]+)?(<[^>\r\n]{1,900}>)")
# Bytes whose preparation takes about a millisecond.
_LARGE = 256 * 1024
_BYTES = (bytes, bytearray, memoryview)


@dataclass(frozen=True, slots=True)
class Submission:
    """A message with its own envelope, for `Mailer.send_messages` and `stream_messages`.

    The fields are the arguments of `Mailer.send_message`.
    """

    message: Message[Any, Any] | WrittenMessage | bytes
    from_addr: str | None = None
    to_addrs: str | Iterable[str] | None = None
    mail_options: Iterable[str] = ()
    rcpt_options: Iterable[str] = ()


class Job:
    """A submission with its envelope, prepared for one server after the other.

    Raises:
        InvalidAddressError, InvalidMessageError: it can be sent to no server at all.
    """

    def __init__(self, submission: Submission) -> None:
        message = submission.message
        fields: Message[Any, Any] | None = None
        if isinstance(message, Message):
            check_headers(message)
            fields = message
        elif isinstance(message, _BYTES):
            message = bytes(message)
            if submission.from_addr is None or submission.to_addrs is None:
                raise InvalidMessageError(
                    "a message given as bytes needs from_addr and to_addrs: its fields are not read"
                )
        elif not isinstance(message, WrittenMessage):
            raise InvalidMessageError(
                f"a message must be an email.message.Message or bytes, not {type(message).__name__}"
            )
        self.message = message
        self.envelope: Envelope = envelope.from_message(
            fields, submission.from_addr, submission.to_addrs
        )
        if submission.mail_options or submission.rcpt_options:
            self.envelope = replace(
                self.envelope,
                mail_parameters=checked_parameters("MAIL", submission.mail_options),
                rcpt_parameters=checked_parameters("RCPT", submission.rcpt_options),
            )
        self._prepared: tuple[Extensions, bool, Prepared] | None = None
        self.in_flight: InFlightTransaction | None = None
        """Its transaction, where that was started before its turn came."""
        self.session: Session | None = None
        """The session over which it is being sent."""
        self.was_sent = False
        """True once a server had all of it, and may have accepted it."""

    @property
    def message_id(self) -> str | None:
        """The Message-ID field, or None."""
        if isinstance(self.message, Message):
            try:
                value = self.message["Message-ID"]
            except Exception:
                # The email package's parser fails on some texts. The message is sent all the
                # same, and this may be asked after it was delivered.
                return None
            return str(value).strip() if value is not None else None
        if isinstance(self.message, WrittenMessage):
            return self.message.message_id
        # Of the beginning only: to split the whole would copy it.
        end = self.message.find(b"\r\n\r\n", 0, 65536)
        found = _MESSAGE_ID.search(b"\n" + self.message[: end if end >= 0 else 65536])
        return found[1].decode("ascii", "backslashreplace") if found else None

    @property
    def is_large(self) -> bool:
        """True where preparing it takes so long that an event loop should not wait for it."""
        if isinstance(self.message, bytes):
            return len(self.message) > _LARGE
        if isinstance(self.message, Message):
            payloads = (part.get_payload() for part in self.message.walk())
            return sum(len(p) for p in payloads if isinstance(p, str)) > _LARGE
        return False

    @property
    def may_be_delivered(self) -> bool:
        """True once a server may have all of it, for one recipient at least."""
        return self.was_sent or (self.session is not None and self.session.awaits_content_reply)

    @property
    def size(self) -> int | None:
        """The bytes of the content, once it was prepared; None before."""
        return self._prepared[2].content.size if self._prepared else None

    def prepare(
        self, extensions: Extensions, *, is_tls: bool = False, fast: bool = True
    ) -> Prepared:
        """The message as a server with these extensions takes it; prepared once for alike ones.

        Raises:
            SMTPNotSupportedError, SMTPDataError, InvalidMessageError: see `negotiation`.
        """
        if self._prepared is None or self._prepared[:2] != (extensions, is_tls):
            prepared = prepare(self.message, self.envelope, extensions, is_tls=is_tls, fast=fast)
            self._prepared = extensions, is_tls, prepared
        return self._prepared[2]
