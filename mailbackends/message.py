"""`Email`: a message described by values, for applications without a framework and with one."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import FrozenInstanceError, dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import NoReturn

from mailbackends.errors import InvalidMessageError
from mailbackends.mime.address import to_ascii
from mailbackends.mime.attachment import FileAttachment
from mailbackends.mime.content import from_written
from mailbackends.mime.layout import MODERN
from mailbackends.mime.parts import FilePart, Part, TextPart, composed, with_images
from mailbackends.mime.values import (
    Address,
    Addresses,
    File,
    date_of,
    each_address,
    file_of,
    header_fields,
    inline_image,
    mailbox_of,
    one_line,
    text_or_none,
)
from mailbackends.mime.writer import WrittenMessage, written_message
from mailbackends.texts import did_you_mean

__all__ = ["Email"]

_MESSAGE_ID = re.compile(r"<[^\s<>@]{1,400}@[^\s<>@]{1,400}>")


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Email:
    """A message: immutable, and checked when it is made.

    ``Mailer``, ``AsyncMailer``, the backends of both frameworks and previews take it like any
    other message. Its Message-ID and Date are fixed when it is made, so that the same object
    sent again is the same message. ``dataclasses.replace`` makes a changed copy.

    Args:
        subject: text in one line.
        sender: the From field, and the envelope's sender: ``"ada@example.com"``,
            ``"Ada <ada@example.com>"`` or ``("Ada", "ada@example.com")``. A name in a pair can
            be any text; it cannot become an address.
        to: one address, or several. Recipients are those of ``to``, ``cc`` and ``bcc``.
        cc: as ``to``.
        bcc: as ``to``; only in the envelope.
        reply_to: as ``to``.
        text: the plain text.
        html: the HTML. With ``text`` it is the preferred alternative.
        attachments: paths, whose files are read while the message is sent; or pairs of a file
            name and its content, or triples with the MIME type.
        inline: images for the HTML by Content-ID: ``{"logo": "logo.png"}`` is shown by
            ``<img src="cid:logo">``. They are read when the message is made.
        headers: further header fields.
        date: with a time zone; by default now.
        message_id: by default a new one with the sender's domain.

    Raises:
        InvalidAddressError: an address cannot be used; the text has the value.
        InvalidMessageError: anything else cannot be sent as it is, or a file cannot be read.
    """

    subject: str
    sender: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    reply_to: tuple[str, ...]
    text: str | None
    html: str | None
    attachments: tuple[tuple[str, bytes | str, str] | FileAttachment, ...]
    inline: Mapping[str, tuple[str, bytes, str]]
    headers: Mapping[str, str]
    date: datetime
    message_id: str
    _paths: tuple[str, ...] = field(init=False, compare=False)
    """The addresses of the envelope: the sender's, then the recipients'."""

    def __init__(
        self,
        *,
        subject: str,
        sender: Address,
        to: Addresses = (),
        cc: Addresses = (),
        bcc: Addresses = (),
        reply_to: Addresses = (),
        text: str | None = None,
        html: str | None = None,
        attachments: Iterable[File] = (),
        inline: Mapping[str, File] | None = None,
        headers: Mapping[str, str] | None = None,
        date: datetime | None = None,
        message_id: str | None = None,
    ) -> None:
        put = functools.partial(object.__setattr__, self)
        put("subject", one_line("subject", subject))
        put("text", text_or_none("text", text))
        put("html", text_or_none("html", html))
        path, mailbox = mailbox_of("sender", sender)
        put("sender", mailbox)
        paths = [path]
        for name, given in (("to", to), ("cc", cc), ("bcc", bcc), ("reply_to", reply_to)):
            found = [mailbox_of(name, one) for one in each_address(name, given)]
            put(name, tuple([mailbox for _, mailbox in found]))
            if name != "reply_to":
                paths += [path for path, _ in found]
        if len(paths) == 1:
            raise InvalidMessageError("the message has no recipients: give to, cc or bcc")
        put("_paths", (paths[0], *dict.fromkeys(paths[1:])))
        if not isinstance(attachments, Iterable) or isinstance(attachments, str | bytes):
            raise InvalidMessageError(
                f"attachments must be a list of files, got {attachments!r}: write [{attachments!r}]"
            )
        put("attachments", tuple([file_of("attachments", one) for one in attachments]))
        put("inline", {name: inline_image(name, one, html) for name, one in (inline or {}).items()})
        put("headers", header_fields(headers or {}))
        put("date", date_of(date))
        if message_id is None:
            domain = to_ascii(path).rpartition("@")[2] or "localhost"
            message_id = make_msgid(domain=domain if domain.isascii() else "localhost")
        elif not (isinstance(message_id, str) and _MESSAGE_ID.fullmatch(message_id)):
            raise InvalidMessageError(
                f"message_id must be like '<id@example.com>', got {message_id!r}"
            )
        put("message_id", message_id)

    def __repr__(self) -> str:
        recipients = ", ".join(self._paths[1:4]) + (", ..." if len(self._paths) > 4 else "")
        return f"<Email {self.subject!r} from {self._paths[0]} to {recipients}>"

    def __hash__(self) -> int:
        return hash(self.message_id)

    @property
    def from_email(self) -> str:
        """The sender, under the name that Django's messages have for it."""
        return self.sender

    def recipients(self) -> list[str]:
        """The addresses of ``to``, ``cc`` and ``bcc`` without names, each once."""
        return list(self._paths[1:])

    def envelope_sender(self) -> str:
        """The sender's address without a name."""
        return self._paths[0]

    def as_email_message(self) -> EmailMessage:
        """The message as an object of the email package, without Bcc.

        Raises:
            InvalidMessageError: an attached file cannot be read.
        """
        message = MODERN.build(self._content())
        for name, value in self._header():
            message[name] = value if isinstance(value, str) else ", ".join(value)
        return message

    message = as_email_message
    """The same, under the name that Django's messages have for it."""

    def as_bytes(self) -> bytes:
        """The message as it is sent to a server that needs no conversion, without Bcc."""
        written = self.written()
        if written is None:
            return self.as_email_message().as_bytes()
        return b"".join(from_written(written).chunk())

    def written(self) -> WrittenMessage | None:
        """The message as bytes, without objects; None where it has to be built."""
        return written_message(self._header(), self._content(), self.as_email_message)

    def _content(self) -> Part:
        """The body, its alternative, the images in it and the files."""
        texts: list[Part] = []
        if self.text is not None:
            texts.append(TextPart(self.text))
        if self.html is not None:
            images = [
                FilePart(data, kind, name, "inline", (("Content-ID", f"<{content_id}>"),))
                for content_id, (name, data, kind) in self.inline.items()
            ]
            texts.append(with_images(TextPart(self.html, "html"), images))
        # A message without any content has an empty text.
        body, *alternatives = texts or [TextPart("")]
        return composed(body, alternatives, [*map(_attached, self.attachments)]) or body

    def _header(self) -> list[tuple[str, str | tuple[str, ...]]]:
        fields: list[tuple[str, str | tuple[str, ...]]] = [
            ("Subject", self.subject),
            ("From", (self.sender,)),
        ]
        for name, values in (("To", self.to), ("Cc", self.cc), ("Reply-To", self.reply_to)):
            if values:
                fields.append((name, values))
        fields.append(("Date", format_datetime(self.date)))
        fields.append(("Message-ID", self.message_id))
        fields += self.headers.items()
        return fields


def _unchangeable(email: Email, name: str, *value: object) -> NoReturn:
    if name == "stream":
        fix = "pass Submission(email, stream=...)"
    elif name.strip("_") in Email.__slots__:
        fix = f"make another by dataclasses.replace(email, {name}=...)"
    else:
        fix = did_you_mean(name, [each for each in Email.__slots__ if each[0] != "_"])
    raise FrozenInstanceError(f"an Email cannot be changed, so {name!r} cannot be set: {fix}")


# Those of a frozen dataclass with slots raise an unclear TypeError for other names than fields.
Email.__setattr__ = _unchangeable  # type: ignore[method-assign, assignment]
Email.__delattr__ = _unchangeable  # type: ignore[method-assign, assignment]


def _attached(file: tuple[str, bytes | str, str] | FileAttachment) -> Part:
    if isinstance(file, FileAttachment):
        return file
    name, content, kind = file
    if isinstance(content, str):
        return TextPart(content, kind.partition("/")[2], name)
    return FilePart(content, kind, name, "attachment")
