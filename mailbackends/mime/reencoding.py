"""Bodies that cannot be sent as they are: NUL characters, and lines that are too long.

Python's email package writes both as they are. Servers reject NUL (RFC 5321 section 4.5.2) and
cut or reject lines of more than 998 octets (RFC 5322 section 2.1.1).
"""

from __future__ import annotations

import base64
import copy
import quopri
from collections.abc import Iterator
from email.message import Message
from email.policy import Policy
from typing import Any, cast

from mailbackends.mime.pieces import UNENCODED, has_long_line
from mailbackends.mime.serializer import StreamedPart

__all__ = ["sendable"]

# A signed message that was changed is worse than one with a long line.
_SIGNATURES = ("DKIM-Signature", "ARC-Message-Signature")


def sendable(
    message: Message[Any, Any], policy: Policy, *, all_8bit: bool = False
) -> Message[Any, Any]:
    """The message, or a copy in which the bodies that need it are encoded.

    With ``all_8bit`` these are also the 8-bit texts.

    Raises:
        UnicodeEncodeError: a text contains a lone surrogate.
    """
    is_7bit = policy.cte_type == "7bit"
    is_signed = any(name in message for name in _SIGNATURES)

    def needs_encoding(part: Message[Any, Any]) -> bool:
        if isinstance(part, StreamedPart):
            return is_7bit and _encoding(part) == "8bit"
        text = part.get_payload()
        if not isinstance(text, str) or _encoding(part) not in UNENCODED:
            return False
        is_long = not is_signed and len(text) > 998 and has_long_line(text)
        return "\0" in text or is_long or (all_8bit and not text.isascii())

    if not any(map(needs_encoding, _leaves(message))):
        return message
    outgoing = copy.deepcopy(message)
    for part in _leaves(outgoing):
        if needs_encoding(part):
            if isinstance(part, StreamedPart):
                _encode_message(part, policy, all_8bit=all_8bit)
            else:
                _encode(part)
    return outgoing


def _leaves(message: Message[Any, Any]) -> Iterator[Message[Any, Any]]:
    """The parts without parts, but those of messages in the message and of signed parts."""
    kind = message.get_content_type()
    if isinstance(message, StreamedPart) or not message.is_multipart():
        yield message
    elif kind != "multipart/signed" and not kind.startswith("message/"):
        for part in message.get_payload():
            yield from _leaves(cast(Message, part))


def _encoding(part: Message[Any, Any]) -> str:
    return str(part.get("Content-Transfer-Encoding", "")).strip().lower()


def _encode_message(part: Any, policy: Policy, *, all_8bit: bool) -> None:
    """Have the generator encode the attached message for 7 bits, instead of reading the file."""
    _set_encoding(part, "7bit")
    part.fixed_payload = [
        sendable(message, policy, all_8bit=all_8bit) for message in part.get_payload()
    ]


def _encode(part: Message[Any, Any]) -> None:
    text = cast(str, part.get_payload())
    text.encode()  # raises for a lone surrogate, which has no encoding
    data = cast(bytes, part.get_payload(decode=True))
    if text.isascii() and "\0" not in text:  # long lines of text: readable as it is
        _set_encoding(part, "quoted-printable")
        part.set_payload(quopri.encodestring(data).decode("ascii"))
        return
    _set_encoding(part, "base64")
    part.set_payload(base64.encodebytes(data).decode("ascii"))


def _set_encoding(part: Message[Any, Any], encoding: str) -> None:
    if "Content-Transfer-Encoding" in part:
        part.replace_header("Content-Transfer-Encoding", encoding)
    else:
        part["Content-Transfer-Encoding"] = encoding
