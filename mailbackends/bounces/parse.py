"""`parse_bounce`: a report of a mail server, whatever its sender put into it."""

from __future__ import annotations

import binascii
import email
import email.policy
import quopri
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from email.header import decode_header, make_header
from email.message import Message
from typing import Any

from mailbackends.bounces.report import Action, BouncedRecipient, BounceReport
from mailbackends.bounces.tokens import BounceTokens
from mailbackends.mime.words import utf8_text
from mailbackends.texts import one_line

__all__ = ["parse_bounce"]

# Reports are a few kilobytes, and may contain the message that was sent. What is beyond is not
# read: no field that matters comes so late. Free text is looked at by a hundred expressions.
_LARGEST = 256 * 1024
_LARGEST_TEXT = 64 * 1024
# The email package looks for the boundary of each multipart around a line in every line.
_MOST_MULTIPARTS = 50
_MOST_PARTS = 100
_MOST_BLOCKS = 3000
_DEEPEST = 20
_MOST_RECIPIENTS = 1000
_LONGEST_TEXT = 1000

_ACTIONS: dict[str, Action] = {
    "failed": "failed", "delayed": "delayed", "delivered": "delivered", "relayed": "relayed",
    "expanded": "expanded",
}  # fmt: skip
_STATUS = re.compile(r"\b([245])\.(\d{1,3})\.(\d{1,3})\b")
_UTF8 = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")
_BOUNDARY = re.compile(rb"\r?\n\r?\n")
# Fields of the report in which the address that it was sent to may be.
_ENVELOPE_FIELDS = ("Delivered-To", "X-Original-To", "Envelope-To", "To", "X-Failed-Recipients")


def parse_bounce(data: bytes, tokens: BounceTokens | None = None) -> BounceReport:
    """What a message says that came back: ``kind="none"`` for one that is no report.

    Never fails on the content, whatever it is; more than 256 KB, 100 parts and 1,000 recipients
    are not read. ``tokens`` finds the reference of the message, which is the only thing that a
    stranger cannot forge. Formats other than RFC 3464 and RFC 5965 are read by ``flufl.bounce``
    (extra ``bounces``), and are none without it.
    """
    data = bytes(data[:_LARGEST])
    if _takes_too_long(data):
        return BounceReport("none")
    try:
        message = email.message_from_bytes(data, policy=email.policy.compat32)
        parts = list(_parts(message))
        original = _original(parts)
        report = _parsed(message, parts, original, data)
    except (RecursionError, LookupError, ValueError, TypeError, AttributeError):
        # The email package's parsers fail on some inputs, which differ by version.
        return BounceReport("none")
    if tokens is None:
        return report
    sent_to = [value for name in _ENVELOPE_FIELDS for value in _values(message, name)]
    returned_path = _field(original, "Return-Path") if original is not None else None
    reference = tokens.reference_in(report.envelope_id, *sent_to, returned_path)
    return replace(report, reference=reference)


def _takes_too_long(data: bytes) -> bool:
    """True if the email package would make thousands of objects of it."""
    if data.lower().count(b"multipart/") > _MOST_MULTIPARTS:
        return True
    data = data.replace(b"\r\n", b"\n")
    # Each block of a delivery status and each part becomes a message of its own.
    return max(data.count(b"\n\n"), data.count(b"\n--")) > _MOST_BLOCKS


def _parsed(
    message: Message[Any, Any],
    parts: Sequence[Message[Any, Any]],
    original: Message[Any, Any] | None,
    data: bytes,
) -> BounceReport:
    report: BounceReport | None = None
    for part in parts:
        kind = part.get_content_type()
        if kind in ("message/delivery-status", "message/global-delivery-status"):
            report = _delivery_status(_blocks(part))
            if report is not None and report.recipients:
                return replace(report, message_id=_id_of(original))
        if kind == "message/feedback-report":
            return _complaint(_blocks(part), original)
    if report is not None:
        # One without recipients: the text may name them.
        other = _unstructured(data, original)
        return replace(report, recipients=other.recipients, message_id=other.message_id)
    if _is_automatic(message):
        return _unstructured(data, original)
    return BounceReport("none")


def _parts(message: Message[Any, Any]) -> Iterator[Message[Any, Any]]:
    """The parts in order, without going into messages, as deep and as many as is sensible."""
    pending: list[tuple[Any, int]] = [(message, 0)]
    count = 0
    while pending and count < _MOST_PARTS:
        part, depth = pending.pop()
        count += 1
        yield part
        payload: Any = part.get_payload()
        is_multipart = part.get_content_maintype() == "multipart" and isinstance(payload, list)
        if is_multipart and depth < _DEEPEST:
            pending += [(each, depth + 1) for each in reversed(payload[:_MOST_PARTS])]


def _blocks(part: Message[Any, Any]) -> list[Message[Any, Any]]:
    """The groups of fields in a report: of the message, and of each recipient."""
    payload = part.get_payload()
    encoding = (_field(part, "Content-Transfer-Encoding") or "").lower()
    if isinstance(payload, list) and encoding in ("base64", "quoted-printable"):
        # RFC 3464 section 2.1 does not allow it; the package has read it as if it were text.
        raw = b"\n".join(each.as_bytes() for each in payload if isinstance(each, Message))
        is_base64 = encoding == "base64"
        decoded: Any = binascii.a2b_base64(raw) if is_base64 else quopri.decodestring(raw)
    elif isinstance(payload, list):
        # The email package makes a message of each group.
        return [each for each in payload[: _MOST_RECIPIENTS + 1] if isinstance(each, Message)]
    else:
        decoded = part.get_payload(decode=True)
    data = decoded if isinstance(decoded, bytes) else str(payload or "").encode("utf-8", "replace")
    groups = [group for group in _BOUNDARY.split(data) if group.strip()]
    return [email.message_from_bytes(group + b"\n\n") for group in groups[: _MOST_RECIPIENTS + 1]]


def _delivery_status(blocks: list[Message[Any, Any]]) -> BounceReport | None:
    """RFC 3464: a group of fields on the message, and one for each recipient."""
    envelope_id = reporting = None
    recipients: list[BouncedRecipient] = []
    for block in blocks:
        envelope_id = envelope_id or _field(block, "Original-Envelope-Id")
        reporting = reporting or _typed(_field(block, "Reporting-MTA"))
        address = _address(_field(block, "Original-Recipient")) or _address(
            _field(block, "Final-Recipient")
        )
        if not address:
            continue
        # Some write "failed (bad address)".
        word = (_field(block, "Action") or "failed").split("(")[0].strip().lower()
        status = _STATUS.search(_field(block, "Status") or "")
        diagnostic = _typed(_field(block, "Diagnostic-Code"))
        action = _ACTIONS.get(word, "failed")
        code = status[0] if status else None
        if code and action == "failed" and code.startswith("2"):
            code = None
        recipients.append(
            BouncedRecipient(address, action, code, diagnostic, _typed(_field(block, "Remote-MTA")))
        )
    if not recipients and not reporting:
        return None
    return BounceReport(
        "delivery_status",
        tuple(recipients[:_MOST_RECIPIENTS]),
        envelope_id=envelope_id,
        reporting_mta=reporting,
    )


def _complaint(blocks: list[Message[Any, Any]], original: Message[Any, Any] | None) -> BounceReport:
    """RFC 5965: somebody has called the message spam."""
    fields = blocks[0] if blocks else Message()
    addresses = [_address(value) for value in _values(fields, "Original-Rcpt-To")]
    addresses += [_address(value) for value in _values(fields, "Removal-Recipient")]
    if not any(addresses) and original is not None:
        # Large providers remove the recipient, or leave it in To only.
        addresses = [_address(value) for value in _values(original, "To")]
    found = dict.fromkeys(address for address in addresses if address)
    return BounceReport(
        "complaint",
        tuple(BouncedRecipient(address, "complained") for address in found),
        message_id=_id_of(original),
        envelope_id=_field(fields, "Original-Envelope-Id"),
        reporting_mta=_typed(_field(fields, "Reporting-MTA")),
        feedback_type=(_field(fields, "Feedback-Type") or "abuse").lower(),
    )


def _unstructured(data: bytes, original: Message[Any, Any] | None) -> BounceReport:
    """Formats from before RFC 3464, and free text."""
    try:
        from flufl.bounce import all_failures
    except ImportError:
        return BounceReport("none")
    message = email.message_from_bytes(data[:_LARGEST_TEXT], policy=email.policy.compat32)
    try:
        temporary, permanent = all_failures(message)
    except Exception:  # it meets text that its authors never saw
        return BounceReport("none")
    kinds: tuple[tuple[Any, Action], ...] = ((permanent, "failed"), (temporary, "delayed"))
    found = [
        BouncedRecipient(address, action)
        for addresses, action in kinds
        for address in sorted(filter(None, (_address(_text(each)) for each in addresses)))
    ]
    if not found:
        return BounceReport("none")
    return BounceReport(
        "unstructured",
        tuple(found[:_MOST_RECIPIENTS]),
        message_id=_id_of(original),
    )


def _is_automatic(message: Message[Any, Any]) -> bool:
    """True unless a person has written it, as far as the header shows.

    Without this, a reply that quotes a report would be one.
    """
    return not (_values(message, "In-Reply-To") and _values(message, "User-Agent"))


def _original(parts: list[Message[Any, Any]]) -> Message[Any, Any] | None:
    """The message that was sent, or its header."""
    for part in parts:
        kind = part.get_content_type()
        payload = part.get_payload()
        if kind in ("message/rfc822", "message/global") and isinstance(payload, list) and payload:
            first = payload[0]
            return first if isinstance(first, Message) else None
        if kind in ("text/rfc822-headers", "message/global-headers"):
            decoded = part.get_payload(decode=True)
            if isinstance(decoded, bytes):
                return email.message_from_bytes(decoded.lstrip())
    return None


def _id_of(original: Message[Any, Any] | None) -> str | None:
    return None if original is None else _field(original, "Message-ID")


def _values(message: Message[Any, Any], name: str) -> list[str]:
    return [_text(value) for value in message.get_all(name) or []][:_MOST_PARTS]


def _field(message: Message[Any, Any], name: str) -> str | None:
    found = _values(message, name)
    return found[0] if found and found[0] else None


def _text(value: Any) -> str:
    """The text of a field in one printable line."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    try:
        text = str(make_header(decode_header(value)))
    except Exception:  # an unknown charset, or a broken encoded word
        text = str(value)
    return " ".join(one_line(utf8_text(text)).split())[:_LONGEST_TEXT]


def _typed(value: str | None) -> str | None:
    """``dns; mail.example.com`` without its type (RFC 3464 section 2.1.2)."""
    if value is None:
        return None
    return value.partition(";")[2].strip() or value.strip() or None


def _address(value: str | None) -> str | None:
    """The address in a field, or None. It may be used in a query: it has a fixed form."""
    text = _typed(value)
    if text is None:
        return None
    text = _UTF8.sub(lambda match: _character(int(match[1], 16)), text)
    if "<" in text:
        text = text.rpartition("<")[2].partition(">")[0]
    text = text.strip(" <>\t\"'")
    local, _, domain = text.rpartition("@")
    if not local or not domain or len(text) > 320 or re.search(r"[\s<>,;()]", text):
        return None
    if one_line(text) != text:  # control characters, and those that change the direction
        return None
    return f"{local}@{domain.lower()}"


def _character(code: int) -> str:
    return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"
