"""`Message`: Flask-Mail's arguments and properties, and a few more."""

from __future__ import annotations

import socket
import warnings
from collections.abc import Iterable, Mapping, Set
from datetime import datetime
from email.message import Message as Part
from email.policy import compat32
from email.utils import make_msgid
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from flask import current_app, has_app_context

from flask_integration import mime
from flask_integration.addresses import Address, bare_addresses, display, evaluated
from flask_integration.attachment import Attachment
from flask_integration.headers import bad_header
from flask_integration.rendering import Rendering, current_rendering, render
from mailbackends import FileAttachment, Receipt

__all__ = ["Message", "from_flask_mail"]

T = TypeVar("T")


class _CanSend(Protocol):
    def send(self, message: Any) -> Receipt: ...


class Message:
    """A message. It is checked when it is sent, so attributes may be set at any time.

    Args:
        subject: the Subject header.
        recipients: a list of ``"ada@example.com"``, ``"Ada <ada@example.com>"`` or
            ``("Ada", "ada@example.com")``; ``cc`` and ``bcc`` are alike.
        body: the text.
        html: the HTML.
        alts: further alternatives, by subtype: ``{"calendar": "BEGIN:VCALENDAR..."}``.
        sender: MAIL_DEFAULT_SENDER if None.
        attachments: a list of `Attachment`, or of parts of the email package.
        reply_to: an address, or a list of them.
        date: seconds since the epoch or a `datetime`; the time of sending if None.
        charset: MAIL_DEFAULT_CHARSET if None. Text that it cannot encode is sent as UTF-8.
        extra_headers: further headers.
        mail_options: parameters of MAIL, such as ``["RET=HDRS"]`` (RFC 3461).
        rcpt_options: parameters of RCPT, such as ``["NOTIFY=FAILURE"]``.
        unsubscribe: the stream of mail, such as ``"newsletter"``, that the one recipient can
            leave by one click: see `flask_integration.unsubscribe`.
        stream: the stream of mail that the suppression list is asked for; by default that of
            ``unsubscribe``.
    """

    def __init__(
        self,
        subject: str = "",
        recipients: Iterable[Address] | None = None,
        body: str | None = None,
        html: str | None = None,
        alts: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        sender: Address | None = None,
        cc: Iterable[Address] | None = None,
        bcc: Iterable[Address] | None = None,
        attachments: Iterable[Attachment | Part] | None = None,
        reply_to: Address | list[Address] | None = None,
        date: float | datetime | None = None,
        charset: str | None = None,
        extra_headers: Mapping[str, str] | None = None,
        mail_options: Iterable[str] | None = None,
        rcpt_options: Iterable[str] | None = None,
        unsubscribe: str | None = None,
        stream: str | None = None,
    ) -> None:
        # So that a named mailer with another default sender can tell this one from a sender
        # that was passed.
        self._default_sender = None if sender else _default_sender()
        sender = sender or self._default_sender
        self.sender: str | None = display(sender) if sender else None
        self.recipients: list[Address] = _list(recipients)
        self.subject = subject
        self.reply_to = reply_to
        self.cc: list[Address] = _list(cc)
        self.bcc: list[Address] = _list(bcc)
        self.body = body
        self.alts: dict[str, str] = dict(alts or {})
        if html is not None:
            self.html = html
        self.date = date
        self.charset: str | None = evaluated(charset)
        self.extra_headers: dict[str, str] | None = (
            dict(extra_headers) if extra_headers is not None else None
        )
        self.mail_options: list[str] = _list(mail_options)
        self.rcpt_options: list[str] = _list(rcpt_options)
        self.attachments: list[Attachment | Part] = _list(attachments)
        self.unsubscribe = unsubscribe
        self.stream = stream
        self._message_id: str | None = None

    @classmethod
    def from_template(
        cls,
        name: str,
        /,
        context: Mapping[str, Any] | None = None,
        *,
        subject: str | None = None,
        recipients: Iterable[Address] | None = None,
        sender: Address | None = None,
        cc: Iterable[Address] | None = None,
        bcc: Iterable[Address] | None = None,
        attachments: Iterable[Attachment | Part] | None = None,
        reply_to: Address | list[Address] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        unsubscribe: str | None = None,
        **values: Any,
    ) -> Self:
        """Return a message rendered from ``name.txt`` and ``name.html``; one may be missing.

        The templates get ``values`` and ``context``, which is for names that clash with an
        argument. The subject is the first of: ``subject=``, a block ``subject`` in either
        template, a first line of ``name.txt`` that begins with ``Subject:``.

        Raises:
            jinja2.TemplateNotFound: neither template exists.
            InvalidMessageError: the message has no subject.
            RuntimeError: no application context is active.
        """
        rendered = render(name, {**values, **(context or {})}, subject)
        return cls(
            rendered.subject,
            recipients,
            rendered.text,
            rendered.html,
            sender=sender,
            cc=cc,
            bcc=bcc,
            attachments=attachments,
            reply_to=reply_to,
            extra_headers=extra_headers,
            unsubscribe=unsubscribe,
        )

    def __repr__(self) -> str:
        return f"<Message {self.subject!r} to {len(self.send_to)} recipients>"

    @property
    def send_to(self) -> Set[Address]:
        """All recipients, each once: To, then Cc, then Bcc, in the order given."""
        everybody = [*(self.recipients or ()), *(self.cc or ()), *(self.bcc or ())]
        # A pair may come out of JSON as a list, which could not be a key.
        return dict.fromkeys(tuple(x) if isinstance(x, list) else x for x in everybody).keys()

    @property
    def html(self) -> str | None:
        """The HTML alternative."""
        return self.alts.get("html")

    @html.setter
    def html(self, value: str | None) -> None:
        if value is None:
            self.alts.pop("html", None)
        else:
            self.alts["html"] = value

    @property
    def msgId(self) -> str:
        """The Message-ID, with its angle brackets (RFC 5322 section 3.6.4)."""
        if self._message_id is None:
            # The sender's domain: the name of this host would disclose internals, and looking
            # up its full name can take seconds of DNS.
            self._message_id = make_msgid(domain=_domain(self.sender))
        return self._message_id

    @msgId.setter
    def msgId(self, value: str) -> None:
        self._message_id = evaluated(value)

    def add_recipient(self, recipient: Address) -> None:
        """Add one more recipient in To."""
        self.recipients.append(recipient)

    def attach(
        self,
        filename: str | None = None,
        content_type: str | None = None,
        data: str | bytes | None = None,
        disposition: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Add an attachment; the arguments are those of `Attachment`."""
        self.attachments.append(Attachment(filename, content_type, data, disposition, headers))

    def attach_file(self, path: str | Path, content_type: str | None = None) -> None:
        """Add the file at ``path``, under its own name. Raises `OSError`."""
        path = Path(path)
        self.attach(path.name, content_type, path.read_bytes())

    def attach_path(
        self, path: str | Path, content_type: str | None = None, *, filename: str | None = None
    ) -> None:
        """Add the file at ``path``, but read it in pieces while the message is sent.

        For large files: they are never in memory as a whole. The file must not change
        until the message was sent.

        Raises:
            OSError: there is no such file.
            ValueError: ``content_type`` or ``filename`` cannot be used.
        """
        self.attachments.append(
            FileAttachment(path, filename=filename, mimetype=content_type, policy=compat32)
        )

    def attach_inline(
        self,
        filename: str,
        data: bytes,
        content_type: str | None = None,
        *,
        content_id: str | None = None,
    ) -> str:
        """Add an image that the HTML shows; return the URL for its ``src`` attribute.

        The URL is ``cid:`` and ``content_id``; if that is None, a new one is generated.
        """
        content_id = content_id or make_msgid(domain=_domain(self.sender)).strip("<>")
        self.attachments.append(
            Attachment(filename, content_type, data, "inline", content_id=content_id)
        )
        return f"cid:{content_id}"

    def as_email(self, rendering: Rendering | None = None) -> Part:
        """Return the message as an object of the standard library's email package."""
        return mime.build(self, rendering or current_rendering())

    def as_string(self) -> str:
        """Return the message as text, with CRLF."""
        return self.as_email().as_string()

    def as_bytes(self) -> bytes:
        """Return the message as bytes, with CRLF."""
        return self.as_email().as_bytes()

    def __str__(self) -> str:
        return self.as_string()

    def __bytes__(self) -> bytes:
        return self.as_bytes()

    def has_bad_headers(self) -> bool:
        """Return whether a line break in a header or an address could inject a header."""
        return bad_header(self) is not None

    def is_bad_headers(self) -> bool:
        """Flask-Mail's old name of `has_bad_headers`."""
        warnings.warn(
            "is_bad_headers() is deprecated: call has_bad_headers()",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.has_bad_headers()

    def send(self, connection: _CanSend) -> Receipt:
        """Send this message on ``connection``, from `Mail.connect`."""
        return connection.send(self)


def from_flask_mail(given: Any) -> Message:
    """The same message as Flask-Mail's."""
    message = Message(
        subject=given.subject,
        recipients=given.recipients,
        body=given.body,
        alts=given.alts,
        sender=given.sender,
        cc=given.cc,
        reply_to=given.reply_to,
        date=given.date,
        charset=given.charset,
        extra_headers=given.extra_headers,
        attachments=[
            Attachment(x.filename, x.content_type, x.data, x.disposition, x.headers)
            for x in given.attachments
        ],
    )
    message.msgId = given.msgId
    return message


def _list(values: Iterable[T] | None) -> list[T]:
    """Return a copy. A string stays a string, so that sending can report the mistake."""
    return values if isinstance(values, str) else list(values or ())  # type: ignore[return-value]


def _default_sender() -> str | None:
    # Without an application, the one that sends the message fills in its sender.
    state = current_app.extensions.get("mail") if has_app_context() else None
    sender = getattr(state, "default_sender", None)
    return display(sender) if sender else None


def _domain(sender: str | None) -> str:
    try:
        address = bare_addresses([sender or ""], "sender")[0]
    except ValueError:
        address = ""
    domain = address.rpartition("@")[2]
    return domain if domain.isascii() and domain else socket.gethostname()
