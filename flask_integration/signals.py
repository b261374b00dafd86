"""What an application can listen to (blinker). The sender is always the application."""

from __future__ import annotations

from blinker import Namespace

__all__ = ["email_dispatched", "email_failed", "email_sent", "signals"]

signals = Namespace()

email_dispatched = signals.signal(
    "email-dispatched",
    doc="""A message was sent, or would have been: also when sending is suppressed.
    Receivers get ``message``, as it was given to `Mail.send`.""",
)
email_sent = signals.signal(
    "email-sent",
    doc="""As `email_dispatched`; receivers get ``message`` and ``receipt``.
    Look at ``receipt.refused``: some recipients may have been refused.""",
)
email_failed = signals.signal(
    "email-failed",
    doc="""A message was not accepted; receivers get ``message`` and ``error``.
    ``error.outcome`` says whether it may have been delivered all the same.""",
)
