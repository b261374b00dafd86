"""The field Feedback-ID, by which Gmail's Postmaster Tools tell kinds of mail apart."""

from __future__ import annotations

import re

from mailbackends.errors import InvalidMessageError

__all__ = ["feedback_id"]

_ID = re.compile(r"[!-9;-~]+")
_MOST = 3
_SENDER_LENGTHS = range(5, 16)


def feedback_id(sender_id: str, *ids: str) -> str:
    """The value of a Feedback-ID field: up to three ``ids``, and the ``sender_id`` last.

    Gmail counts complaints for each of them: ``feedback_id("shop-news", "spring", "welcome")`` is
    ``"spring:welcome:shop-news"``. The sender's id is the same in all mail of one stream, and has 5
    to 15 characters. Gmail reads the field only where a DKIM signature covers it, as the option
    ``dkim`` does, and shows an id only once enough mail has it; so do not use one for each
    recipient. (Google: "Feedback Loop", support.google.com/a/answer/6254652.)

    Raises:
        InvalidMessageError: there are too many ids, or one has a length or a character that is
            not allowed.
    """
    if len(ids) > _MOST:
        raise InvalidMessageError(
            f"feedback_id() takes at most {_MOST} ids beside sender_id, got {len(ids)}: leave "
            "some out"
        )
    for name, value in (("sender_id", sender_id), *(("an id", each) for each in ids)):
        if not isinstance(value, str) or not _ID.fullmatch(value):
            raise InvalidMessageError(
                f"feedback_id(): {name} must be ASCII without spaces and colons, and not empty, "
                f"got {value!r}: use letters, digits and hyphens"
            )
    if len(sender_id) not in _SENDER_LENGTHS:
        raise InvalidMessageError(
            f"feedback_id(): sender_id must have 5 to 15 characters, got {sender_id!r} with "
            f"{len(sender_id)}: shorten or lengthen it"
        )
    if len(set(ids)) < len(ids) or sender_id in ids:
        raise InvalidMessageError(
            f"feedback_id(): each id must occur once, got {':'.join((*ids, sender_id))!r}: Gmail "
            "would count them twice"
        )
    return ":".join((*ids, sender_id))
