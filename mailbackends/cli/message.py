"""A message made of what a command line or a template gives."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterable, Mapping
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, parseaddr
from pathlib import Path
from typing import Any

from mailbackends.mailer import FileAttachment

__all__ = ["compose", "new_message_id"]


def compose(
    headers: Mapping[str, str],
    *,
    text: str | None,
    html: str | None = None,
    attachments: Iterable[Path] = (),
) -> EmailMessage:
    """A message with text, HTML or both, and files that are read while it is sent.

    Headers without a value are left out; Date and Message-ID are added.

    Raises:
        ValueError: a header holds what cannot stand there, such as a line break.
        OSError: a file is not there.
    """
    message = EmailMessage(policy=SMTP)
    for name, value in headers.items():
        if "\n" in value or "\r" in value:
            raise ValueError(f"{name} holds a line break, and is one line")
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
    """One that nobody else makes (RFC 5322 section 3.6.4), in the sender's own domain."""
    domain = parseaddr(sender)[1].rpartition("@")[2]
    if not domain.isascii() or not domain:
        domain = socket.gethostname() or "localhost"
    return f"<{secrets.token_hex(16)}@{domain}>"
