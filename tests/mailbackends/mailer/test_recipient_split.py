"""`RecipientSplit` and an error that is not about its message."""

from __future__ import annotations

import pytest

from mailbackends import SMTPRecipientsRefused
from mailbackends.mailer.recipients import RecipientSplit


def test_a_refusal_of_another_messages_recipients_is_raised_and_not_retried_forever() -> None:
    """A log handler that sends mail can let one through, from within this message."""
    parts = RecipientSplit(("a@example.com",))
    error = SMTPRecipientsRefused({"operator@example.com": (550, b"no")})
    with pytest.raises(SMTPRecipientsRefused) as caught:
        parts.failed(error)
    assert caught.value is error
    assert parts.left == ("a@example.com",)
