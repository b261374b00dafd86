"""What to do about errors that are known: of connecting, of any server, of Microsoft and Google."""

from __future__ import annotations

import re
import socket
from typing import NamedTuple

__all__ = ["INJECTED", "KNOWN", "Known", "connection_fix", "fix_for"]

INJECTED = (
    b"bytes in clear followed the reply to STARTTLS: a fault of the server, or an attack by "
    b"somebody between it and this host; use TLS from the first byte (port 465) instead"
)


class Known(NamedTuple):
    """An error of a token endpoint or a mail server."""

    text: str
    """What it contains, for people."""
    fix: str
    """What to do about it, for a `mailbackends.wording.Wording`."""
    pattern: str = ""
    """What it contains, where that is more than ``text``."""


# From learn.microsoft.com (Entra error codes; Exchange Online SMTP AUTH) and
# support.google.com (SMTP errors; OAuth 2.0 errors), looked up in November 2026.
KNOWN = (
    Known(
        "AADSTS700016",
        "the application was not found in this tenant: check {client_id} and {tenant}",
    ),
    Known(
        "AADSTS7000215",
        "the client secret is wrong: give the secret's Value, not its Secret ID",
    ),
    Known(
        "AADSTS7000222",
        "the client secret has expired: create a new one under Certificates & secrets",
    ),
    Known(
        "AADSTS700027", "the certificate is not registered with the application: upload it there"
    ),
    Known("AADSTS90002", "the tenant was not found: give its id or a verified domain as {tenant}"),
    Known("AADSTS50034", "the user was not found in this tenant: check {username} and {tenant}"),
    Known(
        "AADSTS65001, AADSTS70011",
        "consent is missing: an administrator must grant SMTP.SendAsApp",
        r"AADSTS(65001|70011)",
    ),
    Known(
        "535 5.7.139, SmtpClientAuthentication is disabled",
        "SMTP AUTH is disabled: Set-CASMailbox -SmtpClientAuthenticationDisabled $false, and "
        "check the tenant's setting and security defaults",
        r"535 5\.7\.139|SmtpClientAuthentication is disabled",
    ),
    Known(
        "550 5.7.30, Basic authentication is not supported",
        "this server takes no password any more: log in with OAuth, {oauth}='microsoft'",
        r"550 5\.7\.30|Basic authentication is not supported",
    ),
    Known(
        "535 5.7.3 Authentication unsuccessful",
        "the token was refused: register the service principal in Exchange Online "
        "(New-ServicePrincipal), give it the mailbox (Add-MailboxPermission) and grant "
        "SMTP.SendAsApp",
    ),
    Known(
        "534 5.7.9 Application-specific password required",
        "Google takes no account password here: use {oauth}='google', or an app password",
        r"Application-specific password required|534 5\.7\.9 .*(gsmtp|google)",
    ),
    Known(
        "535 5.7.8 ... gsmtp",
        "user name, password or token were refused: with {oauth}='google' the token's subject "
        "must be the user name",
        r"535 5\.7\.8 .*(gsmtp|google)",
    ),
    Known(
        "unauthorized_client",
        "the client may not request this scope: authorize its client id for "
        "https://mail.google.com/ under domain-wide delegation, or check the grant's type",
    ),
    Known(
        "invalid_grant",
        "the refresh token or subject is not valid: it was revoked, has expired, or the clock "
        "is wrong; get a new one with: mailbackends oauth login",
    ),
    Known("invalid_client", "{client_id} or {client_secret} is wrong: check both"),
    Known("invalid_scope", "the scope is unknown to this endpoint: check it"),
    # RFC 3207 section 4, and RFC 4954 section 6: to any command before TLS, or before a login.
    Known(
        "530 Must issue a STARTTLS command first",
        "the server requires TLS: {use_starttls}",
        r"(?:^|: )530 .*STARTTLS",
    ),
    Known("530", "the server requires a login: {log_in}", r"(?:^|: )530 "),
)
_PATTERNS = tuple((re.compile(each.pattern or re.escape(each.text)), each.fix) for each in KNOWN)


def connection_fix(error: OSError) -> str:
    """What to do about an error while connecting, for a `mailbackends.wording.Wording`."""
    if isinstance(error, socket.gaierror):
        return "the name does not resolve: check {host}"
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return "nothing listens there: check {host} and {port}, and that the server runs"
    return "check the network and {host}"


def fix_for(text: str) -> str | None:
    """What to do about an error of a token endpoint or a mail server, or None. Likewise."""
    return next((fix for pattern, fix in _PATTERNS if pattern.search(text)), None)
