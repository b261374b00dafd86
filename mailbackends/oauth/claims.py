"""The claims in an access token, to find a mistake in its configuration."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from mailbackends.secret import Secret
from mailbackends.texts import one_line

__all__ = ["describe_token"]

_CLAIMS = (("aud", "audience"), ("roles", "roles"), ("scp", "scopes"), ("scope", "scopes"))


def describe_token(token: Secret) -> tuple[list[str], list[str]]:
    """Findings and warnings about a token, without any part of it.

    A JSON Web Token (RFC 7519), such as Microsoft's, has claims: audience, roles or scopes,
    and expiry. Its signature is not checked. Other tokens, such as Google's, are opaque.
    """
    claims = _claims(token)
    if claims is None:
        return [f"an opaque token of {len(token.reveal())} characters"], []
    found, warnings = [], []
    for name, title in _CLAIMS:
        if claims.get(name):
            value = claims[name]
            words = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            found.append(f"{title}: {one_line(words)[:200]}")
    expiry = claims.get("exp")
    if isinstance(expiry, int | float):
        left = expiry - time.time()
        found.append(f"expires in {left / 60:.0f} minutes")
        if left <= 0:
            warnings.append("the token has expired: check the clocks of both machines")
    audience = str(claims.get("aud", ""))
    if (
        "outlook.office" in audience
        and "roles" in claims
        and not any("SMTP.SendAsApp" in str(role) for role in _list(claims["roles"]))
    ):
        warnings.append("the role SMTP.SendAsApp is missing: grant it to the application")
    return found, warnings


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _claims(token: Secret) -> dict[str, Any] | None:
    parts = token.reveal().split(".")
    if len(parts) != 3:
        return None
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims = json.loads(base64.urlsafe_b64decode(padded))
    except (ValueError, RecursionError):
        return None
    return claims if isinstance(claims, dict) else None
