"""`ReceivedMail`: one message as it arrived, with its parts by name."""

from __future__ import annotations

import email
import email.policy
import email.utils
from dataclasses import dataclass
from email.message import EmailMessage, Message
from typing import Any

__all__ = ["ReceivedMail", "as_received"]


@dataclass(frozen=True, slots=True)
class ReceivedMail:
    """One message as it arrived."""

    sender: str
    """The reverse-path of the envelope; empty for the null sender."""
    recipients: tuple[str, ...]
    """The accepted recipients of the envelope, including Bcc."""
    content: bytes
    connection: int = 0
    """The number of the connection, from 0."""
    is_tls: bool = False
    user: str | None = None
    """The user name of the login."""
    tls_version: str | None = None
    """Such as ``"TLSv1.3"``; None without TLS."""

    @property
    def message(self) -> EmailMessage:
        """The content, parsed."""
        return email.message_from_bytes(self.content, policy=email.policy.default)

    @property
    def subject(self) -> str:
        """The Subject field, decoded, or an empty string."""
        return str(self.message["Subject"] or "")

    @property
    def text(self) -> str | None:
        """The text of the body with line feeds, or None if there is only HTML."""
        return self.alternatives.get("text/plain")

    @property
    def html(self) -> str | None:
        """The HTML of the body, or None."""
        return self.alternatives.get("text/html")

    @property
    def alternatives(self) -> dict[str, str]:
        """The texts that are not attachments, by type: the first of each."""
        found: dict[str, str] = {}
        for part in self.message.walk():
            if part.get_content_maintype() == "text" and not part.is_attachment():
                text = part.get_content().replace("\r\n", "\n")
                found.setdefault(part.get_content_type(), text)
        return found

    @property
    def attachments(self) -> dict[str, bytes]:
        """The content of the attachments by file name, including images in the HTML."""
        found: dict[str, bytes] = {}
        for part in self.message.walk():
            name = part.get_filename() or (part["Content-ID"] or "").strip("<>")
            if name and not part.is_multipart():
                payload: Any = part.get_payload(decode=True)
                found[str(name)] = payload or b""
            elif part.get_content_type() == "message/rfc822":
                found[str(name or "message")] = part.as_bytes()
        return found

    def __repr__(self) -> str:
        recipients = ", ".join(self.recipients)
        return f"<ReceivedMail {self.subject!r} from {self.sender or '<>'} to {recipients}>"


def as_received(item: Any) -> ReceivedMail:
    """A `ReceivedMail` for a message of Django's ``mail.outbox`` or of the email package.

    Raises:
        TypeError: it is not a message.
    """
    if isinstance(item, ReceivedMail):
        return item
    recipients = getattr(item, "recipients", None)
    # Django's EmailMessage, whose message() makes one of the email package.
    made = item.message() if callable(getattr(item, "message", None)) else item
    if not isinstance(made, Message):
        raise TypeError(f"not a message: {item!r}")
    envelope = list(recipients()) if callable(recipients) else _addresses(made, "To", "Cc", "Bcc")
    sender = _addresses(made, "From")
    return ReceivedMail(sender[0] if sender else "", tuple(envelope), made.as_bytes())


def _addresses(message: Message[Any, Any], *fields: str) -> list[str]:
    values = [str(value) for field in fields for value in message.get_all(field) or ()]
    return [address for _, address in email.utils.getaddresses(values)]
