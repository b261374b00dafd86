"""Messages made from options and from templates with ``{{ column }}`` placeholders."""

from __future__ import annotations

import re
import secrets
import socket
from collections.abc import Iterable, Mapping
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, parseaddr
from html import escape
from pathlib import Path
from typing import Any

from mailbackends.mailer import FileAttachment

__all__ = ["Template", "compose", "new_message_id", "read_letter", "read_text"]

_PLACEHOLDER = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")


def compose(
    headers: Mapping[str, str],
    *,
    text: str | None,
    html: str | None = None,
    attachments: Iterable[Path] = (),
) -> EmailMessage:
    """A message with text, HTML or both, and files that are read while it is sent.

    Header fields without a value are left out; Date and Message-ID are added.

    Raises:
        ValueError: a header value contains what is not allowed there, such as a line break.
        OSError: a file cannot be read.
    """
    message = EmailMessage(policy=SMTP)
    for name, value in headers.items():
        if "\n" in value or "\r" in value:
            raise ValueError(f"{name} contains a line break: write it on one line")
        if value or name == "Subject":
            message[name] = value
    message["Date"] = formatdate(localtime=True)
    message["Message-ID"] = new_message_id(headers.get("From", ""))
    if text is None:
        message.set_content(html or "", subtype="html")
    else:
        message.set_content(text)
        if html is not None:
            message.add_alternative(html, subtype="html")
    files = list(attachments)
    if files:
        message.make_mixed()
        for path in files:
            part: Any = FileAttachment(path)
            message.attach(part)
    return message


def new_message_id(sender: str) -> str:
    """A unique Message-ID (RFC 5322 section 3.6.4) in the sender's domain."""
    domain = parseaddr(sender)[1].rpartition("@")[2]
    if not domain.isascii() or not domain:
        domain = socket.gethostname() or "localhost"
    return f"<{secrets.token_hex(16)}@{domain}>"


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, without its byte order mark.

    Raises:
        ValueError: it is in another encoding.
        OSError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not text in UTF-8 ({error.reason}): save it as UTF-8"
        ) from error


class Template:
    """A text with placeholders. With ``is_html`` values are escaped."""

    def __init__(self, text: str, *, name: str, is_html: bool = False) -> None:
        self.text = text
        self.name = name
        self.is_html = is_html

    @property
    def columns(self) -> list[str]:
        """The columns that it refers to, in order."""
        return list(dict.fromkeys(_PLACEHOLDER.findall(self.text)))

    def fill(self, row: Mapping[str, str]) -> str:
        """The text with a row's values. Placeholders in a value are not replaced."""
        return _PLACEHOLDER.sub(lambda match: self._value(row[match[1]]), self.text)

    def _value(self, value: str) -> str:
        return escape(value) if self.is_html else value


def read_letter(path: Path) -> tuple[str | None, str]:
    """The subject and the text of a file that begins with ``Subject: ...`` and an empty line.

    Without such a first line the subject is None and the whole file is the text.
    """
    text = read_text(path)
    head, newline, body = text.partition("\n")
    if not head.lower().startswith("subject:"):
        return None, text
    if newline and not body.startswith(("\n", "\r\n")):
        raise ValueError(f"{path}: add an empty line after the line 'Subject: ...'")
    return head.partition(":")[2].strip(), body.lstrip("\r\n")
