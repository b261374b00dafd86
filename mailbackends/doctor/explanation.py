"""The text for a step that failed: the error, and how to fix it."""

from __future__ import annotations

from mailbackends.errors import (
    SMTPRecipientsRefused,
    SMTPSenderRefused,
    TokenError,
)

__all__ = ["explained"]


def explained(error: OSError) -> str:
    """The type and text of the error, with a suggested fix."""
    reply = getattr(error, "reply", None)
    what = error.args[0] if isinstance(error, TokenError) else None
    text = f"{type(error).__name__}: {what or reply or (error.args[-1] if error.args else error)}"
    if hint := getattr(error, "hint", None):
        return f"{text}: {hint}"
    if isinstance(error, SMTPSenderRefused):
        return f"{text}: this server or login may not send as <{error.sender}>: use another sender"
    if isinstance(error, SMTPRecipientsRefused):
        fix = "log in, or ask for permission to relay" if "relay" in text.lower() else "check it"
        return f"{text}: the recipient <{next(iter(error.recipients))}> is refused: {fix}"
    return text
