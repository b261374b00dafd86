"""A stored message as a Django message, for a backend that is not ours."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterable
from email.message import EmailMessage as ParsedMessage
from email.policy import Policy
from typing import Any

from django.core.mail import EmailMultiAlternatives

from django_integration.compat import parsed_message

__all__ = ["StoredEmailMessage"]

# Django sets these from attributes; the rest are extra headers.
_OWN = frozenset(
    {"subject", "from", "to", "cc", "reply-to", "mime-version", "content-type"}
    | {"content-transfer-encoding"}
)


class StoredEmailMessage(EmailMultiAlternatives):
    """The stored content, with its envelope.

    `message` returns the content as it is stored. The attributes (``subject``, ``body``,
    ``alternatives``, ``attachments`` and so on) are read from it, for backends that send
    through a provider's HTTP interface.
    """

    def __init__(self, content: bytes, sender: str, recipients: Iterable[str]) -> None:
        self._parsed: Any = email.message_from_bytes(content, policy=email.policy.default)
        self._recipients = list(recipients)
        self._content = content
        super().__init__(
            subject=str(self._parsed["Subject"] or ""),
            from_email=str(self._parsed["From"] or sender),
            to=self._addresses("To"),
            cc=self._addresses("Cc"),
            reply_to=self._addresses("Reply-To"),
            headers={
                name: str(value) for name, value in self._parsed.items() if name.lower() not in _OWN
            },
        )
        named = "\n".join([*self.to, *self.cc]).lower()
        self.bcc: list[str] = [each for each in self._recipients if each.lower() not in named]
        self._read_parts()

    def without_content(self) -> EmailMultiAlternatives:
        """A new message with the addresses, the subject and the other headers."""
        return EmailMultiAlternatives(
            subject=self.subject,
            from_email=self.from_email,
            to=self.to,
            cc=self.cc,
            reply_to=self.reply_to,
            headers=self.extra_headers,
        )

    def recipients(self) -> list[str]:
        """The recipients who are left."""
        return list(self._recipients)

    def message(self, *, policy: Policy[Any] | None = None) -> Any:
        """The stored content, parsed."""
        return parsed_message(self._content, policy)

    def _addresses(self, field: str) -> list[str]:
        value = self._parsed[field]
        return [str(each) for each in getattr(value, "addresses", ())]

    def _read_parts(self) -> None:
        body = self._parsed.get_body(preferencelist=("plain", "html"))
        if body is not None:
            self.body: str = _text(body)
            self.content_subtype: str = body.get_content_subtype()
        html = self._parsed.get_body(preferencelist=("html",))
        if html is not None and html is not body:
            self.attach_alternative(_text(html), "text/html")
        for part in self._parsed.iter_attachments() if self._parsed.is_multipart() else ():
            if part is not body and part is not html and not part.is_multipart():
                content = part.get_payload(decode=True) or b""
                self.attach(part.get_filename(), content, part.get_content_type())


def _text(part: ParsedMessage) -> str:
    try:
        return str(part.get_content())
    except (LookupError, ValueError):
        data: Any = part.get_payload(decode=True)
        return bytes(data or b"").decode("utf-8", "replace")
