"""Messages on a staging system: MAIL_REDIRECT_ALL_TO and MAIL_ALLOWED_RECIPIENTS."""

from __future__ import annotations

import copy
from dataclasses import replace
from email.parser import BytesHeaderParser

from flask_integration.addresses import bare_addresses
from flask_integration.posting import Posting, unfolded
from mailbackends.integration import (
    ORIGINAL_RECIPIENTS,
    SendCancelled,
    Staging,
    WrittenMessage,
)

__all__ = ["Withheld", "redirected"]


class Withheld(SendCancelled):
    """None of the recipients gets mail from this staging system."""

    def __init__(self, text: str, posting: Posting) -> None:
        super().__init__(text)
        self.posting: Posting = posting


def redirected(posting: Posting, staging: Staging) -> Posting:
    """The message for those who get it, with the field that names who would have.

    Raises:
        Withheld: nobody gets it.
    """
    if not staging.is_active:
        return posting
    try:
        sent_to, withheld = staging.apply(posting.to_addrs)
    except SendCancelled as error:
        text = str(error).replace("allowed_recipients", "MAIL_ALLOWED_RECIPIENTS")
        raise Withheld(text, posting) from None
    if not withheld:
        return posting
    content = posting.message
    if isinstance(content, WrittenMessage):
        content = content.build()
    header = BytesHeaderParser().parsebytes(content) if isinstance(content, bytes) else content
    named = [unfolded(value) for name in ("To", "Cc") for value in header.get_all(name) or []]
    # Nobody who gets the message learns of its blind copies.
    visible = set(bare_addresses(named, "recipient"))
    original = ", ".join(address for address in withheld if address in visible)
    if original and isinstance(content, bytes):
        content = f"{ORIGINAL_RECIPIENTS}: {original}\r\n".encode() + content
    elif original and not isinstance(content, bytes):
        content = copy.copy(content)
        del content[ORIGINAL_RECIPIENTS]  # this also makes a list of fields for the copy alone
        content[ORIGINAL_RECIPIENTS] = original
    return replace(posting, message=content, to_addrs=tuple(sent_to))
