"""Requests to the servers on the way, in words, as parameters of MAIL and RCPT."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal, TypedDict

from mailbackends.errors import InvalidMessageError
from mailbackends.mime.address import parse_path
from mailbackends.protocol.parameters import (
    checked_parameters,
    encode_utf8_address,
    encode_xtext,
)

__all__ = ["DeliveryOptions", "delivery_options"]

Event = Literal["success", "failure", "delay"]


class DeliveryOptions(TypedDict):
    """Keyword arguments of `Mailer.send_message`, `Submission` and `SMTP.send_message`."""

    mail_options: tuple[str, ...]
    rcpt_options: tuple[str, ...]


def delivery_options(
    *,
    notify: Literal["never"] | Event | Iterable[Event] | None = None,
    return_content: Literal["full", "headers"] | None = None,
    envelope_id: str | None = None,
    original_recipient: str | None = None,
    deliver_within: timedelta | int | None = None,
    when_late: Literal["return", "notify"] = "return",
    priority: int | None = None,
    hold: timedelta | datetime | int | None = None,
    require_tls: bool = False,
) -> DeliveryOptions:
    """Options for one message, to be unpacked into a call::

        mailer.send_message(message, **delivery_options(notify=["failure", "delay"]))

    - ``notify``: the events that the sender gets a delivery status notification for, or
      ``"never"``. ``return_content``: the part of the message that the notification contains.
      ``envelope_id``: printable text that the notification repeats, and that identifies the
      message. ``original_recipient``: the address that it names (RFC 3461).
    - ``deliver_within``: seconds after which ``when_late`` applies (RFC 2852).
    - ``priority``: from -9 to 9, 0 is normal (RFC 6710).
    - ``hold``: seconds to hold the message, or the time until which to hold it (RFC 4865).
    - ``require_tls``: return the message rather than relay it without TLS (RFC 8689).

    If a server does not announce the extension, sending raises `SMTPNotSupportedError` before
    anything is sent.

    Raises:
        InvalidMessageError: a value is not valid.
    """
    mail: list[str] = []
    rcpt: list[str] = []
    if return_content is not None:
        mail.append("RET=" + {"headers": "HDRS"}.get(return_content, str(return_content).upper()))
    if envelope_id is not None:
        mail.append(f"ENVID={encode_xtext(envelope_id)}")
    if require_tls:
        mail.append("REQUIRETLS")
    if deliver_within is not None:
        mail.append(f"BY={_seconds(deliver_within)};{when_late[:1].upper()}")
    if priority is not None:
        mail.append(f"MT-PRIORITY={priority}")
    if isinstance(hold, datetime):
        mail.append(f"HOLDUNTIL={_utc(hold)}")
    elif hold is not None:
        mail.append(f"HOLDFOR={_seconds(hold)}")
    if notify is not None:
        events = [notify] if isinstance(notify, str) else notify
        rcpt.append("NOTIFY=" + ",".join(str(event).upper() for event in events))
    if original_recipient is not None:
        rcpt.append(f"ORCPT={_typed(parse_path(original_recipient, of='original recipient'))}")
    return {
        "mail_options": checked_parameters("MAIL", mail),
        "rcpt_options": checked_parameters("RCPT", rcpt),
    }


def _seconds(time: timedelta | int) -> int:
    return int(time.total_seconds()) if isinstance(time, timedelta) else time


def _utc(time: datetime) -> str:
    if time.tzinfo is None:
        raise InvalidMessageError(
            f"hold must have a time zone, got {time!r}: use datetime(..., tzinfo=UTC)"
        )
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _typed(address: str) -> str:
    if address.isascii():
        return f"rfc822;{encode_xtext(address)}"
    return f"utf-8;{encode_utf8_address(address)}"
