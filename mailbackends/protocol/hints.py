"""Suggested fixes for a mismatch of port, TLS and login, from what the server has shown."""

from __future__ import annotations

from mailbackends.protocol.session import Session

__all__ = ["no_greeting", "no_login", "no_starttls"]


def no_greeting(session: Session) -> str:
    """Why a server may say nothing after the connection was made; empty under TLS."""
    if session.is_tls or session.is_lmtp:
        return ""
    # A server of RFC 8314 section 3.3 waits for the client to begin the TLS handshake.
    return (
        "; there was no greeting: if the server expects TLS from the first byte, as on "
        'port 465, set security="tls" (smtps://)'
    )


def no_starttls(session: Session) -> str:
    """What to change if STARTTLS is not offered."""
    return (
        f" It offers {_offered(session)}: check the port (587 is usually the one for STARTTLS; "
        'for TLS from the first byte, on port 465, set security="tls", smtps://)'
    )


def no_login(session: Session) -> str:
    """What to change if AUTH is not offered."""
    if "STARTTLS" in session.extensions and not session.is_tls:
        return ' It offers STARTTLS, and logins only after it: set security="starttls"'
    return (
        f" It offers {_offered(session)}: leave out the user name, or use the port where users "
        "log in (587, or 465 with TLS from the first byte)"
    )


def _offered(session: Session) -> str:
    return ", ".join(session.extensions.keywords) or "no extensions"
