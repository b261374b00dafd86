"""`assert_sent`: check that a message was sent, and show how each `ReceivedMail` differs if not.

Works on ``smtp_server.messages``, on Django's ``mail.outbox`` and on messages of the email
package.
"""

from __future__ import annotations

import difflib
import email
import email.policy
import email.utils
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage, Message
from typing import Any

__all__ = ["Expected", "ReceivedMail", "as_received", "assert_nothing_sent", "assert_sent"]


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
        return _subject_of(self.message)

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
        return _texts_of(self.message)

    @property
    def attachments(self) -> dict[str, bytes]:
        """The content of the attachments by file name, including images in the HTML."""
        return _files_of(self.message)

    def __repr__(self) -> str:
        recipients = ", ".join(self.recipients)
        return f"<ReceivedMail {self.subject!r} from {self.sender or '<>'} to {recipients}>"


def _subject_of(message: EmailMessage) -> str:
    return str(message["Subject"] or "")


def _texts_of(message: EmailMessage) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in message.walk():
        if part.get_content_maintype() == "text" and not part.is_attachment():
            text = part.get_content().replace("\r\n", "\n")
            found.setdefault(part.get_content_type(), text)
    return found


def _files_of(message: EmailMessage) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in message.walk():
        name = part.get_filename() or (part["Content-ID"] or "").strip("<>")
        if name and not part.is_multipart():
            payload: Any = part.get_payload(decode=True)
            found[str(name)] = payload or b""
        elif part.get_content_type() == "message/rfc822":
            found[str(name or "message")] = part.as_bytes()
    return found


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


_SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """What a message must have. A field that is None is not compared.

    A string must be equal; a compiled regular expression must be found.
    """

    sender: str | re.Pattern[str] | None = None
    """The reverse-path of the envelope."""
    to: str | Sequence[str] | None = None
    """One of the envelope's recipients, or a list of all of them."""
    subject: str | re.Pattern[str] | None = None
    text: str | re.Pattern[str] | None = None
    """The whole text; trailing white space is ignored."""
    html: str | re.Pattern[str] | None = None
    text_has: str | Sequence[str] = ()
    """One or several strings that the text contains."""
    html_has: str | Sequence[str] = ()
    attachments: Sequence[str] | Mapping[str, bytes | None] | None = None
    """The names of all attachments, or names and contents; a content of None is not compared."""
    headers: Mapping[str, str | re.Pattern[str]] | None = None

    def differences(self, mail: ReceivedMail) -> list[str]:
        """The differences between the message and what was expected, as text."""
        message = mail.message  # parsed at each access
        texts = _texts_of(message)
        text, html = texts.get("text/plain"), texts.get("text/html")
        found = [
            *_value("sender", self.sender, mail.sender),
            *_people(self.to, mail.recipients),
            *_value("subject", self.subject, _subject_of(message)),
            *_body("text", self.text, text),
            *_body("html", self.html, html),
            *_parts("text", self.text_has, text),
            *_parts("html", self.html_has, html),
            *_attachments(self.attachments, _files_of(message)),
        ]
        for name, value in (self.headers or {}).items():
            actual = message[name]
            found += _value(name, value, None if actual is None else str(actual))
        return found


def assert_sent(messages: Iterable[Any], **expected: Any) -> ReceivedMail:
    """The first message that matches; the keyword arguments are the fields of `Expected`.

    Raises:
        AssertionError: no message matches. The text shows how each differs.
    """
    __tracebackhide__ = True
    wanted = Expected(**expected)
    candidates = []
    for item in messages:
        mail = as_received(item)
        found = wanted.differences(mail)
        if not found:
            return mail
        candidates.append((len(found), mail, found))
    if not candidates:
        raise AssertionError("no message was sent")
    candidates.sort(key=lambda each: each[0])  # the fewest differences first
    lines = [f"none of {len(candidates)} messages matches:"]
    if len(candidates) == 1:
        lines = ["the message that was sent does not match:"]
    for _, mail, found in candidates[:_SHOWN]:
        lines.append(f"  {mail!r}")
        lines += [f"    {line}" for text in found for line in text.splitlines()]
    if len(candidates) > _SHOWN:
        lines.append(f"  ... and {len(candidates) - _SHOWN} more")
    raise AssertionError("\n".join(lines))


def assert_nothing_sent(messages: Iterable[Any]) -> None:
    """Check that no message was sent.

    Raises:
        AssertionError: one was; the text lists all.
    """
    __tracebackhide__ = True
    found = [as_received(item) for item in messages]
    if found:
        raise AssertionError(
            "\n".join([f"{len(found)} sent, but none expected:", *map(repr, found)])
        )


def _value(name: str, expected: str | re.Pattern[str] | None, actual: str | None) -> list[str]:
    if expected is None:
        return []
    if isinstance(expected, str):
        if actual == expected:
            return []
        return [f"{name}:\n  expected {expected!r}\n  was      {actual!r}"]
    if actual is not None and expected.search(actual):
        return []
    return [f"{name}:\n  expected a match of {expected.pattern!r}\n  was      {actual!r}"]


def _people(expected: str | Sequence[str] | None, actual: Sequence[str]) -> list[str]:
    if expected is None:
        return []
    if isinstance(expected, str):
        if expected in actual:
            return []
        return [f"to:\n  expected {expected!r}\n  was      {list(actual)!r}"]
    return _names("to", expected, actual)


def _names(what: str, expected: Iterable[str], actual: Iterable[str]) -> list[str]:
    missing = sorted(set(expected) - set(actual))
    extra = sorted(set(actual) - set(expected))
    lines = [f"  missing {name!r}" for name in missing] + [f"  not expected {n!r}" for n in extra]
    return ["\n".join([f"{what}:", *lines])] if lines else []


def _body(name: str, expected: str | re.Pattern[str] | None, actual: str | None) -> list[str]:
    if actual is None or not isinstance(expected, str):
        return _value(name, expected, actual)
    wanted, was = expected.rstrip().splitlines(), actual.rstrip().splitlines()
    if wanted == was:
        return []
    lines = difflib.unified_diff(wanted, was, "expected", "was", lineterm="", n=2)
    return ["\n".join([f"{name}:", *(f"  {line}" for line in lines)])]


def _parts(name: str, expected: str | Sequence[str], actual: str | None) -> list[str]:
    wanted = [expected] if isinstance(expected, str) else expected
    missing = [part for part in wanted if part not in (actual or "")]
    if not missing:
        return []
    if actual is None:
        return [f"{name}: missing"]
    lines = [f"  does not contain {part!r}" for part in missing]
    shown = [f"  | {line}" for line in actual.rstrip().splitlines()[:40]]
    return ["\n".join([f"{name}:", *lines, *shown])]


def _attachments(
    expected: Sequence[str] | Mapping[str, bytes | None] | None, actual: Mapping[str, bytes]
) -> list[str]:
    if expected is None:
        return []
    found = _names("attachments", [expected] if isinstance(expected, str) else expected, actual)
    for name, content in expected.items() if isinstance(expected, Mapping) else ():
        if content is None or name not in actual or actual[name] == content:
            continue
        was = actual[name]
        at = next((i for i, (a, b) in enumerate(zip(content, was, strict=False)) if a != b), None)
        at = min(len(content), len(was)) if at is None else at
        found.append(
            f"attachment {name!r}: {len(was)} bytes, expected {len(content)}; they differ from "
            f"byte {at}:\n  expected {content[at : at + 30]!r}\n  was      {was[at : at + 30]!r}"
        )
    return found
