"""What comes back: reports of failed delivery and complaints, read into values.

- ``report``: `BounceReport`, what a report says about each recipient.
- ``parse``: `parse_bounce`, for RFC 3464 and RFC 5965; ``flufl.bounce`` reads the other formats
  (extra ``bounces``).
- ``tokens``: `BounceTokens`, envelope senders and envelope ids that say which message came back.
"""

from mailbackends.bounces.parse import parse_bounce
from mailbackends.bounces.report import BouncedRecipient, BounceReport
from mailbackends.bounces.tokens import BounceTokens

__all__ = ["BounceReport", "BounceTokens", "BouncedRecipient", "parse_bounce"]
