"""A message to send, checked before anything is sent, and the receipt for one that was accepted."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from email.message import Message
from typing import Any, TypeAlias

from mailbackends.errors import ConfigurationError, InvalidMessageError, Outcome
from mailbackends.mailer.bulk import warn_of_bulk
from mailbackends.mailer.in_flight import InFlightTransaction
from mailbackends.message import Email
from mailbackends.mime.content import Content
from mailbackends.mime.email_internals import payload_of
from mailbackends.mime.headers import check_headers
from mailbackends.mime.plain import plain_message
from mailbackends.mime.serializer import StreamedPart
from mailbackends.mime.writer import WrittenMessage
from mailbackends.protocol import envelope
from mailbackends.protocol.delivery import Delivery
from mailbackends.protocol.envelope import Envelope
from mailbackends.protocol.extensions import Extensions
from mailbackends.protocol.gates import Gate
from mailbackends.protocol.negotiation import Prepared, prepare
from mailbackends.protocol.parameters import checked_parameters
from mailbackends.protocol.session import Session
from mailbackends.reply import Reply
from mailbackends.suppressed import Suppression
from mailbackends.suppression.entries import checked_scope
from mailbackends.texts import jsonable

__all__ = ["AfterPart", "BeforeEnd", "Job", "Receipt", "Submission", "job_or_none"]

logger: logging.Logger = logging.getLogger("mailbackends.mailer")

# With the line end before it: a search for a literal prefix is fast.
_MESSAGE_ID = re.compile(rb"(?i)\nmessage-id:[ \t]*(?:\r?\n[ \t]+)?(<[^>\r\n]{1,900}>)")
# Bytes whose preparation takes about a millisecond.
_LARGE = 256 * 1024
# The same for header fields, in characters: some hundred recipients.
_LONG_HEADER = 8 * 1024
_BYTES = (bytes, bytearray, memoryview)

Sign: TypeAlias = Callable[[Content], Content]


BeforeEnd: TypeAlias = "Callable[[list[Submission]], object]"
AfterPart: TypeAlias = "Callable[[Submission, Receipt], object]"


@dataclass(frozen=True, slots=True)
class Submission:
    """A message with its own envelope, for `Mailer.send_messages` and `stream_messages`.

    The fields are the arguments of `Mailer.send_message`, and ``reference``.
    """

    message: Message[Any, Any] | Email | WrittenMessage | bytes
    from_addr: str | None = None
    to_addrs: str | Iterable[str] | None = None
    mail_options: Iterable[str] = ()
    rcpt_options: Iterable[str] = ()
    before_end: BeforeEnd | None = field(default=None, kw_only=True)
    """Called with a list of submissions before the end of their contents may leave; see
    `Mailer.send_message`."""
    after_part: AfterPart | None = field(default=None, kw_only=True)
    """Called with the submission and a receipt for some of its recipients once a server has taken
    the message for them while others are left, for another transaction or server. It may return an
    awaitable. What it raises is logged."""
    reference: Any = field(default=None, kw_only=True)
    """The caller's own name for the message, such as the id of a row. It is not sent."""
    stream: str | None = field(default=None, kw_only=True)
    """The stream of mail that it belongs to, such as ``"newsletter"``. It is not sent."""
    suppressed: Mapping[str, Suppression] | None = field(default=None, kw_only=True)
    """Recipients who get no mail, for a caller that has asked the suppression list already; None
    to ask that of the Mailer."""


class Job:
    """A submission with its envelope, prepared for one server after the other.

    Raises:
        InvalidAddressError, InvalidMessageError: it can be sent to no server at all.
    """

    def __init__(self, submission: Submission) -> None:
        self.submission = submission
        message = submission.message
        from_addr, to_addrs = submission.from_addr, submission.to_addrs
        fields: Message[Any, Any] | None = None
        if isinstance(message, Email):
            from_addr = message.envelope_sender() if from_addr is None else from_addr
            to_addrs = message.recipients() if to_addrs is None else to_addrs
            message = message.written() or message.as_email_message()
        if isinstance(message, Message):
            plain = plain_message(message)
            if plain is not None:
                message = plain.written
                from_addr = plain.sender if from_addr is None else from_addr
                to_addrs = plain.recipients if to_addrs is None else to_addrs
            else:
                check_headers(message)
                fields = message
        elif isinstance(message, _BYTES):
            message = bytes(message)
            if from_addr is None or to_addrs is None:
                raise InvalidMessageError(
                    "a message given as bytes needs from_addr and to_addrs: its fields are not read"
                )
        elif not isinstance(message, WrittenMessage):
            raise InvalidMessageError(
                "a message must be a mailbackends.Email, an email.message.Message or bytes, "
                f"not {type(message).__name__}"
            )
        self.message = message
        self.envelope: Envelope = envelope.from_message(fields, from_addr, to_addrs)
        if submission.mail_options or submission.rcpt_options:
            self.envelope = replace(
                self.envelope,
                mail_parameters=checked_parameters("MAIL", submission.mail_options),
                rcpt_parameters=checked_parameters("RCPT", submission.rcpt_options),
            )
        self.stream: str | None = submission.stream
        if self.stream is not None:
            _check_stream(self.stream)
        self.bulk_stream: str | None = None
        """Its stream, unless that is exempt from suppression: then it is not bulk mail."""
        self.suppressed: Mapping[str, Suppression] | None = None
        """The recipients who were removed from the envelope; None while nobody has asked."""
        if submission.suppressed is not None:
            self.withhold(submission.suppressed)
        self._prepared: tuple[Extensions, bool, Sign | None, Prepared] | None = None
        hook = submission.before_end
        self.gate: Gate | None = Gate(hook, submission) if hook is not None else None
        """What has to happen before the end of its content may leave."""
        self.in_flight: InFlightTransaction | None = None
        """Its transaction, if it was started before the earlier ones were answered."""
        self.session: Session | None = None
        """The session over which it is being sent by itself."""
        self.answering: InFlightTransaction | None = None
        """Its transaction while the reply is awaited, if it was in flight with others."""
        self.was_sent = False
        """True once a server had all of it, and may have accepted it."""

    async def note_part(self, delivery: Delivery, left: Container[str]) -> None:
        """Call ``after_part`` for the recipients of a delivery who are not left."""
        if self.submission.after_part is None:
            return
        if delivery.reply is None or not delivery.accepted:
            return
        refused = {to: reply for to, reply in delivery.refused.items() if to not in left}
        receipt = Receipt(tuple(delivery.accepted), delivery.reply, refused, self.message_id)
        try:
            result = self.submission.after_part(self.submission, receipt)
            if inspect.isawaitable(result):
                await result
        except Exception:
            # The rest can still be sent, and its outcome names these recipients again.
            logger.exception("after_part failed")

    def withhold(self, suppressed: Mapping[str, Suppression]) -> None:
        """Remove these recipients from the envelope."""
        paths = self.envelope.forward_paths
        self.suppressed = {to: suppressed[to] for to in paths if to in suppressed}
        if self.suppressed:
            left = tuple(to for to in paths if to not in suppressed)
            self.envelope = replace(self.envelope, forward_paths=left)

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
        """True if preparing it takes so long that an event loop should not wait for it."""
        if isinstance(self.message, bytes):
            return len(self.message) > _LARGE
        if isinstance(self.message, Message):
            values = [value for _, value in self.message.raw_items() if isinstance(value, str)]
            if sum(map(len, values)) > _LONG_HEADER:
                return True
            size = 0
            for part in self.message.walk():
                if isinstance(part, StreamedPart):
                    return True  # a file, say: not even its size is known without reading
                payload = payload_of(part)  # get_payload() would look at each character
                size += len(payload) if isinstance(payload, str) else 0
            return size > _LARGE
        return False

    @property
    def may_be_delivered(self) -> bool:
        """True once a server may have all of it, for one recipient at least."""
        return (
            self.was_sent
            or (self.session is not None and self.session.awaits_content_reply)
            or (self.answering is not None and self.answering.was_sent)
        )

    @property
    def size(self) -> int | None:
        """The bytes of the content, once it was prepared; None before."""
        return self._prepared[3].content.size if self._prepared else None

    def prepare(
        self,
        extensions: Extensions,
        *,
        is_tls: bool = False,
        fast: bool = True,
        sign: Sign | None = None,
    ) -> Prepared:
        """The message as a server with these extensions takes it; prepared once for alike ones.

        Raises:
            SMTPNotSupportedError, SMTPDataError, InvalidMessageError: see `negotiation`.
            SigningError: ``sign`` failed.
        """
        if self._prepared is None or self._prepared[:3] != (extensions, is_tls, sign):
            prepared = prepare(
                self.message, self.envelope, extensions, is_tls=is_tls, fast=fast, sign=sign
            )
            self._prepared = extensions, is_tls, sign, prepared
            warn_of_bulk(prepared.content, self.bulk_stream)
        return self._prepared[3]


def _check_stream(stream: object) -> None:
    try:
        checked_scope(stream)
    except ConfigurationError as error:
        raise InvalidMessageError(str(error)) from None


def job_or_none(item: Submission | Job) -> Job | None:
    """None for one that cannot be sent: its outcome says so when its turn comes."""
    try:
        return item if isinstance(item, Job) else Job(item)
    except Exception:
        return None


@dataclass(frozen=True, slots=True)
class Receipt:
    """A server took responsibility for a message, for at least one recipient.

    ``refused`` maps other recipients to the reply that refused each: a receipt with any is a
    partial refusal. ``suppressed`` maps those who were left out to their entries in the
    suppression list.
    """

    accepted: tuple[str, ...]
    reply: Reply
    """The reply to the content. Most servers name their queue id in it."""
    refused: Mapping[str, Reply] = field(default_factory=dict)
    message_id: str | None = None
    """The message's own Message-ID field, to look for in logs."""
    duration: float = 0.0
    """Seconds from the call to the reply, the wait for a connection included."""
    suppressed: Mapping[str, Suppression] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        """`Outcome.ACCEPTED`. See `outcomes` for each recipient.

        `Outcome.NOT_SENT` if nobody has got the message, as on a staging system that allows
        none of its recipients.
        """
        return Outcome.ACCEPTED if self.accepted else Outcome.NOT_SENT

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """The outcome for each recipient."""
        return {
            **dict.fromkeys(self.accepted, Outcome.ACCEPTED),
            **dict.fromkeys(self.refused, Outcome.REFUSED),
            **dict.fromkeys(self.suppressed, Outcome.SUPPRESSED),
        }

    def as_dict(self) -> dict[str, Any]:
        """The receipt in JSON's types, to log it or to return it from a task.

        The keys are ``outcome``, ``accepted`` (a list of addresses), ``refused`` (addresses to
        replies), ``suppressed`` (addresses to entries), ``reply``, ``message_id`` and
        ``duration``; a reply is as `Reply.as_dict`.
        """
        return {
            "outcome": str(self.outcome),
            "accepted": list(self.accepted),
            "refused": jsonable(self.refused),
            "suppressed": jsonable(self.suppressed),
            "reply": self.reply.as_dict(),
            "message_id": self.message_id,
            "duration": self.duration,
        }

    # Celery's JSON serialiser asks for this one: a task may return the receipt itself.
    __json__ = as_dict

    def __str__(self) -> str:
        refused = "".join(f"; <{to}> refused: {reply}" for to, reply in self.refused.items())
        refused += "".join(f"; <{to}> suppressed: {entry}" for to, entry in self.suppressed.items())
        people = f"{len(self.accepted)} recipient{'s' if len(self.accepted) != 1 else ''}"
        identity = f"{self.message_id} " if self.message_id else ""
        if not self.accepted:
            return f"{identity}not sent: {self.reply}{refused}"
        return f"{identity}accepted for {people} in {self.duration:.3f} s: {self.reply}{refused}"
