"""Fixes for a mismatch of port, TLS and login, from what the server has shown.

They are rendered by the `mailbackends.wording.Wording` of the interface in use.
"""

from __future__ import annotations

from mailbackends.protocol.extensions import Extensions
from mailbackends.protocol.session import Session

__all__ = ["NOT_SMTP", "NO_GREETING", "no_greeting", "no_login", "no_starttls", "offered"]

_MOST = 20


# A server of RFC 8314 section 3.3 waits for the client to begin the TLS handshake.
NO_GREETING = (
    "there was no greeting: if the server expects TLS from the first byte, as on port 465, "
    "{use_tls}"
)


# Such as IMAP on port 993, POP3 or SSH.
NOT_SMTP = (
    "this is another service, and not SMTP: check {host} and {port} (587 for STARTTLS, 465 for TLS "
    "from the first byte, 25 between servers)"
)


def no_greeting(session: Session) -> str | None:
    """Why a server may say nothing after the connection was made; None under TLS."""
    return None if session.is_tls or session.is_lmtp else NO_GREETING


def no_starttls(extensions: Extensions) -> str:
    """What to change if STARTTLS is not offered."""
    return (
        f"it offers {offered(extensions)}: check {{port}} (587 is usually the one for STARTTLS; "
        "for TLS from the first byte, on port 465, {use_tls})"
    )


def no_login(extensions: Extensions, *, is_tls: bool) -> str:
    """What to change if AUTH is not offered."""
    if "STARTTLS" in extensions and not is_tls:
        return "it offers STARTTLS, and logins only after it: {use_starttls}"
    return (
        f"it offers {offered(extensions)}: {{log_out}}, or use the port where users log in (587, "
        "or 465 with TLS from the first byte)"
    )


def offered(extensions: Extensions) -> str:
    """The keywords of the reply to EHLO."""
    names = list(extensions.keywords)
    more = ", ..." if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more or "no extensions"
