"""Signed marks in envelope senders, by which a report is known to be about a message of ours."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from mailbackends import ConfigurationError
from mailbackends.bounces import BounceTokens
from mailbackends.suppression import recipient_reference

__all__ = ["ADDRESS_KEY", "recipient_sender", "tokens"]

ADDRESS_KEY = "MAIL_BOUNCE_ADDRESS"


def tokens(config: Mapping[str, Any]) -> BounceTokens:
    """The marks of this application, signed by a key that is derived from SECRET_KEY.

    Raises:
        ConfigurationError: SECRET_KEY is not set.
    """
    key = config.get("SECRET_KEY")
    if not key:
        raise ConfigurationError("SECRET_KEY is not set: marks of messages are signed by it")
    replaced = config.get("SECRET_KEY_FALLBACKS") or ()
    return BounceTokens(_derived(key), fallbacks=map(_derived, replaced))


def _derived(key: str | bytes) -> str:
    data = key.encode("utf-8", "surrogatepass") if isinstance(key, str) else key
    return hmac.new(data, b"flask_integration.bounces", hashlib.sha256).hexdigest()


def recipient_sender(config: Mapping[str, Any], recipient: str) -> str | None:
    """The envelope sender that names a recipient; None without MAIL_BOUNCE_ADDRESS.

    Raises:
        ConfigurationError: the address or SECRET_KEY cannot be used.
    """
    address = config.get(ADDRESS_KEY)
    if not address:
        return None
    return tokens(config).envelope_sender(str(address), recipient_reference(recipient))
