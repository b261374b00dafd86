"""OAuth 2.0 access tokens for logins: Microsoft 365, Google Workspace, any refresh token.

Each function returns a `TokenProvider`, the value of the option ``token_provider``.
"""

from mailbackends.oauth.provider import AccessToken, TokenProvider
from mailbackends.oauth.providers import google, microsoft, refresh_token

__all__ = ["AccessToken", "TokenProvider", "google", "microsoft", "refresh_token"]
