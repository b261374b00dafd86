"""Plain message objects in one pass: who sends and receives them, and their bytes.

Most messages that an application builds have one text, and addresses that every parser reads
alike. What it costs to send one is mostly to read its header objects, because each has a class
that the interpreter's caches do not know. Here each is read once, for the checks, the envelope
and the content. Every other message is left to `headers`, `address` and `serializer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.message import Message
from email.policy import EmailPolicy
from functools import lru_cache
from typing import Any

from mailbackends.errors import InvalidAddressError, InvalidMessageError
from mailbackends.mime.address import ADDRESS_CLASSES, PLAIN_LIST, addresses_in
from mailbackends.mime.content import outgoing_policy
from mailbackends.mime.email_internals import (
    class_and_name,
    is_one_group_each,
    is_standard,
    parsed_text,
    payload_of,
)
from mailbackends.mime.folding import header_line
from mailbackends.mime.headers import ADDRESS_FIELDS, BLIND, is_field_name
from mailbackends.mime.pieces import UNENCODED, has_long_line
from mailbackends.mime.serializer import is_streamed
from mailbackends.mime.words import LONGEST_LINE
from mailbackends.mime.writer import WrittenMessage

__all__ = ["PlainMessage", "plain_message"]

# In characters: what is larger takes so long that an event loop should not wait for it.
_LARGEST_HEADER = 8 * 1024
_LARGEST_BODY = 64 * 1024


@dataclass(slots=True)
class PlainMessage:
    """What one pass over a message object gives."""

    written: WrittenMessage
    sender: str | None
    """The first address in Sender, or else in From; None without these fields."""
    recipients: list[str]
    """The addresses in To, Cc and Bcc."""


def plain_message(message: Message[Any, Any]) -> PlainMessage | None:
    """The message as `content.from_message` writes it, and its addresses; None if not plain.

    Plain is a message of the standard library's own classes and policy with one text, as it was
    built, not parsed, in a form that is the same for each server without SMTPUTF8.
    """
    own_class: Any = type(message)
    if type(message.policy) is not EmailPolicy or is_streamed(own_class):
        return None
    if not is_standard(message):
        return None
    body = payload_of(message)
    if type(body) is not str or len(body) > _LARGEST_BODY or not body.isascii() or "\0" in body:
        return None
    header = _Header(message)
    try:
        if not header.read():
            return None
    except (InvalidAddressError, InvalidMessageError, UnicodeError):
        return None  # It is raised again where the message is sent.
    if len(body) > LONGEST_LINE and header.encoding in UNENCODED and has_long_line(body):
        return None
    if "\r" in body:
        body = body.replace("\r\n", "\n").replace("\r", "\n")
    if not body.endswith("\n"):
        body += "\n"
    data = "".join((*header.lines, "\r\n", body.replace("\n", "\r\n"))).encode("ascii")
    found = header.addresses
    return PlainMessage(
        # Fields are printable, and the line ends of the body were just replaced.
        WrittenMessage((data,), header.message_id, lambda: message, has_crlf=True),
        next((paths[0] for name in ("sender", "from") if (paths := found.get(name))), None),
        [path for name in ("to", "cc", "bcc") for path in found.get(name, ())],
    )


class _Header:
    """The header of a message while it is read."""

    def __init__(self, message: Message[Any, Any]) -> None:
        self._message = message
        self._fields: list[tuple[str, Any]] = list(message.raw_items())
        self.lines: list[str] = []
        self.addresses: dict[str, list[str]] = {}
        """The addresses by the name of their field, in lower case."""
        self.content_type = ""
        self.encoding = ""
        self.message_id: str | None = None

    def read(self) -> bool:
        """Read all fields; False if one is not plain.

        Raises:
            InvalidMessageError, UnicodeError: a field cannot be written.
        """
        try:
            text = "".join([value for _, value in self._fields])
        except TypeError:  # the legacy email.header.Header
            return False
        if not text.isprintable() or len(text) > _LARGEST_HEADER:
            return False
        # What is true of all of them need not be looked for in each.
        is_simple = text.isascii() and "=?" not in text
        width = self._message.policy.max_line_length or 0
        for name, value in self._fields:
            lowered, known = _lowered(name), class_and_name(value)
            if known is None or known[1] != name or not lowered:
                return False
            if known[0] in ADDRESS_CLASSES:
                is_plain = self._read_addresses(lowered, value, is_simple=is_simple)
                if is_plain is None:
                    return False
                if lowered in BLIND:
                    continue
            elif lowered in ADDRESS_FIELDS:
                return False  # whoever it names would be lost
            elif lowered in _NOTED and not self._note(lowered, str(value)):
                return False
            else:
                is_plain = is_simple or (str.isascii(value) and "=?" not in value)
            if is_plain and value and len(name) + len(value) + 2 <= width:
                self.lines += (name, ": ", value, "\r\n")
            else:
                self.lines.append(self._folded(name, value))
        return str.startswith(self.content_type, "text/")

    def _read_addresses(self, lowered: str, value: Any, *, is_simple: bool) -> bool | None:
        """Whether the field can be written as its text; None if an address is not in ASCII."""
        if PLAIN_LIST.fullmatch(value) and (is_simple or "=?" not in value):
            entries = str.split(value, ", ")
            if is_one_group_each(value, len(entries)):
                found = [entry.rpartition("<")[2].rstrip(">") for entry in entries]
                self.addresses.setdefault(lowered, []).extend(found)
                # The text that was parsed may have comments, which must be kept.
                return str.__eq__(value, parsed_text(value))
        found = addresses_in(lowered, value)
        if not "".join(found).isascii():
            return None
        self.addresses.setdefault(lowered, []).extend(found)
        return False

    def _note(self, lowered: str, value: str) -> bool:
        """Note what is needed of a field; False if the message is not plain."""
        if lowered == "content-type":
            is_first = not self.content_type
            self.content_type = value
            return is_first
        if lowered == "content-transfer-encoding":
            self.encoding = self.encoding or value.strip().lower()
            return True
        if self.message_id is None:
            self.message_id = value.strip()
        return True

    def _folded(self, name: str, value: Any) -> str:
        policy = outgoing_policy(self._message)
        return header_line(policy, name, value).decode("ascii")


_NOTED = frozenset({"content-type", "content-transfer-encoding", "message-id"})


@lru_cache(maxsize=256)
def _lowered(name: str) -> str:
    """The name in lower case; empty if it is not valid, or that of a resent message."""
    lowered = name.lower()
    return lowered if is_field_name(name) and not lowered.startswith("resent-") else ""
